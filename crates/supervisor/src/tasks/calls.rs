//! The tasks of a namespace, each call passed to its shim. Nothing that only asks waits for a shim that does not answer.

use std::collections::hash_map;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use gantry_shim_api::messages as m;
use gantry_supervisor_core::attach::handshake;
use gantry_supervisor_core::container::Runtime;
use gantry_supervisor_core::task::{
    AttachStreams, Attachment, CreateTask, ExecTask, Exit, Pid, Process, Status, Stdio, Tasks as Api,
};
use gantry_supervisor_core::{Any, Error, Kind, Result, validate_identifier};
use gantry_sys::fault::point;

use super::bundle::Bundle;
use super::entry::Entry;
use super::shim::{self, CREATE, QUICK, RUNTIME, Shim, to_any};
use super::{Tasks, lock, time};
use crate::metadata::containers;
use crate::supervisor::{Bound, blocking};

/// The task service's number for a process that has stopped.
pub(super) const STOPPED: i32 = 3;

pub(super) fn status(number: i32) -> Status {
    match number {
        1 => Status::Created,
        2 => Status::Running,
        3 => Status::Stopped,
        4 => Status::Paused,
        5 => Status::Pausing,
        _ => Status::Unknown,
    }
}

/// Does what must not be cut off half way, also when who asked for it goes away.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::internal("the work on a task was cut off")),
    }
}

/// The message of all calls that name a process, or only the task: they have the same fields.
pub(super) fn named(id: &str, exec_id: &str) -> m::StateRequest {
    m::StateRequest {
        id: id.to_owned(),
        exec_id: exec_id.to_owned(),
    }
}

impl Bound {
    fn entry(&self, id: &str) -> Result<Arc<Entry>> {
        self.shared.tasks.get(&self.namespace, id)
    }

    /// The shim of a task. Without one its process has ended.
    fn shim(&self, id: &str) -> Result<Arc<Shim>> {
        let entry = self.entry(id)?;
        entry.shim().ok_or_else(|| {
            Error::not_found(format!(
                "process already finished: the shim of task {id} is gone: not found"
            ))
        })
    }

    async fn make(&self, request: CreateTask) -> Result<u32> {
        let (namespace, id) = (self.namespace.clone(), request.container_id.clone());
        validate_identifier(&id)?;
        let tasks = &self.shared.tasks;
        // Before the record is read: who deletes that looks for a task in the same transaction, and one of both sees
        // the other.
        let bundle = Bundle::new(&tasks.state, &namespace, &id);
        let entry = {
            let mut entries = lock(&tasks.entries);
            let entry = Entry::new(&namespace, &id, bundle);
            match entries.entry(entry.key()) {
                hash_map::Entry::Occupied(_) => {
                    return Err(Error::already_exists(format!("task {id}: already exists")));
                }
                hash_map::Entry::Vacant(place) => place.insert(entry).clone(),
            }
        };
        // Nobody else can have it yet.
        let held = entry.operation.lock().await;
        let made = match self.read(&id).await {
            Ok((spec, binary, runtime)) => {
                let _ = entry.binary.set(binary);
                let made = self.set_up(&entry, &request, &spec, runtime).await;
                if made.is_err() {
                    self.undo(&entry).await;
                }
                made
            }
            Err(error) => Err(error),
        };
        match &made {
            Ok(_) => tasks.watch(entry.clone()),
            Err(_) => tasks.remove(&entry),
        }
        drop(held);
        made
    }

    /// What the record of a container says: the specification, the shim's binary, and the runtime.
    async fn read(&self, id: &str) -> Result<(Vec<u8>, PathBuf, Runtime)> {
        let key = (self.namespace.clone(), id.to_owned());
        let container = self
            .shared
            .db
            .call(move |tx| containers::get(tx, &key.0, &key.1))
            .await?;
        let spec = container
            .spec
            .ok_or_else(|| Error::invalid(format!("container {id} has no spec: invalid argument")))?;
        let binary = shim::resolve(&container.runtime.name)?;
        Ok((spec.value, binary, container.runtime))
    }

