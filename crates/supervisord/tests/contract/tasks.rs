//! What runs: tasks, execs and their events.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_shim_api::messages::ProcessDetails;
use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::event::{TaskEvent, TimedTaskEvent};
use gantry_supervisor_core::task::{CreateTask, ExecTask, Status, Stdio};
use gantry_supervisor_core::{Any, Kind, RUNTIME_SPEC_TYPE, Result, Services, Time};
use gantry_testkit::bundle::Bundle;
use gantry_testkit::image::Layer;
use prost::Message;
use serde_json::Value;

use crate::hosts::Host;
use crate::stores::{kept, refused, unpack};

type Heard = BoxStream<'static, Result<TimedTaskEvent>>;

/// A container of busybox on a snapshot, with its task not made yet.
struct Prepared {
    services: Services,
    id: String,
    config: Value,
    request: CreateTask,
}

async fn prepare(host: &Host, runtime: &Runtime, name: &str, args: &[&str]) -> Prepared {
    let services = host.supervisor.namespace("tasks").unwrap();
    let id = host.place.name(name);
    let cgroup = format!("{}/{id}", host.place.cgroup());
    let config = Bundle::new(&host.place.join(name), &cgroup, args).config();
    let top = services.snapshots.list("overlayfs", &[]).await.unwrap();
    let base = match top.iter().find(|info| info.parent.is_empty()) {
        Some(base) => base.name.clone(),
        None => unpack(&services, Layer::busybox().finish(), "").await,
    };
    let mounts = services
        .snapshots
        .prepare("overlayfs", &id, &base, kept())
        .await
        .unwrap();
    let container = Container {
        id: id.clone(),
        runtime: runtime.clone(),
        spec: Some(Any {
            type_url: RUNTIME_SPEC_TYPE.to_owned(),
            value: serde_json::to_vec(&config).unwrap(),
        }),
        snapshotter: "overlayfs".to_owned(),
        snapshot_key: id.clone(),
        ..Container::default()
    };
    services.containers.create(container).await.unwrap();
    let out = format!("file://{}", host.place.join(format!("{name}.out")).display());
    let request = CreateTask {
        container_id: id.clone(),
        rootfs: mounts,
        stdio: Stdio {
            stdout: out.clone(),
            stderr: out,
            ..Stdio::default()
        },
        options: None,
    };
    Prepared {
        services,
        id,
        config,
        request,
    }
}

impl Prepared {
    async fn remove(self) {
        self.services.containers.delete(&self.id).await.unwrap();
        self.services
            .snapshots
            .remove("overlayfs", &self.id)
            .await
            .unwrap();
    }
}

/// The next event of a container, by its name and with its numbers.
async fn hear(heard: &mut Heard, id: &str) -> TaskEvent {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), heard.next()).await;
        let event = next
            .expect("an event")
            .expect("the stream goes on")
            .unwrap()
            .event;
        let of = match &event {
            TaskEvent::Create { container_id, .. }
            | TaskEvent::Start { container_id, .. }
            | TaskEvent::ExecAdded { container_id, .. }
            | TaskEvent::ExecStarted { container_id, .. }
            | TaskEvent::Exit { container_id, .. }
            | TaskEvent::Delete { container_id, .. }
            | TaskEvent::Oom { container_id }
            | TaskEvent::Paused { container_id }
            | TaskEvent::Resumed { container_id } => container_id,
        };
        if of == id {
            return event;
        }
    }
}

