//! Starting: the task is made, those who wait to be attached are, and then its process runs.

use std::sync::Arc;
use std::time::Duration;

use gantry_errdefs::{Error, Kind};
use gantry_oci::runtime::LinuxNamespaceType as Ns;
use gantry_seccomp::profile;
use gantry_supervisor_core::container::{Container as Stored, Runtime};
use gantry_supervisor_core::task::{CreateTask, Status as TaskStatus, Stdio};
use gantry_supervisor_core::{Any, GANTRY_RUNTIME, Labels, RUNTIME_SPEC_TYPE, Time};

use super::state::{Event, Status};
use super::{Container, lock, options};
use crate::spec::{self, Facts};
use crate::user::{self, User};
use crate::{ATTACH_LINK, Engine, Result, fail, record};

impl Engine {
    /// Starts a container.
    pub async fn container_start(&self, reference: &str, _detach_keys: &str) -> Result<()> {
        let container = self.find(reference)?;
        let reference = reference.to_owned();
        self.whole(async move |engine| {
            let _operation = container.hold(&reference).await?;
            engine.start(&container, true).await
        })
        .await
    }

    /// Starts a container whose operation the caller holds. `asked`: by a user, from whose start restarts are counted.
    pub(crate) async fn start(&self, container: &Arc<Container>, asked: bool) -> Result<()> {
        let record = container.record();
        if record.state.removing {
            return Err(Error::failed_precondition(
                "container is marked for removal and cannot be started",
            ));
        }
        if record.state.status == Status::Paused {
            return Err(Error::failed_precondition(
                "cannot start a paused container, try unpause instead",
            ));
        }
        let Some(status) = record.state.status.after(Event::Start) else {
            return Err(Error::not_modified("container is already running"));
        };
        match self.raise(container, &record).await {
            Ok(pid) => {
                let record = self
                    .change(container, |record| {
                        let state = &mut record.state;
                        state.status = status;
                        state.pid = pid;
                        state.started_at = record::nanoseconds(Time::now());
                        state.error.clear();
                        state.exit_code = 0;
                        state.oom_killed = false;
                        state.stopped_by_user = false;
                        state.restarts = if asked { 0 } else { state.restarts };
                    })
                    .await?;
                self.tell(&record, "start", &[]);
                // Who came between the making of the task and this.
                self.serve_waiting(container).await;
                // Its end may have been told before it was known to run.
                self.check_exit(container).await;
                Ok(())
            }
            Err(error) => {
                // Those who wait to be attached hear that nothing comes.
                lock(&container.waiting).clear();
                self.clear_task(&record.id).await;
                let (code, error) = judged(error, 128);
                let message = error.message().to_owned();
                let record = self
                    .change(container, move |record| {
                        let state = &mut record.state;
                        state.error = message;
                        state.exit_code = code;
                        state.status = state.status.after(Event::GiveUp).unwrap_or(state.status);
                    })
                    .await?;
                if record.host.auto_remove {
                    self.remove_later(container);
                }
                Err(error)
            }
        }
    }

    /// Attaches everybody who waits for that. A task must be there.
    pub(crate) async fn serve_waiting(&self, container: &Container) {
        let id = container.read(|record| record.id.clone());
        let waiting = std::mem::take(&mut *lock(&container.waiting));
        for one in waiting {
            match self.services.tasks.attach(&id, "", one.streams).await {
                Ok(attachment) => drop(one.to.send(attachment)),
                Err(error) => tracing::warn!(id, "attach: {}", error.chain()),
            }
        }
    }

