//! The task: the container's first process and those added to it, and the task service's methods on them. Runtime calls are
//! waited for; output that comes meanwhile is in the pipes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use gantry_cgroups::Manager;
use gantry_errdefs::Error;
use gantry_shim_api::messages as m;
use gantry_sys::{pty, socket};
use prost::Message;

use crate::process::{Event, State};
use crate::runtime::{self, Runtime};
use crate::stdio::{self, Streams, Wanted};
use crate::{bundle, metrics, mounts};

/// Where runtimes keep their records when the options name no place, as containerd's.
pub(crate) const RUNTIME_ROOT: &str = "/run/containerd/runc";

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Empty: the first.
    pub(crate) exec_id: String,
    pub(crate) pid: i32,
    pub(crate) state: State,
    pub(crate) wanted: Wanted,
    pub(crate) streams: Streams,
    /// The `process` of an exec, as JSON.
    spec: Vec<u8>,
    pub(crate) exit: Option<(u32, SystemTime)>,
    /// Until when output of an ended process is waited for.
    pub(crate) deadline: Option<Instant>,
    /// Calls of `Wait`: connection and stream.
    pub(crate) waiters: Vec<(u64, u32)>,
}

/// The container.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    runtime: Runtime,
    pub(crate) processes: BTreeMap<usize, Process>,
    next: usize,
    pub(crate) cgroup: Option<Manager>,
}

/// What the server is to do beside answering.
pub(crate) enum Follow {
    /// Nothing.
    None,
    /// The streams of this process are to be watched.
    Watch(usize),
    /// This process is gone, with its watches.
    Forget(usize),
}

impl Process {
    fn new(exec_id: &str, wanted: Wanted, spec: Vec<u8>) -> Self {
        Self {
            exec_id: exec_id.to_owned(),
            pid: 0,
            state: State::Created,
            wanted,
            streams: Streams::default(),
            spec,
            exit: None,
            deadline: None,
            waiters: Vec::new(),
        }
    }

    pub(crate) fn exit_status(&self) -> u32 {
        self.exit.map_or(0, |(status, _)| status)
    }

    pub(crate) fn exited_at(&self) -> Option<m::Timestamp> {
        self.exit
            .filter(|_| self.state == State::Stopped)
            .map(|(_, at)| at.into())
    }
}

/// The socket at which a runtime hands a terminal over.
struct ConsoleSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ConsoleSocket {
    fn new(bundle: &Path, exec_id: &str) -> Result<Self, Error> {
        let path = bundle.join(runtime::file_name(&format!(".pty{exec_id}"), ".sock"));
        let _ = std::fs::remove_file(&path);
        let listener = socket::listen(&path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Error::from(error).context(format!("failed to listen on {}", path.display())))?;
        Ok(Self { path, listener })
    }

