//! What clients do: one call after the other, each noted before it is made.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gantry_shim_api::messages::RuncOptions;
use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::image::{Descriptor, Image};
use gantry_supervisor_core::lease::Leases;
use gantry_supervisor_core::task::{CreateTask, ExecTask, Status};
use gantry_supervisor_core::{
    Any, Error, GANTRY_RUNTIME, Kind, Labels, RUNC_OPTIONS_TYPE, RUNTIME_SPEC_TYPE, Result, Services,
};
use gantry_testkit::image::digest;
use gantry_testkit::kernel::alive;
use prost::Message;
use serde_json::{Value, json};

use super::world::{Doubt, Exec, ExecStage, Kept, Known, Random, Slot, Stage};
use crate::daemon::shim_of;

pub(crate) const SNAPSHOTTER: &str = "overlayfs";

/// Ends with 42 at SIGTERM.
const INIT: &str = "trap 'exit 42' TERM; while :; do sleep 1000 & wait; done";

/// What all clients share.
pub(crate) struct Context {
    pub(crate) services: Services,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) place: PathBuf,
    pub(crate) cgroup: String,
    /// The specification of a container.
    pub(crate) config: Value,
    /// The supervisor's process.
    pub(crate) daemon: AtomicI32,
    pub(crate) stop: AtomicBool,
    /// The disk is full, or was since the supervisor was started.
    pub(crate) full: AtomicBool,
    pub(crate) left: AtomicI64,
    pub(crate) known: Mutex<Known>,
}

impl Context {
    pub(crate) fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Whether the supervisor is dead, as it should be when a call fails.
    async fn died(&self) -> bool {
        for _ in 0..100 {
            if self.stop.load(Ordering::SeqCst) || !alive(self.daemon.load(Ordering::SeqCst)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    pub(crate) fn container(&self, slot: &Slot) -> Container {
        let mut config = self.config.clone();
        config["linux"]["cgroupsPath"] = json!(format!("{}/{}", self.cgroup, slot.id));
        let options = RuncOptions {
            root: self.place.join("runtime").to_string_lossy().into_owned(),
            ..RuncOptions::default()
        };
        Container {
            id: slot.id.clone(),
            runtime: Runtime {
                name: GANTRY_RUNTIME.to_owned(),
                options: Some(Any {
                    type_url: RUNC_OPTIONS_TYPE.to_owned(),
                    value: options.encode_to_vec(),
                }),
            },
            spec: Some(Any {
                type_url: RUNTIME_SPEC_TYPE.to_owned(),
                value: serde_json::to_vec(&config).unwrap(),
            }),
            ..Container::default()
        }
    }

    pub(crate) fn exec(&self, slot: &Slot, exec: &Exec) -> ExecTask {
        let mut process = self.config["process"].clone();
        let script = match exec.code {
            Some(code) => format!("exit {code}"),
            None => "sleep 1000".to_owned(),
        };
        process["args"] = json!(["sh", "-c", script]);
        ExecTask {
            container_id: slot.id.clone(),
            exec_id: exec.id.clone(),
            spec: Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
                value: serde_json::to_vec(&process).unwrap(),
            },
            ..ExecTask::default()
        }
    }
}

/// What the config of every container has.
pub(crate) fn change(config: &mut Value, rootfs: &std::path::Path) {
    config["root"] = json!({"path": rootfs, "readonly": true});
    config["process"]["args"] = json!(["sh", "-c", INIT]);
}

/// One client: nobody else touches what it has.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) random: Random,
    pub(crate) slots: Vec<Slot>,
    pub(crate) kept: Kept,
}

impl Client {
    /// Calls until the supervisor is dead, or nothing is left to do.
    pub(crate) async fn work(mut self, context: Arc<Context>) -> Self {
        while !context.stop.load(Ordering::SeqCst) && context.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            let at = self.random.below(self.slots.len() as u64) as usize;
            let stores = self.random.one_in(5);
            let limit = Duration::from_secs(60);
            let step = async {
                match stores {
                    true => self.store(&context).await,
                    false => self.step(&context, at).await,
                }
            };
            let done = tokio::time::timeout(limit, step).await;
            let Err(error) = done.unwrap_or_else(|_| Err(Error::internal("no answer in a minute"))) else {
                continue;
            };
            if context.full.load(Ordering::SeqCst) || context.died().await {
                break;
            }
            let slot = (!stores).then(|| &self.slots[at]);
            panic!("{}: {}: {slot:#?}", self.name, error.chain());
        }
        self
    }