pub(crate) async fn life(host: &Host, runtime: &Runtime, name: &str) {
    let script = "echo begun; read line < /go; echo $line; exit 42";
    let prepared = prepare(
        host,
        runtime,
        name,
        &["sh", "-c", &format!("mkfifo /go; {script}")],
    )
    .await;
    let (tasks, id) = (prepared.services.tasks.clone(), prepared.id.clone());
    let mut heard = prepared.services.events.subscribe_tasks().await.unwrap();
    let container_id = id.clone();

    let pid = tasks.create(prepared.request.clone()).await.unwrap();
    assert_eq!(
        hear(&mut heard, &id).await,
        TaskEvent::Create {
            container_id: container_id.clone(),
            pid
        }
    );
    let process = tasks.get(&id, "").await.unwrap();
    assert_eq!((process.pid, process.status), (pid, Status::Created));
    refused(Kind::AlreadyExists, tasks.create(prepared.request.clone()).await);
    let waiter = tokio::spawn({
        let (tasks, id) = (tasks.clone(), id.clone());
        async move { tasks.wait(&id, "").await }
    });
    assert_eq!(tasks.start(&id, "").await.unwrap(), pid);
    assert!(matches!(hear(&mut heard, &id).await, TaskEvent::Start { .. }));
    // containerd passes on what its shim says, which has no code.
    let error = tasks.delete(&id).await.unwrap_err();
    assert!(
        !host.ours || error.kind() == Kind::FailedPrecondition,
        "{}",
        error.chain()
    );
    // containerd leaves that to its clients.
    if host.ours {
        refused(
            Kind::FailedPrecondition,
            prepared.services.containers.delete(&id).await,
        );
    }
    let all = tasks.list().await.unwrap();
    let one = all.iter().find(|process| process.container_id == id).unwrap();
    assert_eq!((one.pid, one.status), (pid, Status::Running));
    let pids = tasks.pids(&id).await.unwrap();
    assert!(pids.iter().any(|process| process.pid == pid), "{pids:?}");
    assert!(tasks.ids().await.unwrap().contains(&id));
    assert!(!tasks.metrics(&id).await.unwrap().value.is_empty());

    // Execs. One of them lets the container go on.
    let exec = |exec_id: &str, args: &[&str]| {
        let mut process = prepared.config["process"].clone();
        process["args"] = serde_json::json!(args);
        ExecTask {
            container_id: id.clone(),
            exec_id: exec_id.to_owned(),
            stdio: Stdio::default(),
            spec: Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
                value: serde_json::to_vec(&process).unwrap(),
            },
        }
    };
    tasks.exec(exec("e1", &["sh", "-c", "exit 5"])).await.unwrap();
    refused(Kind::AlreadyExists, tasks.exec(exec("e1", &["true"])).await);
    let exec_pid = tasks.start(&id, "e1").await.unwrap();
    let ended = tasks.wait(&id, "e1").await.unwrap();
    assert_eq!(ended.exit_status, 5);
    assert!(matches!(hear(&mut heard, &id).await, TaskEvent::ExecAdded { .. }));
    assert_eq!(
        hear(&mut heard, &id).await,
        TaskEvent::ExecStarted {
            container_id: id.clone(),
            exec_id: "e1".to_owned(),
            pid: exec_pid
        }
    );
    match hear(&mut heard, &id).await {
        TaskEvent::Exit {
            exec_id,
            pid,
            exit_status,
            exited_at,
            ..
        } => {
            assert_eq!((exec_id.as_str(), pid, exit_status), ("e1", exec_pid, 5));
            assert_eq!(exited_at, ended.exited_at);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tasks.delete_process(&id, "e1").await.unwrap().exit_status, 5);
    refused(Kind::NotFound, tasks.get(&id, "e1").await);

    tasks.pause(&id).await.unwrap();
    assert_eq!(tasks.get(&id, "").await.unwrap().status, Status::Paused);
    assert!(matches!(hear(&mut heard, &id).await, TaskEvent::Paused { .. }));
    tasks.resume(&id).await.unwrap();
    assert!(matches!(hear(&mut heard, &id).await, TaskEvent::Resumed { .. }));
    assert_eq!(tasks.get(&id, "").await.unwrap().status, Status::Running);

    let before = Time::now();
    tasks
        .exec(exec("e2", &["sh", "-c", "echo went > /go"]))
        .await
        .unwrap();
    tasks.start(&id, "e2").await.unwrap();
    let exit = waiter.await.unwrap().unwrap();
    let after = Time::now();
    assert_eq!((exit.pid, exit.exit_status), (pid, 42));
    assert!(
        before <= exit.exited_at && exit.exited_at <= after,
        "{before:?} {exit:?} {after:?}"
    );
    assert_eq!(tasks.wait(&id, "").await.unwrap().exited_at, exit.exited_at);
    let process = tasks.get(&id, "").await.unwrap();
    assert_eq!((process.status, process.exit_status), (Status::Stopped, 42));
    assert_eq!(process.exited_at, Some(exit.exited_at));
    loop {
        match hear(&mut heard, &id).await {
            TaskEvent::Exit {
                exec_id,
                exit_status,
                exited_at,
                ..
            } if exec_id.is_empty() => {
                assert_eq!((exit_status, exited_at), (42, exit.exited_at));
                break;
            }
            TaskEvent::Delete { .. } => panic!("deleted before its end was told"),
            _ => {}
        }
    }
    let deleted = tasks.delete(&id).await.unwrap();
    assert_eq!((deleted.exit_status, deleted.exited_at), (42, exit.exited_at));
    loop {
        match hear(&mut heard, &id).await {
            TaskEvent::Delete { exit_status, .. } => {
                assert_eq!(exit_status, 42);
                break;
            }
            // Of the second exec.
            TaskEvent::Exit { exec_id, .. } => assert_eq!(exec_id, "e2"),
            other => panic!("{other:?}"),
        }
    }
    refused(Kind::NotFound, tasks.get(&id, "").await);
    refused(Kind::NotFound, tasks.delete(&id).await);
    let said = std::fs::read_to_string(host.place.join(format!("{name}.out"))).unwrap();
    assert_eq!(said, "begun\nwent\n");

    // A second task of the same container, killed.
    tasks.create(prepared.request.clone()).await.unwrap();
    tasks.start(&id, "").await.unwrap();
    // Of which exec a process is, the list of processes says.
    tasks.exec(exec("seen", &["sleep", "1000"])).await.unwrap();
    let seen = tasks.start(&id, "seen").await.unwrap();
    let pids = tasks.pids(&id).await.unwrap();
    let found = pids.iter().find(|process| process.pid == seen);
    let details = found.and_then(|process| process.details.clone()).unwrap();
    assert_eq!(details.type_url, "containerd.runc.v1.ProcessDetails");
    let details = ProcessDetails::decode(details.value.as_slice()).unwrap();
    assert_eq!(details.exec_id, "seen");
    tasks.kill(&id, "", 9, true).await.unwrap();
    assert_eq!(tasks.wait(&id, "").await.unwrap().exit_status, 137);
    assert_eq!(tasks.delete(&id).await.unwrap().exit_status, 137);
    prepared.remove().await;
}

