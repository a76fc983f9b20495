//! A client that gives a supervisor work and says how long it took: ours or a real containerd, which see the same calls.
//!
//! ```text
//! load SOCKET prepare LAYER                 unpacks a tar archive, on which all containers stand
//! load SOCKET run RUNTIME CONFIG COUNT      containers one after the other, each from its snapshot to its removal
//! load SOCKET start RUNTIME CONFIG FROM TO AT_ONCE
//! load SOCKET exec ID CONFIG COUNT          processes in one that was started, one after the other
//! load SOCKET remove FROM TO                what was started
//! load SOCKET list COUNT                    waits until the supervisor answers, and lists this many that run
//! load SOCKET events COUNT                  published, and heard by a subscriber
//! ```
//!
//! RUNTIME is the shim's name, and perhaps `=` and the path of the runtime below it. Each line of the output is one piece of
//! work, in milliseconds.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gantry_shim_api::messages::RuncOptions;
use gantry_supervisor_api::client;
use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::image::Descriptor;
use gantry_supervisor_core::task::{CreateTask, ExecTask, Status, Stdio};
use gantry_supervisor_core::{Any, Kind, Labels, RUNC_OPTIONS_TYPE, RUNTIME_SPEC_TYPE, Services, Supervisor};
use prost::Message;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The snapshot that [`prepare`] makes.
const BASE: &str = "load-base";
const NAMESPACE: &str = "load";
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let [socket, work @ ..] = words.as_slice() else {
        return Err("load SOCKET WORK …: see the top of this example".into());
    };
    let supervisor = client::connect(socket)?;
    let services = supervisor.namespace(NAMESPACE)?;
    match work {
        ["prepare", layer] => prepare(&*supervisor, &services, layer).await,
        ["run", runtime, config, count] => {
            let template = Template::new(services, socket, runtime, config)?;
            for at in 0..count.parse()? {
                timed(template.life(&format!("run-{at}"))).await?;
            }
            Ok(())
        }
        ["start", runtime, config, from, to, at_once] => {
            let template = Template::new(services, socket, runtime, config)?;
            start(template, from.parse()?, to.parse()?, at_once.parse()?).await
        }
        ["exec", id, config, count] => {
            let config: Value = serde_json::from_slice(&std::fs::read(config)?)?;
            for at in 0..count.parse()? {
                timed(exec(&services, id, &config, &format!("exec-{at}"))).await?;
            }
            Ok(())
        }
        ["remove", from, to] => {
            for at in from.parse()?..to.parse::<usize>()? {
                let id = name(at);
                let waiting = services.tasks.clone();
                let waited = tokio::spawn({
                    let id = id.clone();
                    async move { waiting.wait(&id, "").await }
                });
                services.tasks.kill(&id, "", 9, true).await?;
                waited.await??;
                forget(&services, &id).await?;
            }
            Ok(())
        }
        ["list", count] => timed(list(&services, count.parse()?)).await,
        ["events", count] => events(&services, count.parse()?).await,
        _ => Err(format!("no such work: {}", work.join(" ")).into()),
    }
}

