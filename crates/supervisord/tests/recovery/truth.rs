//! A task is what was asked for: not another one of its name, not one that was taken for dead.

use std::time::Duration;

use futures_util::future::join_all;
use gantry_supervisor_core::Kind;
use gantry_supervisor_core::task::Status;
use gantry_testkit::kernel::alive;

use crate::daemon::{Daemon, RUNTIMES};

/// Its socket fills, calls are cut off in the middle of their frames, and answers come that nobody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shim_that_stands_still_loses_no_container() {
    let daemon = Daemon::start().await;
    for (at, runtime) in RUNTIMES.iter().enumerate() {
        let id = daemon.name(&format!("c{at}"));
        let pid = daemon.run(runtime, &id, "sleep 1000").await;
        let tasks = daemon.tasks();
        daemon.stop_shim(&id);
        for _ in 0..2 {
            for listed in join_all((0..300).map(|_| tasks.list())).await {
                let listed = listed.unwrap();
                assert_eq!((listed.len(), listed[0].status), (1, Status::Unknown));
            }
        }
        daemon.signal_shim(&id, 18);
        let mut status = Status::Unknown;
        for _ in 0..100 {
            status = tasks.get(&id, "").await.unwrap().status;
            if status != Status::Unknown {
                break;
            }
        }
        assert_eq!(status, Status::Running, "{runtime}\n{}", daemon.log());
        assert!(alive(pid.cast_signed()));
        daemon.end(&id).await;
    }
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_at_once_take_the_task_that_they_meant() {
    let daemon = Daemon::start().await;
    for round in 0..6 {
        let runtime = RUNTIMES[round % 2];
        let id = daemon.name(&format!("c{round}"));
        daemon.run(runtime, &id, "exit 3").await;
        daemon.tasks().wait(&id, "").await.unwrap();
        let others: Vec<_> = (0..8).map(|_| daemon.other_tasks()).collect();
        let deletes = others.iter().map(|tasks| tasks.delete(&id));
        // The next task of that name, as soon as there may be one.
        let again = async {
            let tasks = daemon.tasks();
            loop {
                match tasks.create(daemon.request(&id)).await {
                    Err(error) if error.kind() == Kind::AlreadyExists => {}
                    created => return created.unwrap(),
                }
            }
        };
        let (deleted, pid) = tokio::join!(join_all(deletes), again);
        let mut done = 0;
        for deleted in deleted {
            match deleted {
                Ok(exit) if exit.exit_status == 3 => done += 1,
                // One that was late may have found the next task, and taken it: created, it has not run.
                Ok(exit) => assert!(exit.exit_status != 0, "{exit:?}"),
                Err(error) => assert!(
                    matches!(error.kind(), Kind::NotFound | Kind::FailedPrecondition),
                    "{}",
                    error.chain()
                ),
            }
        }
        assert_eq!(done, 1, "{runtime}");
        let tasks = daemon.tasks();
        match tasks.get(&id, "").await {
            Err(error) => {
                assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
                assert!(!alive(pid.cast_signed()));
            }
            Ok(process) => {
                assert_eq!((process.pid, process.status), (pid, Status::Created));
                assert!(alive(pid.cast_signed()));
                tasks.kill(&id, "", 9, false).await.unwrap();
                tasks.wait(&id, "").await.unwrap();
                tasks.delete(&id).await.unwrap();
            }
        }
        daemon.services().containers.delete(&id).await.unwrap();
    }
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_not_deleted_under_the_task_that_is_made_of_it() {
    let daemon = Daemon::start().await;
    let (services, tasks) = (daemon.services(), daemon.other_tasks());
    for round in 0..8 {
        let id = daemon.name(&format!("c{round}"));
        daemon.record(RUNTIMES[1], &id, "sleep 1000").await;
        let create = tasks.create(daemon.request(&id));
        let delete = async {
            tokio::time::sleep(Duration::from_micros(150 * round)).await;
            services.containers.delete(&id).await
        };
        let (created, deleted) = tokio::join!(create, delete);
        match (created, deleted) {
            (Ok(_), Err(error)) => {
                assert_eq!(error.kind(), Kind::FailedPrecondition);
                daemon.end(&id).await;
            }
            (Err(error), Ok(())) => {
                assert_eq!(error.kind(), Kind::NotFound);
                assert_eq!(tasks.get(&id, "").await.unwrap_err().kind(), Kind::NotFound);
            }
            other => panic!("{other:?}"),
        }
    }
    daemon.check_nothing_left();
}

/// Debian's shim serves both: their annotation says that they are one pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_lives_on_without_one_of_its_containers() {
    let mut daemon = Daemon::start().await;
    let pod = daemon.name("pod");
    let (first, second, broken) = (daemon.name("a"), daemon.name("b"), daemon.name("x"));
    for id in [&first, &second, &broken] {
        daemon
            .record_with(RUNTIMES[0], id, "sleep 1000", |config| {
                config["annotations"]["io.kubernetes.cri.sandbox-id"] = pod.clone().into();
                if *id == broken {
                    config["root"]["path"] = "/no/such/root".into();
                }
            })
            .await;
    }
    daemon.launch(&first).await;
    let pid = daemon.launch(&second).await;
    let bundles = daemon.place.join("state/shim/test");
    let address = |id: &str| std::fs::read_to_string(bundles.join(id).join("bootstrap.json")).unwrap();
    assert_eq!(address(&first), address(&second), "they are no pod");

    // One that cannot be made takes nobody along,
    let refused = daemon.tasks().create(daemon.request(&broken)).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Internal);
    assert_eq!(
        daemon.tasks().get(&first, "").await.unwrap().status,
        Status::Running
    );
    // nor does one that is deleted, be it the one that the shim was started for,
    daemon.end(&first).await;
    for _ in 0..2 {
        let tasks = daemon.tasks();
        let process = tasks.get(&second, "").await.unwrap();
        assert_eq!(
            (process.pid, process.status),
            (pid, Status::Running),
            "{}",
            daemon.log()
        );
        assert!(alive(pid.cast_signed()));
        // also for the next supervisor.
        daemon.kill();
        daemon.start_again().await;
    }
    daemon.end(&second).await;
    daemon.services().containers.delete(&broken).await.unwrap();
    daemon.check_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_task_that_is_not_made_is_answered() {
    let daemon = Daemon::start().await;
    let id = daemon.name("c");
    daemon
        .record_with(RUNTIMES[1], &id, "sleep 1000", |config| {
            let slow = "sleep 0.5; exit 1";
            let hook = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", slow]});
            config["hooks"]["createRuntime"] = serde_json::json!([hook]);
        })
        .await;
    let (tasks, others) = (daemon.tasks(), daemon.other_tasks());
    let create = tasks.create(daemon.request(&id));
    let wait = async {
        while others.get(&id, "").await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        others.wait(&id, "").await.unwrap_err()
    };
    let both = async { tokio::join!(create, wait) };
    let (created, waited) = tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .expect("both are answered");
    assert_eq!(created.unwrap_err().kind(), Kind::Internal);
    assert_eq!(waited.kind(), Kind::NotFound, "{}", waited.chain());
    daemon.services().containers.delete(&id).await.unwrap();
    daemon.check_nothing_left();
}

