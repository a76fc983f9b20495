//! The supervisor is killed while containers run, begin, end and are removed. What is true afterwards is asked of the next one.

mod daemon;
mod model;
mod told;
mod truth;

use std::time::Duration;

use daemon::{Daemon, RUNTIMES};
use futures_util::StreamExt;
use gantry_supervisor_core::event::TaskEvent;
use gantry_supervisor_core::task::Status;
use gantry_supervisor_core::{Kind, Time};
use gantry_testkit::cmd::wait_until;
use gantry_testkit::kernel::alive;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_run_on_and_their_ends_are_found() {
    let mut daemon = Daemon::start().await;
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        let (stays, ends) = (format!("stays{at}"), format!("ends{at}"));
        let (stays, ends) = (daemon.name(&stays), daemon.name(&ends));
        let pid = daemon.run(runtime, &stays, "sleep 1000").await;
        let go = daemon.place.join(&ends).join("rootfs/go");
        let ending = daemon
            .run(runtime, &ends, "until test -e /go; do usleep 5000; done; exit 42")
            .await;

        daemon.kill();
        let before = Time::now();
        std::fs::write(&go, "").unwrap();
        wait_until("the container to end", || !alive(ending.cast_signed()));
        // Its shim needs a moment to write that down.
        std::thread::sleep(Duration::from_millis(300));
        let after = Time::now();
        daemon.start_again().await;

        let tasks = daemon.tasks();
        let one = tasks.get(&stays, "").await.unwrap();
        assert_eq!((one.pid, one.status), (pid, Status::Running));
        let exit = tasks.wait(&ends, "").await.unwrap();
        assert_eq!((exit.pid, exit.exit_status), (ending, 42));
        assert!(
            before <= exit.exited_at && exit.exited_at <= after,
            "{before:?} {exit:?} {after:?}"
        );
        // Told to who comes later, as nobody could have heard of it; once.
        let services = daemon.services();
        let mut heard = services.events.subscribe_tasks().await.unwrap();
        services.tasks.kill(&stays, "", 9, false).await.unwrap();
        let mut exits = Vec::new();
        while !exits.iter().any(|(id, _)| *id == stays) {
            let next = tokio::time::timeout(Duration::from_secs(30), heard.next()).await;
            if let TaskEvent::Exit {
                container_id,
                exit_status,
                ..
            } = next.unwrap().unwrap().unwrap().event
            {
                exits.push((container_id, exit_status));
            }
        }
        assert_eq!(exits, [(ends.clone(), 42), (stays.clone(), 137)]);
        assert_eq!(tasks.wait(&stays, "").await.unwrap().exit_status, 137);
        for id in [&stays, &ends] {
            tasks.delete(id).await.unwrap();
            services.containers.delete(id).await.unwrap();
        }
    }
    daemon.check_nothing_left();
}