    async fn step(&mut self, context: &Context, at: usize) -> Result<()> {
        let random = &mut self.random;
        let slot = &mut self.slots[at];
        let tasks = &context.services.tasks;
        let id = slot.id.clone();
        match slot.stage {
            Stage::Absent => {
                slot.doubt = Some(Doubt::Record);
                context
                    .services
                    .containers
                    .create(context.container(slot))
                    .await?;
                slot.stage = Stage::Recorded;
            }
            Stage::Recorded if random.one_in(4) => {
                slot.doubt = Some(Doubt::Unrecord);
                context.services.containers.delete(&id).await?;
                slot.stage = Stage::Absent;
            }
            Stage::Recorded => {
                slot.doubt = Some(Doubt::Create);
                let request = CreateTask {
                    container_id: id,
                    ..CreateTask::default()
                };
                let pid = tasks.create(request).await?;
                slot.created(pid);
                slot.clean = !context.full.load(Ordering::SeqCst);
            }
            Stage::Created if random.one_in(5) => kill(context, slot, 9).await?,
            Stage::Created => {
                slot.doubt = Some(Doubt::Start);
                let pid = tasks.start(&id, "").await?;
                assert_eq!(pid, slot.pid);
                slot.stage = Stage::Running;
                slot.tell("start");
            }
            Stage::Running => match random.below(16) {
                0 => kill(context, slot, 9).await?,
                1 => kill(context, slot, 15).await?,
                // With a full disk nobody could write down how it ended.
                2 if !context.full.load(Ordering::SeqCst) => kill_shim(context, slot).await?,
                3 | 4 => {
                    slot.doubt = Some(Doubt::Pause);
                    tasks.pause(&id).await?;
                    slot.stage = Stage::Paused;
                    slot.tell("paused");
                }
                5 | 6 => {
                    let process = tasks.get(&id, "").await?;
                    assert_eq!(
                        (process.pid, process.status),
                        (slot.pid, Status::Running),
                        "{slot:?}"
                    );
                }
                _ => exec(context, slot, random).await?,
            },
            Stage::Paused => {
                slot.doubt = Some(Doubt::Resume);
                tasks.resume(&id).await?;
                slot.stage = Stage::Running;
                slot.tell("resumed");
            }
            Stage::Stopped(status) if random.one_in(4) => {
                let exit = tasks.wait(&id, "").await?;
                assert_eq!(exit.exit_status, status);
                context.known().exit(&id, "", slot.pid, exit);
            }
            Stage::Stopped(status) => {
                slot.doubt = Some(Doubt::Delete);
                let exit = tasks.delete(&id).await?;
                assert_eq!(exit.exit_status, status, "{slot:?}");
                let mut known = context.known();
                known.exit(&slot.id, "", slot.pid, exit);
                slot.deleted(&mut known);
            }
        }
        slot.doubt = None;
        Ok(())
    }

    /// Something is put into a store, or taken from it.
    async fn store(&mut self, context: &Context) -> Result<()> {
        let kept = &mut self.kept;
        kept.made += 1;
        let name = format!("{}-{}", self.name, kept.made);
        let services = &context.services;
        let add = self.random.one_in(2);
        match self.random.below(4) {
            0 if add => {
                let data = vec![b'x'; self.random.below(20_000) as usize];
                let data = [name.as_bytes(), &data].concat();
                let digest = digest(&data);
                kept.doubts.insert(digest.clone());
                kept.blobs.insert(digest.clone(), data.clone());
                let mut writer = services.content.writer(&name, data.len() as u64, &digest).await?;
                writer.write(Bytes::from(data.clone())).await?;
                writer
                    .commit(data.len() as u64, &digest, Labels::default())
                    .await?;
                kept.doubts.remove(&digest);
            }
            0 => {
                if let Some(digest) = kept.blobs.keys().next().cloned() {
                    kept.doubts.insert(digest.clone());
                    services.content.delete(&digest).await?;
                    kept.blobs.remove(&digest);
                    kept.doubts.remove(&digest);
                }
            }
            1 if add => {
                let target = Descriptor {
                    media_type: "application/vnd.oci.image.manifest.v1+json".into(),
                    digest: digest(name.as_bytes()),
                    size: 1,
                    ..Descriptor::default()
                };
                let image = Image {
                    name: name.clone(),
                    target,
                    ..Image::default()
                };
                kept.note(&name, |kept| &mut kept.images);
                services.images.create(image).await?;
                kept.doubts.remove(&name);
            }
            1 => {
                if let Some(name) = kept.images.first().cloned() {
                    kept.doubts.insert(name.clone());
                    services.images.delete(&name, false).await?;
                    kept.images.remove(&name);
                    kept.doubts.remove(&name);
                }
            }
            2 if add => {
                kept.note(&name, |kept| &mut kept.snapshots);
                services
                    .snapshots
                    .prepare(SNAPSHOTTER, &name, "", Labels::default())
                    .await?;
                kept.doubts.remove(&name);
            }
            2 => {
                if let Some(name) = kept.snapshots.first().cloned() {
                    kept.doubts.insert(name.clone());
                    services.snapshots.remove(SNAPSHOTTER, &name).await?;
                    kept.snapshots.remove(&name);
                    kept.doubts.remove(&name);
                }
            }
            _ if add => {
                kept.note(&name, |kept| &mut kept.leases);
                context.leases.create(&name, Labels::default()).await?;
                kept.doubts.remove(&name);
            }
            _ => {
                if let Some(name) = kept.leases.first().cloned() {
                    kept.doubts.insert(name.clone());
                    context.leases.delete(&name).await?;
                    kept.leases.remove(&name);
                    kept.doubts.remove(&name);
                }
            }
        }
        Ok(())
    }
}