/// Programs that stand for the shims of containerd 1.6 and of 2.3, each of which refuses what the other one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shims_are_given_at_their_start_what_they_take() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start().await;
    let kinds = [
        ("old", "!=", "typeurl.Any: unmarshal: not found"),
        ("new", "=", "bootstrap parameters do not match"),
    ];
    for (name, takes, refusal) in kinds {
        let (program, log) = (daemon.place.join(name), daemon.place.join(format!("{name}.log")));
        let shim = gantry_testkit::cmd::binaries().join("gantry-shim");
        // The first field of parameters is the id, after a byte for the field and one for its length.
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\n\
             test \"$last\" = start || exec {shim} \"$@\"\n\
             id=${{PWD##*/}}\n\
             cat > given.bin\n\
             got=$(dd if=given.bin bs=1 skip=2 count=${{#id}} 2>/dev/null | tr -d '\\000')\n\
             echo \"$id\" >> {log}\n\
             test \"$got\" {takes} \"$id\" || {{ echo '{refusal}' >&2; exit 1; }}\n\
             exec {shim} \"$@\" < given.bin\n",
            shim = shim.display(),
            log = log.display(),
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        for at in 0..2 {
            let id = daemon.name(&format!("{name}{at}"));
            daemon.run(&program.to_string_lossy(), &id, "sleep 1000").await;
            daemon.end(&id).await;
        }
        // What one took is remembered.
        let started = std::fs::read_to_string(&log).unwrap().lines().count();
        assert_eq!(started, if name == "new" { 3 } else { 2 }, "{name}");
    }
    daemon.check_nothing_left();
}