/// Prints how long some work took.
#[allow(clippy::print_stdout)] // what this program is for
async fn timed(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let begun = Instant::now();
    work.await?;
    println!("{:.3}", begun.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}

/// What must not be collected.
fn kept() -> Labels {
    Labels::from([(
        "containerd.io/gc.root".to_owned(),
        "2026-01-01T00:00:00Z".to_owned(),
    )])
}

async fn prepare(supervisor: &dyn Supervisor, services: &Services, layer: &str) -> Outcome<()> {
    match supervisor.create_namespace(NAMESPACE, Labels::new()).await {
        Err(error) if error.kind() != Kind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let data = std::fs::read(layer)?;
    let size = data.len() as u64;
    let mut writer = services.content.writer("load-layer", size, "").await?;
    for chunk in data.chunks(1 << 20) {
        writer.write(chunk.to_vec().into()).await?;
    }
    let digest = writer.commit(size, "", kept()).await?;
    let layer = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        digest,
        size,
        annotations: Labels::new(),
    };
    let mounts = services
        .snapshots
        .prepare("overlayfs", "load-unpack", "", kept())
        .await?;
    services.diff.apply(&layer, &mounts).await?;
    Ok(services
        .snapshots
        .commit("overlayfs", BASE, "load-unpack", kept())
        .await?)
}

/// What containers are made of.
struct Template {
    services: Services,
    runtime: Runtime,
    config: Value,
}

impl Template {
    fn new(services: Services, socket: &str, runtime: &str, config: &str) -> Outcome<Arc<Self>> {
        let (name, binary) = runtime.split_once('=').unwrap_or((runtime, ""));
        let options = RuncOptions {
            binary_name: binary.to_owned(),
            // Its own beside the socket: the usual one is shared by the whole machine.
            root: format!("{socket}.runtime"),
            ..RuncOptions::default()
        };
        let mut config: Value = serde_json::from_slice(&std::fs::read(config)?)?;
        config["root"]["path"] = json!("rootfs");
        Ok(Arc::new(Self {
            services,
            runtime: Runtime {
                name: name.to_owned(),
                options: Some(Any {
                    type_url: RUNC_OPTIONS_TYPE.to_owned(),
                    value: options.encode_to_vec(),
                }),
            },
            config,
        }))
    }

    /// Makes a container and its task.
    async fn create(&self, id: &str) -> Outcome<()> {
        let services = &self.services;
        let rootfs = services.snapshots.prepare("overlayfs", id, BASE, kept()).await?;
        let mut config = self.config.clone();
        if let Some(parent) = config["linux"]["cgroupsPath"].as_str() {
            config["linux"]["cgroupsPath"] = json!(format!("{parent}/{id}"));
        }
        let container = Container {
            id: id.to_owned(),
            runtime: self.runtime.clone(),
            spec: Some(Any {
                type_url: RUNTIME_SPEC_TYPE.to_owned(),
                value: serde_json::to_vec(&config)?,
            }),
            snapshotter: "overlayfs".to_owned(),
            snapshot_key: id.to_owned(),
            ..Container::default()
        };
        services.containers.create(container).await?;
        let request = CreateTask {
            container_id: id.to_owned(),
            rootfs,
            stdio: Stdio::default(),
            options: None,
        };
        services.tasks.create(request).await?;
        Ok(())
    }

    /// `run --rm`.
    async fn life(&self, id: &str) -> Outcome<()> {
        self.create(id).await?;
        let tasks = self.services.tasks.clone();
        let waiting = tokio::spawn({
            let (tasks, id) = (tasks.clone(), id.to_owned());
            async move { tasks.wait(&id, "").await }
        });
        tasks.start(id, "").await?;
        let exit = waiting.await??;
        if exit.exit_status != 0 {
            return Err(format!("{id} ended with {}", exit.exit_status).into());
        }
        forget(&self.services, id).await
    }
}

/// Removes all of a container whose process has ended.
async fn forget(services: &Services, id: &str) -> Outcome<()> {
    services.tasks.delete(id).await?;
    services.containers.delete(id).await?;
    Ok(services.snapshots.remove("overlayfs", id).await?)
}

fn name(at: usize) -> String {
    format!("load-{at}")
}

/// Starts many, some at once, and leaves them running.
async fn start(template: Arc<Template>, from: usize, to: usize, at_once: usize) -> Outcome<()> {
    let next = Arc::new(AtomicUsize::new(from));
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let (template, next) = (template.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= to {
                        return Outcome::Ok(());
                    }
                    let id = name(at);
                    timed(async {
                        template.create(&id).await?;
                        template.services.tasks.start(&id, "").await?;
                        Ok(())
                    })
                    .await?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn exec(services: &Services, id: &str, config: &Value, exec_id: &str) -> Outcome<()> {
    let tasks = services.tasks.clone();
    let mut process = config["process"].clone();
    process["args"] = json!(["true"]);
    let request = ExecTask {
        container_id: id.to_owned(),
        exec_id: exec_id.to_owned(),
        stdio: Stdio::default(),
        spec: Any {
            type_url: PROCESS_TYPE.to_owned(),
            value: serde_json::to_vec(&process)?,
        },
    };
    tasks.exec(request).await?;
    let waiting = tokio::spawn({
        let (tasks, id, exec_id) = (tasks.clone(), id.to_owned(), exec_id.to_owned());
        async move { tasks.wait(&id, &exec_id).await }
    });
    tasks.start(id, exec_id).await?;
    let exit = waiting.await??;
    if exit.exit_status != 0 {
        return Err(format!("{exec_id} ended with {}", exit.exit_status).into());
    }
    tasks.delete_process(id, exec_id).await?;
    Ok(())
}

/// Asks until somebody answers and all run.
async fn list(services: &Services, count: usize) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = match services.tasks.list().await {
            Ok(all) => {
                let run = all.iter().filter(|task| task.status == Status::Running).count();
                if run == count {
                    return Ok(());
                }
                format!("{run} of {count} run")
            }
            Err(error) => error.chain(),
        };
        if Instant::now() > deadline {
            return Err(said.into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn events(services: &Services, count: usize) -> Outcome<()> {
    let mut heard = services
        .events
        .subscribe(&[r#"topic=="/load/event""#.to_owned()])
        .await?;
    // A subscription is there once something was heard by it.
    let event = || Any {
        type_url: RUNC_OPTIONS_TYPE.to_owned(),
        value: RuncOptions::default().encode_to_vec(),
    };
    loop {
        services.events.publish("/load/event", event()).await?;
        let first = tokio::time::timeout(Duration::from_millis(100), heard.next()).await;
        if first.is_ok() {
            break;
        }
    }
    while tokio::time::timeout(Duration::from_millis(200), heard.next())
        .await
        .is_ok()
    {}
    timed(async {
        let publish = async {
            let calls = futures_util::stream::iter(0..count)
                .map(|_| services.events.publish("/load/event", event()))
                .buffer_unordered(16);
            calls.for_each(|_| async {}).await;
        };
        let hear = async {
            for _ in 0..count {
                heard.next().await.ok_or("the stream ended")??;
            }
            Outcome::Ok(())
        };
        let ((), heard) = tokio::join!(publish, hear);
        heard
    })
    .await
}