/// Whatever was under way when it died: afterwards there is a task that can be asked and removed, or there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_die_at_any_moment() {
    let mut daemon = Daemon::start().await;
    let seed = Time::now().0 as u64;
    for round in 0..12_u64 {
        let runtime = RUNTIMES[(round % 2) as usize];
        let id = daemon.name(&format!("r{round}"));
        daemon.record(runtime, &id, "sleep 1000").await;
        let (tasks, request) = (daemon.tasks(), daemon.request(&id));
        let life = tokio::spawn({
            let id = id.clone();
            async move {
                tasks.create(request).await?;
                tasks.start(&id, "").await?;
                tasks.kill(&id, "", 9, false).await?;
                tasks.wait(&id, "").await?;
                tasks.delete(&id).await
            }
        });
        let pause = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round * 7919)
            % 250_000;
        tokio::time::sleep(Duration::from_micros(pause)).await;
        daemon.kill();
        let _ = life.await.unwrap();
        daemon.start_again().await;
        let (tasks, why) = (daemon.tasks(), format!("round {round}, {pause} µs, {runtime}"));
        match tasks.get(&id, "").await {
            Err(error) => assert_eq!(error.kind(), Kind::NotFound, "{why}: {}", error.chain()),
            Ok(process) => {
                assert_ne!(process.status, Status::Unknown, "{why}: {process:?}");
                if process.status != Status::Stopped {
                    match tasks.kill(&id, "", 9, true).await {
                        Err(error) if error.kind() != Kind::NotFound => panic!("{why}: {}", error.chain()),
                        _ => {}
                    }
                }
                let waited = tokio::time::timeout(Duration::from_secs(20), tasks.wait(&id, "")).await;
                assert!(waited.is_ok(), "{why}: no end is told\n{}", daemon.log());
                if let Err(error) = tasks.delete(&id).await {
                    panic!("{why}: {}\n{}", error.chain(), daemon.log());
                }
            }
        }
        // The same id can be used at once.
        let pid = daemon.launch(&id).await;
        assert!(alive(pid.cast_signed()), "{why}");
        daemon.end(&id).await;
    }
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shims_that_die_or_hang_hold_nobody_up() {
    let mut daemon = Daemon::start().await;
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        let (dies, hangs) = (
            daemon.name(&format!("dies{at}")),
            daemon.name(&format!("hangs{at}")),
        );
        let pid = daemon.run(runtime, &dies, "sleep 1000").await;
        let hanging = daemon.run(runtime, &hangs, "sleep 1000").await;
        let services = daemon.services();
        let mut heard = services.events.subscribe_tasks().await.unwrap();

        // The container does not outlive its shim, and its end is told.
        daemon.signal_shim(&dies, 9);
        let exit = services.tasks.wait(&dies, "").await.unwrap();
        assert_eq!(exit.exit_status, 137);
        wait_until("the container to end", || !alive(pid.cast_signed()));
        // The shims tell their supervisor of starts when they get to it, so some may still come.
        let told = async {
            loop {
                let event = heard.next().await.unwrap().unwrap().event;
                if let TaskEvent::Exit {
                    container_id,
                    exit_status,
                    ..
                } = event
                    // The ends that nobody has heard of yet come first.
                    && container_id == dies
                {
                    break (container_id, exit_status);
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
        assert_eq!(told, (dies.clone(), 137));
        assert_eq!(
            services.tasks.get(&dies, "").await.unwrap().status,
            Status::Stopped
        );
        services.tasks.delete(&dies).await.unwrap();

        daemon.stop_shim(&hangs);
        let quick = Duration::from_secs(5);
        let all = tokio::time::timeout(quick, services.tasks.list())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((all.len(), all[0].status), (1, Status::Unknown));
        // Nor is it taken for gone by the next supervisor.
        daemon.kill();
        tokio::time::timeout(quick, daemon.start_again()).await.unwrap();
        let tasks = daemon.tasks();
        assert_eq!(tasks.get(&hangs, "").await.unwrap().status, Status::Unknown);
        assert!(alive(hanging.cast_signed()));
        daemon.signal_shim(&hangs, 18);
        assert_eq!(tasks.get(&hangs, "").await.unwrap().status, Status::Running);
        tasks.kill(&hangs, "", 9, false).await.unwrap();
        assert_eq!(tasks.wait(&hangs, "").await.unwrap().exit_status, 137);
        tasks.delete(&hangs).await.unwrap();
        for id in [&dies, &hangs] {
            daemon.services().containers.delete(id).await.unwrap();
        }
    }
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_for_each_state_and_its_end_takes_nothing_along() {
    let mut daemon = Daemon::start().await;
    let id = daemon.name("c");
    let pid = daemon.run(RUNTIMES[1], &id, "sleep 1000").await;
    let second = daemon.command().output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("in use"), "{said}");
    assert_eq!(daemon.tasks().get(&id, "").await.unwrap().status, Status::Running);

    // A call that waits does not keep it.
    let tasks = daemon.tasks();
    let waiter = tokio::spawn({
        let id = id.clone();
        async move { tasks.wait(&id, "").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = std::time::Instant::now();
    daemon.terminate();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(waiter.await.unwrap().is_err());
    assert!(alive(pid.cast_signed()) && !daemon.socket().exists());
    daemon.start_again().await;
    let tasks = daemon.tasks();
    assert_eq!(tasks.get(&id, "").await.unwrap().pid, pid);
    tasks.kill(&id, "", 15, false).await.unwrap();
    daemon.end(&id).await;
    daemon.check_nothing_left();
}

/// A caller that goes away in the middle leaves no half-made task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_may_go_away() {
    let daemon = Daemon::start().await;
    for (at, pause) in [0, 1, 3, 10, 30, 60].into_iter().enumerate() {
        let id = daemon.name(&format!("c{at}"));
        daemon.record(RUNTIMES[at % 2], &id, "sleep 1000").await;
        let (tasks, request) = (daemon.other_tasks(), daemon.request(&id));
        let call = tokio::spawn(async move { tasks.create(request).await });
        tokio::time::sleep(Duration::from_millis(pause)).await;
        call.abort();
        let _ = call.await;
        // Either it never arrived, or it is carried to its end.
        let tasks = daemon.tasks();
        let mut process = tasks.get(&id, "").await;
        for _ in 0..500 {
            if matches!(&process, Ok(process) if process.status == Status::Created) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            process = tasks.get(&id, "").await;
        }
        if process.is_err() {
            daemon.launch(&id).await;
        }
        tasks.kill(&id, "", 9, false).await.unwrap();
        tasks.wait(&id, "").await.unwrap();
        let deleting = tokio::spawn({
            let (tasks, id) = (daemon.other_tasks(), id.clone());
            async move { tasks.delete(&id).await }
        });
        tokio::time::sleep(Duration::from_millis(pause / 3)).await;
        deleting.abort();
        let _ = deleting.await;
        match tasks.delete(&id).await {
            Err(error) if error.kind() != Kind::NotFound => panic!("{}", error.chain()),
            _ => {}
        }
        daemon.services().containers.delete(&id).await.unwrap();
    }
    daemon.check_nothing_left();
}
