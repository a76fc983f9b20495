//! The task: the container's first process and those added to it, and what of the task service needs no runtime. Starts
//! nothing and waits for nothing; `server::jobs` does.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use gantry_cgroups::{Manager, Named};
use gantry_errdefs::Error;
use gantry_shim_api::messages as m;
use gantry_sys::{pty, socket};
use prost::Message;

use crate::process::{Call, Life};
use crate::runtime::{self, Runtime};
use crate::stdio::{self, Streams, Wanted};
use crate::{bundle, metrics};

/// Where runtimes keep their records when the options name no place, as containerd's.
pub(crate) const RUNTIME_ROOT: &str = "/run/containerd/runc";

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Empty: the first.
    pub(crate) exec_id: String,
    pub(crate) pid: i32,
    pub(crate) life: Life,
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

impl Process {
    pub(crate) fn new(exec_id: &str, wanted: Wanted) -> Self {
        Self {
            exec_id: exec_id.to_owned(),
            pid: 0,
            life: Life::new(exec_id.is_empty()),
            wanted,
            streams: Streams::default(),
            spec: Vec::new(),
            exit: None,
            deadline: None,
            waiters: Vec::new(),
        }
    }

    /// How it ended, once it has.
    pub(crate) fn exit_status(&self) -> u32 {
        self.exit.map_or(0, |(status, _)| status)
    }

    /// When it ended, once it has.
    pub(crate) fn exited_at(&self) -> Option<m::Timestamp> {
        self.exit.map(|(_, at)| at.into())
    }

    /// The answer to those who wait for it.
    pub(crate) fn exit(&self) -> m::WaitResponse {
        m::WaitResponse {
            exit_status: self.exit_status(),
            exited_at: self.exited_at(),
        }
    }

    /// The answer to a call that was done.
    pub(crate) fn answer(&self, call: Call) -> Vec<u8> {
        let pid = self.pid.unsigned_abs();
        match call {
            Call::Start => m::StartResponse { pid }.encode_to_vec(),
            Call::Delete => m::DeleteResponse {
                pid,
                exit_status: self.exit_status(),
                exited_at: self.exited_at(),
            }
            .encode_to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The container.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) runtime: Runtime,
    options: m::RuncOptions,
    pub(crate) processes: BTreeMap<usize, Process>,
    next: usize,
    pub(crate) cgroup: Option<Manager>,
    /// Its processes end with the first, as the kernel has it in a pid namespace of its own.
    pub(crate) own_pids: bool,
}

/// The socket at which a runtime hands a terminal over.
#[derive(Debug)]
struct Console {
    path: PathBuf,
    listener: UnixListener,
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the streams of a process that is being made will come from.
#[derive(Debug)]
enum Ready {
    Pipes(Streams),
    Terminal(Console),
}

/// A process that is being made: what the shim keeps while the runtime works.
#[derive(Debug)]
pub(crate) struct Making {
    ready: Ready,
    pid_file: PathBuf,
    /// Of no use to anybody afterwards.
    temporary: Vec<PathBuf>,
}

impl Making {
    /// The process's number and streams, after its runtime has ended well.
    pub(crate) fn finish(self, wanted: &Wanted) -> Result<(i32, Streams), Error> {
        let pid = runtime::read_pid(&self.pid_file)?;
        for path in &self.temporary {
            let _ = std::fs::remove_file(path);
        }
        let streams = match self.ready {
            Ready::Pipes(streams) => streams,
            Ready::Terminal(console) => stdio::terminal(wanted, console.master()?)?,
        };
        Ok((pid, streams))
    }