    async fn set_up(
        &self,
        entry: &Arc<Entry>,
        request: &CreateTask,
        spec: &[u8],
        runtime: Runtime,
    ) -> Result<u32> {
        let tasks = &self.shared.tasks;
        let environment = &tasks.environment;
        let bundle = &entry.bundle;
        bundle.create(spec, entry.binary()).map_err(|error| {
            Error::from(error).context(format!("failed to make the bundle {}", bundle.path.display()))
        })?;
        let options = shim::options(
            &runtime.name,
            request.options.clone().or(runtime.options),
            &environment.runtime_root,
        );
        point("bundle made");
        let begun = std::time::Instant::now();
        let bootstrap = shim::start(
            entry.binary(),
            bundle,
            &self.namespace,
            &entry.id,
            options.clone(),
            environment,
        )
        .await?;
        point("shim started");
        tasks.join(&bootstrap.address, &entry.namespace, &entry.id);
        let shim = Arc::new(Shim::connect(&bootstrap)?);
        entry.set_shim(Some(shim.clone()));
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stdio = &request.stdio;
        let message = m::CreateTaskRequest {
            id: entry.id.clone(),
            bundle: bundle.path.to_string_lossy().into_owned(),
            rootfs: request
                .rootfs
                .iter()
                .cloned()
                .map(|mount| m::Mount {
                    r#type: mount.kind,
                    source: mount.source,
                    target: mount.target,
                    options: mount.options,
                })
                .collect(),
            terminal: stdio.terminal,
            stdin: stdio.stdin.clone(),
            stdout: stdio.stdout.clone(),
            stderr: stdio.stderr.clone(),
            options: options.map(to_any),
            ..Default::default()
        };
        let answer: m::CreateTaskResponse = shim.call("Create", &message, CREATE).await.map_err(|error| {
            Error::new(
                error.kind(),
                format!("failed to create shim task: {}", error.message()),
            )
        })?;
        point("task created");
        if tracing::enabled!(target: "gantry::trace", tracing::Level::INFO) {
            let request = m::ConnectRequest { id: entry.id.clone() };
            let connected: Result<m::ConnectResponse> = shim.call("Connect", &request, QUICK).await;
            let pid = connected.map_or(0, |answer| answer.shim_pid);
            tracing::info!(
                target: "gantry::trace", layer = "supervisor", took_us, "shim started pid={pid} id={}", entry.id
            );
        }
        Ok(answer.pid)
    }

    /// Takes away what a failed create left.
    async fn undo(&self, entry: &Arc<Entry>) {
        let shim = entry.shim();
        entry.set_shim(None);
        self.shared.tasks.discard(entry, shim).await;
    }

    fn process(&self, entry: &Entry, exec_id: &str, state: m::StateResponse) -> Process {
        Process {
            container_id: entry.id.clone(),
            exec_id: exec_id.to_owned(),
            pid: state.pid,
            status: status(state.status),
            stdio: Stdio {
                stdin: state.stdin,
                stdout: state.stdout,
                stderr: state.stderr,
                terminal: state.terminal,
            },
            exit_status: state.exit_status,
            exited_at: (state.status == STOPPED).then(|| time(state.exited_at)),
        }
    }

    /// What is known of a task whose shim is gone, or does not answer.
    fn last_known(&self, entry: &Entry) -> Process {
        let exit = entry.exit();
        Process {
            container_id: entry.id.clone(),
            pid: exit.map_or_else(|| entry.bundle.init_pid().unwrap_or_default(), |exit| exit.pid),
            status: if exit.is_some() {
                Status::Stopped
            } else {
                Status::Unknown
            },
            exit_status: exit.map_or(0, |exit| exit.exit_status),
            exited_at: exit.map(|exit| exit.exited_at),
            ..Process::default()
        }
    }

    async fn look(&self, entry: &Arc<Entry>, exec_id: &str) -> Result<Process> {
        let Some(shim) = entry.shim() else {
            return match exec_id {
                "" => Ok(self.last_known(entry)),
                exec => Err(Error::not_found(format!("process {exec}: not found"))),
            };
        };
        match shim.state(&entry.id, exec_id).await {
            Ok(state) => Ok(self.process(entry, exec_id, state)),
            Err(error)
                if exec_id.is_empty()
                    && matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded) =>
            {
                Ok(self.last_known(entry))
            }
            Err(error) => Err(error),
        }
    }
}

