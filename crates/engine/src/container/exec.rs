//! Execs: further processes in a running container.

use std::sync::{Arc, Weak};
use std::time::Duration;

use gantry_api_types::exec::{CreateRequest, CreateResponse, Inspect, ProcessConfig, StartRequest};
use gantry_errdefs::Error;
use gantry_supervisor_core::Any;
use gantry_supervisor_core::task::{AttachStreams, Attachment, ExecTask, Stdio};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::attach::{carry, detach_keys};
use super::start::judged;
use super::{Container, Exec};
use crate::{Engine, Result, fail, names, record, spec};

/// The type of an exec's specification.
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// How long the word of an exec's end may be behind the end of its output.
const LATE: Duration = Duration::from_secs(5);

/// A prepared exec: [`ExecAttach::run`] starts it. A failure to start is written to the client, as Docker does, and returned.
pub struct ExecAttach {
    engine: Weak<Engine>,
    exec: Arc<Exec>,
    keys: Vec<u8>,
    size: Option<[u32; 2]>,
}

impl Engine {
    fn find_exec(&self, id: &str) -> Result<Arc<Exec>> {
        self.all
            .exec(id)
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    /// Records an exec.
    pub async fn exec_create(&self, reference: &str, request: CreateRequest) -> Result<CreateResponse> {
        let container = self.find(reference)?;
        let record = container.record();
        match record.state.status {
            super::state::Status::Running => {}
            super::state::Status::Paused => {
                return Err(Error::failed_precondition(format!(
                    "Container {reference} is paused, unpause the container before exec"
                )));
            }
            _ => return Err(fail::not_running(&record.id)),
        }
        detach_keys(&request.detach_keys).ok_or_else(|| {
            Error::invalid(format!("Invalid escape keys ({}) provided", request.detach_keys))
        })?;
        let id = names::new_id()?;
        let command = request
            .cmd
            .as_deref()
            .map(|words| words.join(" "))
            .unwrap_or_default();
        let exec = Exec::new(record::Exec::new(id.clone(), record.id.clone(), request));
        self.db.put_exec(&id, &record.id, exec.record().encode()?).await?;
        self.all.insert_exec(exec);
        self.tell(
            &record,
            &format!("exec_create: {command}"),
            &[("execID", id.clone())],
        );
        Ok(CreateResponse { id })
    }

    fn prepare(&self, id: &str) -> Result<(Arc<Exec>, Arc<Container>)> {
        let exec = self.find_exec(id)?;
        let record = exec.record();
        if record.exit_code.is_some() || record.started {
            let what = if record.running {
                "is already running"
            } else {
                "has already run"
            };
            return Err(Error::failed_precondition(format!("exec command {id} {what}")));
        }
        let container = self.find(&record.container)?;
        if !container.read(|record| record.state.status.is_running()) {
            return Err(fail::not_running(&record.container));
        }
        Ok((exec, container))
    }

    /// Starts an exec without attaching to it.
    pub async fn exec_start(&self, id: &str, request: StartRequest) -> Result<()> {
        let (exec, container) = self.prepare(id)?;
        self.whole(async move |engine| {
            let streams = AttachStreams::default();
            engine
                .begin(&exec, &container, streams, request.console_size)
                .await
                .map(drop)
        })
        .await
    }

    /// Prepares an exec to be started attached.
    pub async fn exec_attach(&self, id: &str, request: StartRequest) -> Result<ExecAttach> {
        let (exec, _) = self.prepare(id)?;
        let keys = detach_keys(&exec.record().request.detach_keys).unwrap_or_default();
        Ok(ExecAttach {
            engine: self.me.clone(),
            exec,
            keys,
            size: request.console_size,
        })
    }

    /// Makes the process, attaches to it, and lets it run.
    async fn begin(
        &self,
        exec: &Arc<Exec>,
        container: &Arc<Container>,
        streams: AttachStreams,
        size: Option<[u32; 2]>,
    ) -> Result<Option<Attachment>> {
        let claimed = self.change_exec(exec, |record| !std::mem::replace(&mut record.started, true));
        let record = exec.record();
        if !claimed.await? {
            return Err(Error::failed_precondition(format!(
                "exec command {} is already running",
                record.id
            )));
        }
        let of = container.record();
        let tasks = &self.services.tasks;
        let begun = async {
            tasks.exec(self.exec_task(&record, &of, size).await?).await?;
            let attached = streams != AttachStreams::default();
            let attachment = match attached {
                true => Some(tasks.attach(&of.id, &record.id, streams).await?),
                false => None,
            };
            let pid = tasks.start(&of.id, &record.id).await?;
            Ok::<_, Error>((attachment, pid))
        };
        match begun.await {
            Ok((attachment, pid)) => {
                // Unless its end was told already.
                self.change_exec(exec, |record| {
                    record.pid = pid;
                    record.running = record.exit_code.is_none();
                    true
                })
                .await?;
                let command = record.request.cmd.as_deref().map(|words| words.join(" "));
                self.tell(
                    &of,
                    &format!("exec_start: {}", command.unwrap_or_default()),
                    &[("execID", record.id.clone())],
                );
                // It may have ended before it was known to run.
                self.check_exec(exec).await;
                Ok(attachment)
            }
            Err(error) => {
                let (code, error) = judged(fail::of_task("", error), 126);
                self.change_exec(exec, |record| {
                    record.exit_code = Some(code);
                    true
                })
                .await?;
                let _ = tasks.delete_process(&of.id, &record.id).await;
                Err(error)
            }
        }
    }

    /// What the supervisor is asked for.
    async fn exec_task(
        &self,
        record: &record::Exec,
        of: &record::Container,
        size: Option<[u32; 2]>,
    ) -> Result<ExecTask> {
        let request = &record.request;
        let mounts = self
            .services
            .snapshots
            .mounts("", &of.id)
            .await
            .map_err(fail::flat)?;
        let name = if request.user.is_empty() {
            &of.config.user
        } else {
            &request.user
        };
        let user = self.user(of, &mounts, name)?;
        let process = spec::exec_process(of, request, &user, size.or(request.console_size))?;
        let process =
            serde_json::to_vec(&process).map_err(|e| Error::internal(format!("encode the process: {e}")))?;
        let output = |wanted: bool| {
            if wanted {
                "attach:".to_owned()
            } else {
                String::new()
            }
        };
        Ok(ExecTask {
            container_id: of.id.clone(),
            exec_id: record.id.clone(),
            stdio: Stdio {
                stdin: output(request.attach_stdin),
                stdout: output(request.attach_stdout || request.tty),
                stderr: output(request.attach_stderr && !request.tty),
                terminal: request.tty,
            },
            spec: Any {
                type_url: PROCESS_TYPE.to_owned(),
                value: process,
            },
        })
    }

    /// Sets the size of an exec's terminal.
    pub async fn exec_resize(&self, id: &str, height: u32, width: u32) -> Result<()> {
        let record = self.find_exec(id)?.record();
        self.services
            .tasks
            .resize_pty(&record.container, id, width, height)
            .await
            .map_err(fail::flat)
    }

    /// About an exec.
    pub async fn exec_inspect(&self, id: &str) -> Result<Inspect> {
        let record = self.find_exec(id)?.record();
        let words = record.request.cmd.as_deref().cloned().unwrap_or_default();
        Ok(Inspect {
            id: record.id,
            running: record.running,
            exit_code: record.exit_code,
            process_config: ProcessConfig {
                tty: record.request.tty,
                entrypoint: words.first().cloned().unwrap_or_default(),
                arguments: words.get(1..).unwrap_or_default().to_vec(),
                privileged: Some(record.request.privileged),
                user: record.request.user.clone(),
            },
            open_stdin: record.request.attach_stdin,
            open_stderr: record.request.attach_stderr,
            open_stdout: record.request.attach_stdout,
            can_remove: false,
            container_id: record.container,
            detach_keys: record.request.detach_keys,
            pid: i64::from(record.pid),
        })
    }
}

impl ExecAttach {
    /// Whether the exec has a terminal (raw bytes rather than Docker's frames).
    pub fn terminal(&self) -> bool {
        self.exec.record().request.tty
    }