    /// Takes away what is left of a task, if anything is.
    pub(crate) async fn clear_task(&self, id: &str) {
        let tasks = &self.services.tasks;
        if let Ok(process) = tasks.get(id, "").await {
            if process.status != TaskStatus::Stopped {
                let _ = tasks.kill(id, "", 9, true).await;
                if matches!(process.status, TaskStatus::Paused | TaskStatus::Pausing) {
                    // Frozen, it would not die.
                    let _ = tasks.resume(id).await;
                }
                let _ = tokio::time::timeout(Duration::from_secs(10), tasks.wait(id, "")).await;
            }
            if let Err(error) = tasks.delete(id).await {
                tracing::warn!(id, "failed to delete the task: {}", error.chain());
            }
        }
        if let Err(error) = fail::gone(self.services.containers.delete(id).await) {
            tracing::warn!(id, "failed to delete the supervisor's record: {}", error.chain());
        }
    }

    async fn raise(&self, container: &Container, record: &record::Container) -> Result<u32> {
        let id = &record.id;
        self.clear_task(id).await;
        let mounts = self.services.snapshots.mounts("", id).await.map_err(fail::flat)?;
        for point in record.mounts.iter().filter(|point| point.r#type == "bind") {
            // As Docker does for `-v`.
            if !std::path::Path::new(&point.source).exists() {
                std::fs::create_dir_all(&point.source).map_err(|error| {
                    fail::on_path(
                        "error while creating mount source path",
                        point.source.as_ref(),
                        error,
                    )
                })?;
            }
        }
        let facts = self.facts(record, &mounts).await?;
        let spec = spec::make(record, &facts)?;
        let spec = serde_json::to_vec(&spec)
            .map_err(|e| Error::internal(format!("encode the specification: {e}")))?;
        let binary = self.runtime(&record.host.runtime)?;
        let foreign = self.config.foreign.as_ref();
        let link = self.folder(id).join(ATTACH_LINK);
        let options = options::runc(
            binary.as_deref(),
            foreign.map(|foreign| (foreign.runtime_root.as_path(), link.as_path())),
        );
        let stored = Stored {
            id: id.clone(),
            image: record.config.image.clone(),
            runtime: Runtime {
                name: foreign.map_or_else(
                    || GANTRY_RUNTIME.to_owned(),
                    |foreign| foreign.shim.to_string_lossy().into_owned(),
                ),
                options,
            },
            spec: Some(Any {
                type_url: RUNTIME_SPEC_TYPE.to_owned(),
                value: spec,
            }),
            snapshotter: "overlayfs".to_owned(),
            snapshot_key: id.clone(),
            labels: Labels::new(),
            ..Stored::default()
        };
        self.services
            .containers
            .create(stored)
            .await
            .map_err(fail::flat)?;
        let request = CreateTask {
            container_id: id.clone(),
            rootfs: mounts,
            stdio: self.stdio(record),
            options: None,
        };
        let made = self.services.tasks.create(request).await;
        made.map_err(|error| fail::of_task("failed to create task for container", error))?;
        // Attached before the start, they miss nothing.
        self.serve_waiting(container).await;
        self.services
            .tasks
            .start(id, "")
            .await
            .map_err(|error| fail::of_task("failed to start task for container", error))
    }