/// Asks the shim for the end of an exec, for all who wait for it.
async fn wait_exec(tasks: Arc<Tasks>, entry: Arc<Entry>, exec_id: String) {
    let ended = loop {
        let Some(shim) = entry.shim() else {
            break Err(Error::not_found(format!("process {exec_id}: not found")));
        };
        match shim.wait(&entry.id, &exec_id).await {
            Ok(answer) => {
                break Ok(Exit {
                    pid: 0,
                    exit_status: answer.exit_status,
                    exited_at: time(answer.exited_at),
                });
            }
            // Its end is told by who finds that the shim is gone.
            Err(_) if shim.is_lost() => {
                if !tasks.mend(&entry, &shim).await {
                    return;
                }
            }
            Err(error) => break Err(error),
        }
    };
    entry.execs.answer(&exec_id, ended);
}

#[async_trait]
impl Api for Bound {
    async fn create(&self, request: CreateTask) -> Result<u32> {
        let bound = self.clone();
        to_the_end(async move { bound.make(request).await }).await
    }

    async fn start(&self, id: &str, exec_id: &str) -> Result<u32> {
        let entry = self.entry(id)?;
        let answer: m::StartResponse = self.shim(id)?.call("Start", &named(id, exec_id), RUNTIME).await?;
        point("process started");
        if !exec_id.is_empty() {
            let exec_id = exec_id.to_owned();
            let kept = blocking(move || entry.execs.start(&exec_id, answer.pid));
            if let Err(error) = kept.await {
                tracing::warn!(id, "failed to keep the process of an exec: {}", error.chain());
            }
        }
        Ok(answer.pid)
    }

    async fn delete(&self, id: &str) -> Result<Exit> {
        let (bound, entry) = (self.clone(), self.entry(id)?);
        to_the_end(async move { bound.shared.tasks.unmake(&entry).await }).await
    }

