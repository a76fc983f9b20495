//! The tasks of a namespace, each call passed to its shim. Nothing that only asks waits for a shim that does not answer.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use gantry_shim_api::messages as m;
use gantry_supervisor_core::attach::handshake;
use gantry_supervisor_core::task::{
    AttachStreams, Attachment, CreateTask, ExecTask, Exit, Pid, Process, Status, Stdio, Tasks as Api,
};
use gantry_supervisor_core::{Any, Error, Kind, Result};

use super::bundle::Bundle;
use super::shim::{self, CREATE, QUICK, RUNTIME, Shim, to_any};
use super::{Entry, lock, time};
use crate::metadata::containers;
use crate::supervisor::{Bound, blocking};

/// The task service's number for a process that has stopped.
pub(super) const STOPPED: i32 = 3;

fn status(number: i32) -> Status {
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
fn named(id: &str, exec_id: &str) -> m::StateRequest {
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
        let key = (namespace.clone(), id.clone());
        let container = self
            .shared
            .db
            .call(move |tx| containers::get(tx, &key.0, &key.1))
            .await?;
        let spec = container
            .spec
            .ok_or_else(|| Error::invalid(format!("container {id} has no spec: invalid argument")))?;
        let binary = shim::resolve(&container.runtime.name)?;
        let bundle = Bundle::new(&self.shared.tasks.state, &namespace, &id);
        let entry = Entry::new(&namespace, &id, bundle, binary);
        {
            let mut entries = lock(&self.shared.tasks.entries);
            if entries.contains_key(&(namespace.clone(), id.clone())) {
                return Err(Error::already_exists(format!("task {id}: already exists")));
            }
            entries.insert((namespace, id), entry.clone());
        }
        let made = self
            .set_up(
                &entry,
                &request,
                &spec.value,
                &container.runtime.name,
                container.runtime.options,
            )
            .await;
        match made {
            Ok(pid) => {
                self.shared.tasks.watch(entry);
                Ok(pid)
            }
            Err(error) => {
                self.undo(&entry).await;
                Err(error)
            }
        }
    }

    async fn unmake(&self, entry: &Arc<Entry>) -> Result<Exit> {
        let id = &entry.id;
        let last = || {
            let known = entry.exit().or_else(|| entry.bundle.exit_record());
            known.unwrap_or_default()
        };
        let shim = entry.shim();
        let exit = match &shim {
            Some(shim) => {
                let deleted: Result<m::DeleteResponse> = shim.call("Delete", &named(id, ""), RUNTIME).await;
                match deleted {
                    Ok(answer) => Exit {
                        pid: answer.pid,
                        exit_status: answer.exit_status,
                        exited_at: time(answer.exited_at),
                    },
                    // The shim has ended just now, or was told before.
                    Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unavailable) => last(),
                    // Some shims say so without the code for it.
                    Err(error) => {
                        let state = shim.state(id, "").await;
                        let runs = state.is_ok_and(|state| status(state.status) != Status::Stopped);
                        return Err(match runs {
                            true => Error::failed_precondition(error.chain()),
                            false => error,
                        });
                    }
                }
            }
            None => last(),
        };
        // Asked for meanwhile, it is what it was: stopped.
        entry.set_exit(exit);
        *lock(&entry.shim) = None;
        match shim {
            Some(shim) => shim.shutdown(id).await,
            None => {
                let environment = &self.shared.tasks.environment;
                if let Err(error) =
                    shim::delete(&entry.binary, &entry.bundle, &self.namespace, id, environment).await
                {
                    tracing::warn!(id, "{}", error.chain());
                }
            }
        }
        let bundle = entry.bundle.clone();
        blocking(move || bundle.remove()).await?;
        self.shared.tasks.remove(entry);
        Ok(exit)
    }

    async fn set_up(
        &self,
        entry: &Arc<Entry>,
        request: &CreateTask,
        spec: &[u8],
        runtime: &str,
        options: Option<Any>,
    ) -> Result<u32> {
        let tasks = &self.shared.tasks;
        let environment = &tasks.environment;
        let bundle = &entry.bundle;
        bundle.create(spec, &entry.binary).map_err(|error| {
            Error::from(error).context(format!("failed to make the bundle {}", bundle.path.display()))
        })?;
        let options = shim::options(
            runtime,
            request.options.clone().or(options),
            &environment.runtime_root,
        );
        let begun = std::time::Instant::now();
        let bootstrap = shim::start(
            &entry.binary,
            bundle,
            &self.namespace,
            &entry.id,
            options.clone(),
            environment,
        )
        .await?;
        let shim = Arc::new(Shim::connect(&bootstrap)?);
        *lock(&entry.shim) = Some(shim.clone());
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
        let shim = lock(&entry.shim).take();
        if let Some(shim) = &shim {
            shim.shutdown_now(&entry.id).await;
        }
        self.shared.tasks.discard(entry).await;
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

#[async_trait]
impl Api for Bound {
    async fn create(&self, request: CreateTask) -> Result<u32> {
        let bound = self.clone();
        to_the_end(async move { bound.make(request).await }).await
    }

    async fn start(&self, id: &str, exec_id: &str) -> Result<u32> {
        let answer: m::StartResponse = self.shim(id)?.call("Start", &named(id, exec_id), RUNTIME).await?;
        Ok(answer.pid)
    }

    async fn delete(&self, id: &str) -> Result<Exit> {
        let (bound, entry) = (self.clone(), self.entry(id)?);
        to_the_end(async move { bound.unmake(&entry).await }).await
    }

    async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let answer: m::DeleteResponse = self.shim(id)?.call("Delete", &named(id, exec_id), QUICK).await?;
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
        let message = m::ExecProcessRequest {
            id: request.container_id.clone(),
            exec_id: request.exec_id,
            terminal: request.stdio.terminal,
            stdin: request.stdio.stdin,
            stdout: request.stdio.stdout,
            stderr: request.stdio.stderr,
            spec: Some(to_any(request.spec)),
        };
        self.shim(&request.container_id)?
            .call::<()>("Exec", &message, QUICK)
            .await
            .map(drop)
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
            let mut exit = entry.exit.subscribe();
            let ended = exit.wait_for(Option::is_some).await;
            return match ended.map(|exit| *exit) {
                Ok(Some(exit)) => Ok(exit),
                _ => Err(Error::unavailable(format!("task {id} is not watched any more"))),
            };
        }
        let answer = self.shim(id)?.wait(id, exec_id).await?;
        Ok(Exit {
            pid: 0,
            exit_status: answer.exit_status,
            exited_at: time(answer.exited_at),
        })
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