    /// Removes what it left.
    pub(crate) fn abandon(self) {
        for path in &self.temporary {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Console {
    fn new(path: PathBuf) -> Result<Self, Error> {
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
            .map_err(|error| Error::from(error).context("failed to retrieve console master"))?;
        let received = socket::receive(stream.as_fd(), 4096)
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
        received
            .1
            .ok_or_else(|| Error::internal("failed to retrieve console master: none was sent"))
    }
}

/// The options of a container whose runtime has runc's command line; the defaults when they are another's.
pub(crate) fn options(any: Option<&m::Any>) -> m::RuncOptions {
    any.filter(|any| any.type_url.rsplit('/').next() == Some(gantry_shim_api::RUNC_OPTIONS))
        .and_then(|any| m::RuncOptions::decode(any.value.as_slice()).ok())
        .unwrap_or_default()
}

/// The runtime that options ask for.
pub(crate) fn binary(options: &m::RuncOptions) -> PathBuf {
    match options.binary_name.as_str() {
        "" => runtime::default_binary(),
        name => name.into(),
    }
}

impl Task {
    /// A task without its process. What `delete` must know without us is kept in the bundle.
    pub(crate) fn new(namespace: &str, request: &m::CreateTaskRequest) -> Result<Self, Error> {
        let options = options(request.options.as_ref());
        let root = match options.root.as_str() {
            "" => RUNTIME_ROOT,
            root => root,
        };
        let bundle = PathBuf::from(&request.bundle);
        let runtime = Runtime {
            binary: binary(&options),
            root: Path::new(root).join(namespace),
            bundle: bundle.clone(),
            id: request.id.clone(),
            systemd_cgroup: options.systemd_cgroup,
        };
        let kept = bundle::Kept {
            runtime: runtime.binary.clone(),
            runtime_root: runtime.root.clone(),
        };
        bundle::keep(&bundle, &kept)
            .map_err(|error| Error::from(error).context("failed to write the bundle"))?;
        Ok(Self {
            id: request.id.clone(),
            bundle,
            runtime,
            options,
            processes: BTreeMap::new(),
            next: 1,
            cgroup: None,
            own_pids: true,
        })
    }

    /// Makes the link to the attach socket that the options ask for: their giver does not know where the bundle is. It is
    /// theirs from then on.
    pub(crate) fn link_attach(&self, socket: &Path) -> Result<(), Error> {
        if self.options.attach_link.is_empty() {
            return Ok(());
        }
        let link = Path::new(&self.options.attach_link);
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(socket, link).map_err(|error| {
            Error::from(error).context(format!("failed to make the link {}", link.display()))
        })
    }

    /// The command that makes the container, and what is to be kept while it runs.
    pub(crate) fn make_first(&self, wanted: &Wanted, console: PathBuf) -> Result<(Command, Making), Error> {
        let pid_file = self.bundle.join("init.pid");
        let mut command = self.runtime.command("create");
        command
            .arg("--bundle")
            .arg(&self.bundle)
            .arg("--pid-file")
            .arg(&pid_file);
        if self.options.no_pivot_root {
            command.arg("--no-pivot");
        }
        if self.options.no_new_keyring {
            command.arg("--no-new-keyring");
        }
        let ready = self.connect(&mut command, wanted, console)?;
        command.arg(&self.id);
        let making = Making {
            ready,
            pid_file,
            temporary: Vec::new(),
        };
        Ok((command, making))
    }

    /// The command that makes another process.
    pub(crate) fn make_exec(&self, at: usize, console: PathBuf) -> Result<(Command, Making), Error> {
        let process = self
            .processes
            .get(&at)
            .ok_or_else(|| Error::not_found("process not found"))?;
        let file = |ending| self.bundle.join(runtime::file_name(&process.exec_id, ending));
        let (spec, pid_file) = (file(".process.json"), file(".pid"));
        let _ = std::fs::remove_file(&pid_file);
        std::fs::write(&spec, &process.spec)
            .map_err(|error| Error::from(error).context(format!("failed to write {}", spec.display())))?;
        let mut command = self.runtime.command("exec");
        command.arg("--process").arg(&spec);
        let ready = self.connect(&mut command, &process.wanted, console)?;
        command
            .arg("--detach")
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.id);
        let making = Making {
            ready,
            temporary: vec![spec, pid_file.clone()],
            pid_file,
        };
        Ok((command, making))
    }

    fn connect(&self, command: &mut Command, wanted: &Wanted, console: PathBuf) -> Result<Ready, Error> {
        if wanted.terminal {
            let console = Console::new(console)?;
            command.arg("--console-socket").arg(&console.path);
            return Ok(Ready::Terminal(console));
        }
        let owner = (self.options.io_uid, self.options.io_gid);
        let (streams, ends) = stdio::pipes(wanted, owner)?;
        command.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
        Ok(Ready::Pipes(streams))
    }

    /// The command that changes limits, which it reads from its input: JSON of the specification's resources.
    pub(crate) fn update(&self, request: &m::UpdateTaskRequest) -> Result<Command, Error> {
        let resources = request
            .resources
            .as_ref()
            .ok_or_else(|| Error::invalid("resources are missing"))?;
        let path = self.bundle.join(".resources.json");
        let failed = |error: std::io::Error| Error::from(error).context("failed to write resources");
        std::fs::write(&path, &resources.value).map_err(failed)?;
        let input = std::fs::File::open(&path).map_err(failed)?;
        let _ = std::fs::remove_file(&path);
        let mut command = self.runtime.command("update");
        command.arg("--resources=-").arg(&self.id).stdin(input);
        Ok(command)
    }

    /// Learns from the configuration what must be known of the container.
    pub(crate) fn learn(&mut self) {
        let Some(linux) = bundle::linux(&self.bundle) else {
            return;
        };
        let named = Named {
            path: Some(&linux.cgroups_path),
            id: &self.id,
            systemd: self.runtime.systemd_cgroup,
            ..Named::default()
        };
        self.cgroup = Manager::named(&named).ok();
        self.own_pids = linux
            .namespaces
            .unwrap_or_default()
            .iter()
            .any(|namespace| namespace.kind == "pid" && namespace.path.is_empty());
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

    /// A process.
    pub(crate) fn get(&mut self, exec_id: &str) -> Result<(usize, &mut Process), Error> {
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
        let id = &request.exec_id;
        if id.is_empty() || id.contains('/') || id.starts_with('.') {
            return Err(Error::invalid(format!("invalid exec id {id:?}")));
        }
        if self.find(id).is_ok() {
            return Err(Error::already_exists(format!("id {id}: already exists")));
        }
        if self.init().is_none_or(|init| init.life.ended()) {
            return Err(Error::failed_precondition(
                "cannot exec in a stopped state: failed precondition",
            ));
        }
        let mut process = Process::new(
            id,
            Wanted {
                stdin: request.stdin.clone(),
                stdout: request.stdout.clone(),
                stderr: request.stderr.clone(),
                terminal: request.terminal,
            },
        );
        process.spec = request
            .spec
            .as_ref()
            .map(|any| any.value.clone())
            .unwrap_or_default();
        self.processes.insert(self.next, process);
        self.next += 1;
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

    /// Every process of the container; of those that were added, with what they are called.
    pub(crate) fn pids(&self) -> Result<Vec<m::ProcessInfo>, Error> {
        let cgroup = self
            .cgroup
            .as_ref()
            .ok_or_else(|| Error::not_found("the container's cgroup is not known"))?;
        let pids = cgroup
            .pids()
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
        let details = |pid: i32| {
            let process = self
                .processes
                .values()
                .find(|process| process.pid == pid && !process.exec_id.is_empty())?;
            let details = m::ProcessDetails {
                exec_id: process.exec_id.clone(),
            };
            Some(m::Any {
                type_url: "containerd.runc.v1.ProcessDetails".to_owned(),
                value: details.encode_to_vec(),
            })
        };
        Ok(pids
            .into_iter()
            .map(|pid| m::ProcessInfo {
                pid: pid.unsigned_abs(),
                info: details(pid),
            })
            .collect())
    }

    /// What was used.
    pub(crate) fn stats(&self) -> Result<m::Any, Error> {
        let cgroup = self.cgroup.as_ref().filter(|cgroup| cgroup.exists());
        cgroup
            .map(metrics::read)
            .ok_or_else(|| Error::not_found("cgroup does not exist: not found"))
    }
}