pub(crate) async fn refusals(host: &Host, runtime: &Runtime, name: &str) {
    let prepared = prepare(host, runtime, name, &["sleep", "1000"]).await;
    let (tasks, id) = (prepared.services.tasks.clone(), prepared.id.clone());
    refused(Kind::NotFound, tasks.get(&id, "").await);
    refused(Kind::NotFound, tasks.start(&id, "").await);
    refused(Kind::NotFound, tasks.kill(&id, "", 9, false).await);
    refused(Kind::NotFound, tasks.wait(&id, "").await);
    let none = CreateTask {
        container_id: "none".to_owned(),
        ..CreateTask::default()
    };
    refused(Kind::NotFound, tasks.create(none).await);
    // Made and never started, it can be deleted, and who waits is told.
    tasks.create(prepared.request.clone()).await.unwrap();
    if host.ours {
        let waiter = tokio::spawn({
            let (tasks, id) = (tasks.clone(), id.clone());
            async move { tasks.wait(&id, "").await }
        });
        tasks.kill(&id, "", 9, false).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(30), waiter).await;
        assert_eq!(waited.unwrap().unwrap().unwrap().exit_status, 137);
    } else {
        tasks.kill(&id, "", 9, false).await.unwrap();
        tasks.wait(&id, "").await.unwrap();
    }
    tasks.delete(&id).await.unwrap();
    prepared.remove().await;
}

pub(crate) async fn creation_that_fails(host: &Host, runtime: &Runtime, name: &str) {
    let prepared = prepare(host, runtime, name, &["/no/such/program"]).await;
    let (tasks, id) = (prepared.services.tasks.clone(), prepared.id.clone());
    let error = tasks.create(prepared.request.clone()).await.unwrap_err();
    let said = error.chain();
    assert!(
        said.contains("/no/such/program") && said.contains("no such file or directory"),
        "{said}"
    );
    refused(Kind::NotFound, tasks.get(&id, "").await);
    prepared.remove().await;
}

/// One whose shim hangs is not asked when only another is wanted, and does not hide it when all are.
pub(crate) async fn metrics_beside_a_shim_that_hangs(host: &Host, runtime: &Runtime) {
    let mut both = Vec::new();
    for name in ["hangs", "answers"] {
        let prepared = prepare(host, runtime, name, &["sleep", "1000"]).await;
        let tasks = &prepared.services.tasks;
        tasks.create(prepared.request.clone()).await.unwrap();
        tasks.start(&prepared.id, "").await.unwrap();
        both.push(prepared);
    }
    let shims = gantry_testkit::kernel::processes(host.place.dir());
    let hangs = format!("-id {}", both[0].id);
    let (shim, _) = shims.iter().find(|(_, line)| line.contains(&hangs)).unwrap();
    gantry_sys::process::kill(*shim, 19).unwrap();
    let tasks = both[1].services.tasks.clone();
    let begun = std::time::Instant::now();
    let metrics = tasks.metrics(&both[1].id).await;
    let took = begun.elapsed();
    gantry_sys::process::kill(*shim, 18).unwrap();
    assert!(!metrics.unwrap().value.is_empty());
    assert!(took < Duration::from_millis(1500), "{took:?}");
    for prepared in both {
        tasks.kill(&prepared.id, "", 9, true).await.unwrap();
        tasks.wait(&prepared.id, "").await.unwrap();
        tasks.delete(&prepared.id).await.unwrap();
        prepared.remove().await;
    }
}