impl Kept {
    /// Notes what is about to be made.
    fn note(&mut self, name: &str, names: impl Fn(&mut Self) -> &mut std::collections::BTreeSet<String>) {
        self.doubts.insert(name.to_owned());
        names(self).insert(name.to_owned());
    }
}

/// Ends the init: by SIGTERM, which it may not hear at once, or by SIGKILL.
async fn kill(context: &Context, slot: &mut Slot, signal: u32) -> Result<()> {
    let tasks = &context.services.tasks;
    let status = if signal == 15 { 42 } else { 137 };
    slot.doubt = Some(Doubt::Kill(status));
    let exit = loop {
        match tasks.kill(&slot.id, "", signal, false).await {
            Err(error) if error.kind() == Kind::NotFound => {}
            sent => sent?,
        }
        let wait = tasks.wait(&slot.id, "");
        if let Ok(exit) = tokio::time::timeout(Duration::from_millis(300), wait).await {
            break exit?;
        }
    };
    // A shell that is not yet there to hear it ends with 143.
    assert!([status, 143].contains(&exit.exit_status), "{exit:?} {slot:?}");
    slot.stopped(exit.exit_status, Some(exit.exited_at), &mut context.known());
    Ok(())
}

async fn kill_shim(context: &Context, slot: &mut Slot) -> Result<()> {
    slot.doubt = Some(Doubt::KillShim);
    slot.clean = false;
    let shim = shim_of(&context.place.join("state/shim/test").join(&slot.id));
    gantry_sys::process::kill(shim.expect("a shim"), 9).unwrap();
    let exit = context.services.tasks.wait(&slot.id, "").await?;
    assert_eq!(exit.exit_status, 137);
    slot.shimless = true;
    slot.stopped(137, Some(exit.exited_at), &mut context.known());
    Ok(())
}

/// One step in the life of an exec.
async fn exec(context: &Context, slot: &mut Slot, random: &mut Random) -> Result<()> {
    let tasks = &context.services.tasks;
    if slot.execs.len() < 2 {
        let exec = Exec {
            id: format!("e{}", slot.execs_made),
            code: (!random.one_in(3)).then(|| random.below(100) as u32),
            stage: ExecStage::Added,
            pid: 0,
        };
        slot.execs_made += 1;
        slot.execs.push(exec.clone());
        slot.doubt = Some(Doubt::ExecAdd);
        tasks.exec(context.exec(slot, &exec)).await?;
        slot.tell(format!("exec-added {}", exec.id));
        return Ok(());
    }
    let at = random.below(slot.execs.len() as u64) as usize;
    let exec = slot.execs[at].clone();
    match exec.stage {
        ExecStage::Added => {
            slot.doubt = Some(Doubt::ExecStart(at));
            let pid = tasks.start(&slot.id, &exec.id).await?;
            (slot.execs[at].stage, slot.execs[at].pid) = (ExecStage::Running, pid);
            slot.tell(format!("exec-started {} {pid}", exec.id));
        }
        ExecStage::Running => {
            slot.doubt = Some(Doubt::ExecKill(at));
            if exec.code.is_none() {
                tasks.kill(&slot.id, &exec.id, 9, false).await?;
            }
            let exit = tasks.wait(&slot.id, &exec.id).await?;
            assert_eq!(exit.exit_status, exec.code.unwrap_or(137), "{slot:?} {exec:?}");
            slot.execs[at].stage = ExecStage::Ended(exit.exit_status);
            context.known().exit(&slot.id, &exec.id, exec.pid, exit);
            slot.tell(format!("exit {} {}", exec.id, exec.pid));
        }
        ExecStage::Ended(status) => {
            slot.doubt = Some(Doubt::ExecDelete(at));
            let exit = tasks.delete_process(&slot.id, &exec.id).await?;
            assert_eq!((exit.pid, exit.exit_status), (exec.pid, status));
            context.known().exit(&slot.id, &exec.id, exec.pid, exit);
            slot.execs.remove(at);
        }
    }
    Ok(())
}