    async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let entry = self.entry(id)?;
        let deleted: Result<m::DeleteResponse> =
            self.shim(id)?.call("Delete", &named(id, exec_id), QUICK).await;
        match &deleted {
            Err(error) if error.kind() != Kind::NotFound => {}
            _ if exec_id.is_empty() => {}
            _ => {
                point("exec deleted");
                self.shared.events.forget(&self.namespace, id, Some(exec_id));
                let (entry, exec_id) = (entry.clone(), exec_id.to_owned());
                blocking(move || {
                    entry.execs.remove(&exec_id);
                    Ok::<_, Error>(())
                })
                .await?;
            }
        }
        let answer = deleted?;
        Ok(Exit {
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: time(answer.exited_at),
        })
    }

    async fn get(&self, id: &str, exec_id: &str) -> Result<Process> {
        self.look(&self.entry(id)?, exec_id).await
    }

    async fn list(&self) -> Result<Vec<Process>> {
        let all: Vec<Arc<Entry>> = {
            let entries = lock(&self.shared.tasks.entries);
            entries
                .values()
                .filter(|entry| entry.namespace == self.namespace)
                .cloned()
                .collect()
        };
        let looked = join_all(all.iter().map(|entry| self.look(entry, ""))).await;
        // One that was deleted meanwhile is none.
        Ok(looked.into_iter().filter_map(Result::ok).collect())
    }

    async fn ids(&self) -> Result<Vec<String>> {
        let entries = lock(&self.shared.tasks.entries);
        let ours = entries.values().filter(|entry| entry.namespace == self.namespace);
        Ok(ours.map(|entry| entry.id.clone()).collect())
    }

    async fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let request = m::KillRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            signal,
            all,
        };
        self.shim(id)?
            .call::<()>("Kill", &request, RUNTIME)
            .await
            .map(drop)
    }

    async fn exec(&self, request: ExecTask) -> Result<()> {
        validate_identifier(&request.exec_id)?;
        let shim = self.shim(&request.container_id)?;
        let entry = self.entry(&request.container_id)?;
        let exec_id = request.exec_id.clone();
        blocking(move || entry.execs.add(&exec_id))
            .await
            .map_err(|error| error.context(format!("failed to keep exec {}", request.exec_id)))?;
        point("exec kept");
        let message = m::ExecProcessRequest {
            id: request.container_id.clone(),
            exec_id: request.exec_id,
            terminal: request.stdio.terminal,
            stdin: request.stdio.stdin,
            stdout: request.stdio.stdout,
            stderr: request.stdio.stderr,
            spec: Some(to_any(request.spec)),
        };
        shim.call::<()>("Exec", &message, QUICK).await.map(drop)
    }

    async fn resize_pty(&self, id: &str, exec_id: &str, width: u32, height: u32) -> Result<()> {
        let request = m::ResizePtyRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            width,
            height,
        };
        self.shim(id)?
            .call::<()>("ResizePty", &request, QUICK)
            .await
            .map(drop)
    }

    async fn close_io(&self, id: &str, exec_id: &str) -> Result<()> {
        let request = m::CloseIoRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            stdin: true,
        };
        self.shim(id)?
            .call::<()>("CloseIO", &request, QUICK)
            .await
            .map(drop)
    }

    async fn pause(&self, id: &str) -> Result<()> {
        self.shim(id)?
            .call::<()>("Pause", &named(id, ""), RUNTIME)
            .await
            .map(drop)
    }

    async fn resume(&self, id: &str) -> Result<()> {
        self.shim(id)?
            .call::<()>("Resume", &named(id, ""), RUNTIME)
            .await
            .map(drop)
    }

    async fn pids(&self, id: &str) -> Result<Vec<Pid>> {
        let answer: m::PidsResponse = self.shim(id)?.call("Pids", &named(id, ""), QUICK).await?;
        let all = answer.processes.into_iter().map(|process| Pid {
            pid: process.pid,
            details: process.info.map(|any| Any {
                type_url: any.type_url,
                value: any.value,
            }),
        });
        Ok(all.collect())
    }

    async fn update(&self, id: &str, resources: Any) -> Result<()> {
        let request = m::UpdateTaskRequest {
            id: id.to_owned(),
            resources: Some(to_any(resources)),
            ..Default::default()
        };
        self.shim(id)?
            .call::<()>("Update", &request, RUNTIME)
            .await
            .map(drop)
    }

    async fn metrics(&self, id: &str) -> Result<Any> {
        let answer: m::StatsResponse = self.shim(id)?.call("Stats", &named(id, ""), QUICK).await?;
        let stats = answer
            .stats
            .ok_or_else(|| Error::not_found(format!("task {id} has no metrics: not found")))?;
        Ok(Any {
            type_url: stats.type_url,
            value: stats.value,
        })
    }

    async fn wait(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let entry = self.entry(id)?;
        if exec_id.is_empty() {
            return entry.wait().await;
        }
        if entry.shim().is_none() {
            let exit = entry.execs.exit(exec_id);
            return exit.ok_or_else(|| Error::not_found(format!("process {exec_id}: not found")));
        }
        let waiter = entry.execs.wait(exec_id);
        if waiter.begin {
            tokio::spawn(wait_exec(self.shared.tasks.clone(), entry, exec_id.to_owned()));
        }
        waiter.ended().await
    }

    async fn attach(&self, id: &str, exec_id: &str, streams: AttachStreams) -> Result<Attachment> {
        let path = self.attach_endpoint(id, exec_id).await?;
        let stream = shim::connect_unix(std::path::Path::new(&path))
            .map_err(|source| Error::from(source).context(format!("failed to connect to {path}")))?;
        handshake(stream, exec_id, streams).await
    }

    async fn attach_endpoint(&self, id: &str, _exec_id: &str) -> Result<String> {
        let path = self.entry(id)?.bundle.attach_socket();
        match path.exists() {
            true => Ok(path.to_string_lossy().into_owned()),
            false => Err(Error::not_implemented(format!(
                "task {id}: its shim has no attach socket"
            ))),
        }
    }
}