    fn stdio(&self, record: &record::Container) -> Stdio {
        let output = match record.host.log_config.r#type.as_str() {
            "none" => "attach:".to_owned(),
            _ => format!("json-file://{}", self.log_path(&record.id).display()),
        };
        Stdio {
            stdin: if record.config.open_stdin {
                "attach:".to_owned()
            } else {
                String::new()
            },
            stdout: output.clone(),
            stderr: if record.config.tty { String::new() } else { output },
            terminal: record.config.tty,
        }
    }

    /// Looks up what a specification needs to know.
    async fn facts(
        &self,
        record: &record::Container,
        mounts: &[gantry_supervisor_core::snapshot::Mount],
    ) -> Result<Facts> {
        let options = spec::security_options(&record.host.security_opt)?;
        let capabilities = spec::capabilities(&record.host)?;
        let rules = profile::Facts {
            capabilities: capabilities.iter().map(String::as_str).collect(),
            kernel: kernel(),
        };
        let seccomp = match options.seccomp.as_deref() {
            Some("unconfined") => None,
            Some(text) => Some(
                profile::parse(text.as_bytes(), &rules)
                    .map_err(|error| Error::invalid(gantry_errdefs::chain(&error)))?,
            ),
            None => Some(profile::default(&rules)),
        };
        let init = match record.host.init {
            Some(true) => Some(init_program()?),
            _ => None,
        };
        let mut joined = Vec::new();
        for (kind, mode) in [
            (Ns::Network, &record.host.network_mode),
            (Ns::Pid, &record.host.pid_mode),
            (Ns::Ipc, &record.host.ipc_mode),
        ] {
            if let Some(other) = mode.strip_prefix("container:") {
                let other = self.find(other)?.record();
                if !other.state.status.is_running() {
                    return Err(Error::failed_precondition(format!(
                        "cannot join network of a non running container: {}",
                        other.id
                    )));
                }
                joined.push((kind, other.state.pid));
            }
        }
        Ok(Facts {
            user: self.user(record, mounts, &record.config.user)?,
            folder: self.folder(&record.id),
            cgroup_parent: match record.host.cgroup_parent.as_str() {
                "" => self.config.cgroup_parent.clone(),
                parent => parent.to_owned(),
            },
            unified: super::judge::unified(),
            init,
            seccomp,
            joined,
            devices: if record.host.privileged {
                host_devices()
            } else {
                Vec::new()
            },
        })
    }

    /// Who a process of a container is.
    pub(crate) fn user(
        &self,
        record: &record::Container,
        mounts: &[gantry_supervisor_core::snapshot::Mount],
        name: &str,
    ) -> Result<User> {
        let layers = user::layers(mounts);
        let (passwd, group) = (
            user::read(&layers, "/etc/passwd"),
            user::read(&layers, "/etc/group"),
        );
        user::look_up(name, &record.host.group_add, &passwd, &group)
    }
}

/// Docker's code for a start that failed, and its error; `otherwise` where the error says nothing of the program.
pub(super) fn judged(error: Error, otherwise: i64) -> (i64, Error) {
    let mut message = error.chain();
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    let (mut code, mut kind) = (otherwise, error.kind());
    if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        (code, kind) = (127, Kind::InvalidArgument);
    }
    if says(&["permission denied", "is a directory"]) {
        (code, kind) = (126, Kind::InvalidArgument);
    }
    if says(&["not a directory"]) {
        (code, kind) = (126, Kind::InvalidArgument);
        message.push_str(
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists \
             and is the expected type",
        );
    }
    (code, Error::new(kind, message))
}

fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The program for `--init`: one that needs no library of the container.
fn init_program() -> Result<String> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("docker-init")));
    let known = [
        "/usr/bin/tini-static",
        "/usr/libexec/docker/docker-init",
        "/usr/bin/docker-init",
        "/usr/local/bin/docker-init",
    ];
    let found = beside
        .into_iter()
        .chain(known.map(Into::into))
        .find(|path| path.is_file());
    found.map(|path| path.display().to_string()).ok_or_else(|| {
        Error::invalid("--init needs docker-init beside gantryd or tini-static in /usr/bin: install tini, or leave --init out")
    })
}

fn host_devices() -> Vec<gantry_oci::runtime::LinuxDevice> {
    let skipped = [
        "pts", "shm", "fd", "mqueue", "console", "stdin", "stdout", "stderr", "ptmx", "tty", "null", "zero",
        "full", "random", "urandom",
    ];
    let mut devices = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if folder.as_os_str() == "/dev" && skipped.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let Ok(metadata) = std::fs::symlink_metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                devices.extend(spec::describe_device(
                    &entry.path().display().to_string(),
                    &metadata,
                ));
            }
        }
    }
    devices.sort_by(|a, b| a.path.cmp(&b.path));
    devices
}