    /// Starts it and carries bytes until it ends, the client goes away or detaches.
    pub async fn run<S: AsyncRead + AsyncWrite + Send + Unpin>(self, io: S) -> Result<()> {
        let Some(engine) = self.engine.upgrade() else {
            return Ok(());
        };
        let record = self.exec.record();
        let container = engine.find(&record.container)?;
        let request = &record.request;
        let streams = AttachStreams {
            stdin: request.attach_stdin,
            stdout: request.attach_stdout || request.tty,
            stderr: request.attach_stderr && !request.tty,
        };
        let (from_client, mut to_client) = tokio::io::split(io);
        let begun = engine.begin(&self.exec, &container, streams, self.size).await;
        let attachment = match begun {
            Ok(attachment) => attachment,
            Err(error) => {
                let text = format!("{}\r\n", error.chain());
                let mut said = Vec::new();
                if !request.tty {
                    // Docker says it on standard output.
                    said.extend_from_slice(&[1, 0, 0, 0]);
                    said.extend_from_slice(&(text.len() as u32).to_be_bytes());
                }
                said.extend_from_slice(text.as_bytes());
                let _ = to_client.write_all(&said).await;
                let _ = to_client.shutdown().await;
                return Err(error);
            }
        };
        let Some(attachment) = attachment else {
            return Ok(());
        };
        let keys = if request.tty {
            self.keys.clone()
        } else {
            Vec::new()
        };
        let input = request.attach_stdin.then_some(!request.tty);
        let detached = carry(attachment, from_client, &mut to_client, input, &keys).await?;
        if !detached {
            // Whoever reads the end of the output asks for the exit code next.
            let mut changes = self.exec.changes.subscribe();
            let ended = async {
                while self.exec.record().running {
                    if changes.changed().await.is_err() {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(LATE, ended).await;
        }
        let _ = to_client.shutdown().await;
        Ok(())
    }
}
