//! What nobody could hear when it happened is told to who comes later.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_supervisor_core::event::{TaskEvent, TimedTaskEvent};
use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Result, Services};
use gantry_testkit::cmd::wait_until;
use gantry_testkit::kernel::alive;

use crate::daemon::{Daemon, RUNTIMES};

type Heard = BoxStream<'static, Result<TimedTaskEvent>>;

/// The next event that is wanted.
async fn next<T>(heard: &mut Heard, wanted: impl Fn(TaskEvent) -> Option<T>) -> T {
    let find = async {
        loop {
            let event = heard.next().await.expect("more events").unwrap().event;
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), find).await;
    found.expect("the event is told")
}

/// How a process of a container ended, as it is told.
async fn end(heard: &mut Heard, id: &str, exec: &str) -> Exit {
    next(heard, |event| match event {
        TaskEvent::Exit {
            container_id,
            exec_id,
            pid,
            exit_status,
            exited_at,
        } if container_id == id && exec_id == exec => Some(Exit {
            pid,
            exit_status,
            exited_at,
        }),
        _ => None,
    })
    .await
}

async fn subscribe(services: &Services) -> Heard {
    services.events.subscribe_tasks().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_that_ends_in_an_outage_is_heard_of_by_who_comes_late() {
    let mut daemon = Daemon::start().await;
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        let id = daemon.name(&format!("c{at}"));
        daemon.run(runtime, &id, "sleep 1000").await;
        let tasks = daemon.tasks();
        let script = "until test -e /go; do usleep 5000; done; exit 7";
        for exec in ["gone", "kept"] {
            tasks.exec(daemon.exec(&id, exec, script)).await.unwrap();
        }
        let gone = tasks.start(&id, "gone").await.unwrap();
        let kept = tasks.start(&id, "kept").await.unwrap();

        daemon.kill();
        std::fs::write(daemon.place.join(&id).join("rootfs/go"), "").unwrap();
        wait_until("the execs to end", || {
            !alive(gone.cast_signed()) && !alive(kept.cast_signed())
        });
        daemon.start_again().await;
        // Nobody listens while its shims tell it what they kept, nor for a while after.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let services = daemon.services();
        let mut first = subscribe(&services).await;
        let mut second = subscribe(&services).await;
        let ended = |event| match event {
            TaskEvent::Exit {
                exec_id,
                pid,
                exit_status,
                ..
            } => Some((exec_id, pid, exit_status)),
            _ => None,
        };
        for heard in [&mut first, &mut second] {
            let mut told = Vec::new();
            while told.len() < 2 {
                told.push(next(heard, ended).await);
            }
            told.sort();
            let both = [("gone".to_owned(), gone, 7), ("kept".to_owned(), kept, 7)];
            assert_eq!(told, both, "{runtime}");
        }
        // Until it is deleted.
        let exit = services.tasks.delete_process(&id, "gone").await.unwrap();
        assert_eq!((exit.pid, exit.exit_status), (gone, 7));
        let mut third = subscribe(&services).await;
        services.tasks.kill(&id, "", 9, false).await.unwrap();
        assert_eq!(next(&mut third, ended).await.0, "kept");
        assert_eq!(next(&mut third, ended).await.0, "");
        services.tasks.wait(&id, "").await.unwrap();
        services.tasks.delete(&id).await.unwrap();
        services.containers.delete(&id).await.unwrap();
    }
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_no_subscriber_heard_is_told_to_who_comes_late() {
    let daemon = Daemon::start().await;
    let id = daemon.name("c");
    let pid = daemon.run(RUNTIMES[1], &id, "exit 42").await;
    let services = daemon.services();
    let exit = services.tasks.wait(&id, "").await.unwrap();
    let mut late = subscribe(&services).await;
    // What came before it too, and in its order.
    let started = |event| match event {
        TaskEvent::Start { container_id, pid } if container_id == id => Some(pid),
        _ => None,
    };
    assert_eq!(next(&mut late, started).await, pid);
    assert_eq!(end(&mut late, &id, "").await, exit);
    services.tasks.delete(&id).await.unwrap();
    services.containers.delete(&id).await.unwrap();
    daemon.check_nothing_left();
}

/// Its execs end with it, and its deletion is told, though there is no shim to tell it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_shim_is_told_as_that_of_all_it_had() {
    let daemon = Daemon::start().await;
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        let id = daemon.name(&format!("c{at}"));
        let pid = daemon.run(runtime, &id, "sleep 1000").await;
        let services = daemon.services();
        let tasks = services.tasks.clone();
        tasks.exec(daemon.exec(&id, "e", "sleep 1000")).await.unwrap();
        let exec = tasks.start(&id, "e").await.unwrap();
        let mut heard = subscribe(&services).await;
        let waits = tokio::spawn({
            let (tasks, id) = (tasks.clone(), id.clone());
            async move { tasks.wait(&id, "e").await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        daemon.signal_shim(&id, 9);
        let exit = end(&mut heard, &id, "e").await;
        assert_eq!((exit.pid, exit.exit_status), (exec, 137));
        assert_eq!(waits.await.unwrap().unwrap().exit_status, 137);
        let exit = end(&mut heard, &id, "").await;
        assert_eq!(exit.exit_status, 137);
        wait_until("the container to end", || {
            !alive(pid.cast_signed()) && !alive(exec.cast_signed())
        });
        assert_eq!(tasks.delete(&id).await.unwrap(), exit);
        let deleted = |event| match event {
            TaskEvent::Delete {
                container_id,
                exit_status,
                ..
            } if container_id == id => Some(exit_status),
            _ => None,
        };
        assert_eq!(next(&mut heard, deleted).await, 137);
        services.containers.delete(&id).await.unwrap();
    }
    daemon.check_nothing_left();
}