    /// The master that was sent. The runtime has ended by now: it is there or will never be.
    fn master(&self) -> Result<OwnedFd, Error> {
        let (stream, _) = self
            .listener
            .accept()
            .map_err(|error| Error::from(error).context("the runtime sent no terminal"))?;
        let received = socket::receive(stream.as_fd(), 4096)
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
        received
            .1
            .ok_or_else(|| Error::internal("the runtime sent no terminal"))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Task {
    /// Makes the container. When it fails nothing stays.
    pub(crate) fn create(namespace: &str, request: &m::CreateTaskRequest) -> Result<Self, Error> {
        let options = match &request.options {
            Some(any) if any.type_url.rsplit('/').next() == Some(gantry_shim_api::RUNC_OPTIONS) => {
                m::RuncOptions::decode(any.value.as_slice()).unwrap_or_default()
            }
            _ => m::RuncOptions::default(),
        };
        let root = if options.root.is_empty() {
            RUNTIME_ROOT
        } else {
            &options.root
        };
        let binary = match options.binary_name.is_empty() {
            true => runtime::default_binary(),
            false => options.binary_name.clone().into(),
        };
        let bundle = PathBuf::from(&request.bundle);
        let runtime = Runtime {
            binary,
            root: Path::new(root).join(namespace),
            bundle: bundle.clone(),
            id: request.id.clone(),
            systemd_cgroup: options.systemd_cgroup,
        };
        bundle::keep(
            &bundle,
            &bundle::Kept {
                runtime: runtime.binary.clone(),
                runtime_root: runtime.root.clone(),
            },
        )
        .map_err(|error| Error::from(error).context("failed to write the bundle"))?;
        let wanted = Wanted {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let mut task = Self {
            id: request.id.clone(),
            bundle,
            runtime,
            processes: BTreeMap::new(),
            next: 1,
            cgroup: None,
        };
        let rootfs = task.bundle.join("rootfs");
        let made = mounts::make(&rootfs, &request.rootfs).and_then(|()| task.create_init(wanted, &options));
        match made {
            Ok(init) => {
                task.cgroup = task.find_cgroup();
                task.processes.insert(0, init);
                Ok(task)
            }
            Err(error) => {
                let _ = task.runtime.delete(true);
                let _ = mounts::remove(&rootfs);
                let message = format!("OCI runtime create failed: {}", error.message());
                Err(Error::new(error.kind(), message))
            }
        }
    }

    fn create_init(&self, wanted: Wanted, options: &m::RuncOptions) -> Result<Process, Error> {
        let pid_file = self.bundle.join("init.pid");
        let mut command = self.runtime.command("create");
        command
            .arg("--bundle")
            .arg(&self.bundle)
            .arg("--pid-file")
            .arg(&pid_file);
        if options.no_pivot_root {
            command.arg("--no-pivot");
        }
        if options.no_new_keyring {
            command.arg("--no-new-keyring");
        }
        let mut init = Process::new("", wanted, Vec::new());
        init.streams = self.call(command, "create", &init)?;
        init.pid = runtime::read_pid(&pid_file)?;
        Ok(init)
    }

    /// Runs a command that makes a process, with the process's streams.
    fn call(&self, mut command: Command, verb: &str, process: &Process) -> Result<Streams, Error> {
        if process.wanted.terminal {
            let console = ConsoleSocket::new(&self.bundle, &process.exec_id)?;
            command.arg("--console-socket").arg(&console.path);
            self.runtime.run(command.arg(&self.id), verb)?;
            return stdio::terminal(&process.wanted, console.master()?);
        }
        let (streams, ends) = stdio::pipes(&process.wanted)?;
        command.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
        self.runtime.run(command.arg(&self.id), verb)?;
        Ok(streams)
    }

    /// The container's cgroup, by its configuration.
    fn find_cgroup(&self) -> Option<Manager> {
        let text = std::fs::read(self.bundle.join("config.json")).ok()?;
        let spec: gantry_oci::runtime::Spec = serde_json::from_slice(&text).ok()?;
        let path = spec.linux.map(|linux| linux.cgroups_path).unwrap_or_default();
        Manager::new(Some(&path), &self.id).ok()
    }

    /// The place of a process.
    pub(crate) fn find(&self, exec_id: &str) -> Result<usize, Error> {
        let found = self
            .processes
            .iter()
            .find(|(_, process)| process.exec_id == exec_id);
        found.map(|(at, _)| *at).ok_or_else(|| match exec_id {
            "" => Error::not_found(format!("container {} not created: not found", self.id)),
            exec => Error::not_found(format!("process {exec} not found: not found")),
        })
    }

    fn get(&mut self, exec_id: &str) -> Result<(usize, &mut Process), Error> {
        let at = self.find(exec_id)?;
        let process = self.processes.get_mut(&at);
        process
            .map(|process| (at, process))
            .ok_or_else(|| Error::not_found("process not found"))
    }

    /// The first process.
    pub(crate) fn init(&self) -> Option<&Process> {
        self.processes.get(&0)
    }

    /// Adds a process, not yet started.
    pub(crate) fn add(&mut self, request: &m::ExecProcessRequest) -> Result<(), Error> {
        if self.find(&request.exec_id).is_ok() {
            return Err(Error::already_exists(format!(
                "id {}: already exists",
                request.exec_id
            )));
        }
        if self.init().is_none_or(|init| init.state.ended()) {
            return Err(Error::failed_precondition(
                "cannot exec in a stopped state: failed precondition",
            ));
        }
        let wanted = Wanted {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let spec = request
            .spec
            .as_ref()
            .map(|any| any.value.clone())
            .unwrap_or_default();
        self.processes
            .insert(self.next, Process::new(&request.exec_id, wanted, spec));
        self.next += 1;
        Ok(())
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, exec_id: &str) -> Result<(i32, Follow), Error> {
        let (at, process) = self.get(exec_id)?;
        let next = process.state.after(Event::Started)?;
        if at == 0 {
            let pid = process.pid;
            self.runtime.simple("start")?;
            if let Some(init) = self.processes.get_mut(&0) {
                init.state = next;
            }
            return Ok((pid, Follow::None));
        }
        let started = self.start_exec(at);
        let Some(process) = self.processes.get_mut(&at) else {
            return Err(Error::not_found("process not found"));
        };
        match started {
            Ok((streams, pid)) => {
                process.streams = streams;
                process.pid = pid;
                process.state = next;
                Ok((pid, Follow::Watch(at)))
            }
            Err(error) => {
                // It never ran: it is stopped, and may be deleted.
                process.state = State::Stopped;
                process.exit = Some((255, SystemTime::now()));
                Err(Error::new(
                    error.kind(),
                    format!("OCI runtime exec failed: {}", error.message()),
                ))
            }
        }
    }

    fn start_exec(&self, at: usize) -> Result<(Streams, i32), Error> {
        let Some(process) = self.processes.get(&at) else {
            return Err(Error::not_found("process not found"));
        };
        let file = |ending| self.bundle.join(runtime::file_name(&process.exec_id, ending));
        let (spec, pid_file) = (file(".process.json"), file(".pid"));
        std::fs::write(&spec, &process.spec)
            .map_err(|error| Error::from(error).context(format!("failed to write {}", spec.display())))?;
        let mut command = self.runtime.command("exec");
        command
            .arg("--process")
            .arg(&spec)
            .arg("--detach")
            .arg("--pid-file")
            .arg(&pid_file);
        let called = self.call(command, "exec", process);
        let pid = called.and_then(|streams| Ok((streams, runtime::read_pid(&pid_file)?)));
        let _ = std::fs::remove_file(&spec);
        let _ = std::fs::remove_file(&pid_file);
        pid
    }

    /// Deletes a stopped process; the first one with the container.
    pub(crate) fn delete(&mut self, exec_id: &str) -> Result<(m::DeleteResponse, Follow), Error> {
        let (at, process) = self.get(exec_id)?;
        let never_started = at != 0 && process.state == State::Created;
        if process.state != State::Stopped && !(at == 0 && process.state == State::Created) && !never_started
        {
            return Err(Error::failed_precondition(format!(
                "cannot delete a {} process",
                process.state.word()
            )));
        }
        let answer = m::DeleteResponse {
            pid: process.pid.unsigned_abs(),
            exit_status: process.exit_status(),
            exited_at: process.exited_at(),
        };
        if at == 0 {
            let deleted = self.runtime.delete(true);
            let unmounted = mounts::remove(&self.bundle.join("rootfs"));
            deleted.and(unmounted)?;
            self.processes.clear();
        } else {
            self.processes.remove(&at);
        }
        Ok((answer, Follow::Forget(at)))
    }

    /// Sends a signal.
    pub(crate) fn kill(&mut self, request: &m::KillRequest) -> Result<(), Error> {
        let all = request.all;
        let (at, process) = self.get(&request.exec_id)?;
        if process.state.ended() && !all {
            return Err(Error::not_found("process already finished: not found"));
        }
        if at == 0 {
            return self.runtime.kill(request.signal, all);
        }
        if process.pid == 0 {
            return Err(Error::failed_precondition("process not created"));
        }
        gantry_sys::process::kill(process.pid, request.signal as i32)
            .map_err(|_| Error::not_found("process already finished: not found"))
    }

    /// Freezes or thaws the container.
    pub(crate) fn set_paused(&mut self, paused: bool) -> Result<(), Error> {
        let (event, verb) = if paused {
            (Event::Paused, "pause")
        } else {
            (Event::Resumed, "resume")
        };
        let (_, init) = self.get("")?;
        let next = init.state.after(event)?;
        self.runtime.simple(verb)?;
        if let Some(init) = self.processes.get_mut(&0) {
            init.state = next;
        }
        Ok(())
    }

    /// Sets the size of a terminal.
    pub(crate) fn resize(&mut self, request: &m::ResizePtyRequest) -> Result<(), Error> {
        let (_, process) = self.get(&request.exec_id)?;
        if !process.wanted.terminal {
            return Err(Error::failed_precondition("the process has no terminal"));
        }
        let Some(input) = &process.streams.input else {
            return Ok(());
        };
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        pty::set_size(input.fd.as_fd(), number(request.height), number(request.width))
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))
    }

    /// Ends a process's input.
    pub(crate) fn close_input(&mut self, exec_id: &str) -> Result<usize, Error> {
        let (at, process) = self.get(exec_id)?;
        if let Some(input) = &mut process.streams.input {
            input.closing = !process.wanted.terminal;
        }
        Ok(at)
    }

    /// Every process of the container.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Error> {
        let cgroup = self
            .cgroup
            .as_ref()
            .ok_or_else(|| Error::not_found("the container's cgroup is not known"))?;
        let pids = cgroup
            .pids()
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
        Ok(pids.into_iter().map(i32::unsigned_abs).collect())
    }

    /// Changes limits: JSON of the specification's resources.
    pub(crate) fn update(&self, request: &m::UpdateTaskRequest) -> Result<(), Error> {
        let resources = request
            .resources
            .as_ref()
            .ok_or_else(|| Error::invalid("resources are missing"))?;
        let path = self.bundle.join(".resources.json");
        std::fs::write(&path, &resources.value)
            .map_err(|error| Error::from(error).context("failed to write resources"))?;
        let mut command = self.runtime.command("update");
        let done = self
            .runtime
            .run(command.arg("--resources").arg(&path).arg(&self.id), "update");
        let _ = std::fs::remove_file(&path);
        done
    }

    /// What was used.
    pub(crate) fn stats(&self) -> Result<m::Any, Error> {
        let cgroup = self.cgroup.as_ref().filter(|cgroup| cgroup.exists());
        cgroup
            .map(metrics::read)
            .ok_or_else(|| Error::not_found("cgroup does not exist: not found"))
    }
}
