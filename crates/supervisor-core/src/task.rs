//! Running containers: the init process of each and its execs.
//!
//! ```text
//!            create            start              exit              delete
//!   (none) ─────────► Created ───────► Running ──────────► Stopped ───────► (none)
//!                        │              │   ▲                 ▲
//!                        │        pause │   │ resume          │
//!                        │              ▼   │                 │
//!                        │             Paused ──── exit ──────┤
//!                        └───────────── kill ─────────────────┘
//! ```

use async_trait::async_trait;

use crate::snapshot::Mount;
use crate::{Any, Result, Time};

/// Where a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not known: its shim does not answer.
    #[default]
    Unknown,
    /// Set up, not started.
    Created,
    /// Running.
    Running,
    /// Exited; its record is kept until it is deleted.
    Stopped,
    /// Frozen.
    Paused,
    /// Being frozen.
    Pausing,
}

/// Where the three streams of a process go: paths of FIFOs or URIs (see `docs/protocols.md`). Empty: `/dev/null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard input.
    pub stdin: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error; unused with a terminal.
    pub stderr: String,
    /// Whether the process has a terminal.
    pub terminal: bool,
}

/// What [`Tasks::create`] takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTask {
    /// The container.
    pub container_id: String,
    /// Mounts of the root file system, made by the shim on `BUNDLE/rootfs`.
    pub rootfs: Vec<Mount>,
    /// Streams.
    pub stdio: Stdio,
    /// Options of the shim for this task, in place of the container's.
    pub options: Option<Any>,
}

/// What [`Tasks::exec`] takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecTask {
    /// The container.
    pub container_id: String,
    /// Unique in the container.
    pub exec_id: String,
    /// Streams.
    pub stdio: Stdio,
    /// The `process` part of an OCI runtime specification, JSON
    /// (`types.containerd.io/opencontainers/runtime-spec/1/Process`).
    pub spec: Any,
}

/// One process: the init (`exec_id` empty) or an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The container.
    pub container_id: String,
    /// The exec; empty for the init.
    pub exec_id: String,
    /// In the host's pid namespace; 0 before the start of an exec.
    pub pid: u32,
    /// Where it stands.
    pub status: Status,
    /// Streams.
    pub stdio: Stdio,
    /// Exit code, or 128 + signal; once stopped.
    pub exit_status: u32,
    /// When it exited; once stopped.
    pub exited_at: Option<Time>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its process id.
    pub pid: u32,
    /// Exit code, or 128 + signal.
    pub exit_status: u32,
    /// When.
    pub exited_at: Time,
}

/// A process id of a container, in the host's pid namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pid {
    /// The number.
    pub pid: u32,
    /// What its shim says of it: of an exec `containerd.runc.v1.ProcessDetails`, protobuf. Others have none.
    pub details: Option<Any>,
}

/// Which streams an attachment wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachStreams {
    /// May write.
    pub stdin: bool,
    /// Reads standard output.
    pub stdout: bool,
    /// Reads standard error.
    pub stderr: bool,
}

/// A connection to the streams of a process, held by the shim: it does not pass through the supervisor and outlives it.
///
/// Reading gives raw bytes with a terminal, otherwise Docker's frames (8 bytes: stream 1 or 2, three zeros, length big
/// endian; then the data). The end of the stream is the end of the process. Writing gives raw bytes of standard input;
/// shutting down the write half closes standard input; dropping the connection detaches and closes nothing.
#[derive(Debug)]
pub struct Attachment {
    /// Whether the process has a terminal.
    pub terminal: bool,
    /// The connection.
    pub stream: tokio::net::UnixStream,
}

/// The tasks of one namespace. `exec_id` empty means the init.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Makes the container in the kernel, its process not yet started. Returns the pid.
    /// `NotFound` (container), `AlreadyExists` (task); a failure of the runtime is `Internal` with the runtime's message.
    async fn create(&self, request: CreateTask) -> Result<u32>;
    /// Starts the init or an exec. Returns the pid.
    async fn start(&self, id: &str, exec_id: &str) -> Result<u32>;
    /// Deletes a stopped task and its shim. `FailedPrecondition` while it runs.
    async fn delete(&self, id: &str) -> Result<Exit>;
    /// Deletes a stopped exec.
    async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Exit>;
    /// Where it stands. `NotFound`.
    async fn get(&self, id: &str, exec_id: &str) -> Result<Process>;
    /// The inits of all tasks.
    async fn list(&self) -> Result<Vec<Process>>;
    /// The containers that have a task. Asks no shim where that can be had.
    async fn ids(&self) -> Result<Vec<String>> {
        let all = self.list().await?;
        Ok(all.into_iter().map(|process| process.container_id).collect())
    }
    /// Sends a signal; to every process of the container with `all`. `NotFound` when it has exited.
    async fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> Result<()>;
    /// Adds a process, not yet started. `AlreadyExists`, `FailedPrecondition`.
    async fn exec(&self, request: ExecTask) -> Result<()>;
    /// Sets the size of its terminal.
    async fn resize_pty(&self, id: &str, exec_id: &str, width: u32, height: u32) -> Result<()>;
    /// Closes standard input.
    async fn close_io(&self, id: &str, exec_id: &str) -> Result<()>;
    /// Freezes the container.
    async fn pause(&self, id: &str) -> Result<()>;
    /// Thaws it.
    async fn resume(&self, id: &str) -> Result<()>;
    /// All its process ids.
    async fn pids(&self, id: &str) -> Result<Vec<Pid>>;
    /// Changes limits: JSON `LinuxResources`.
    async fn update(&self, id: &str, resources: Any) -> Result<()>;
    /// Resource use: protobuf `io.containerd.cgroups.v1.Metrics` or `…v2.Metrics`.
    async fn metrics(&self, id: &str) -> Result<Any>;
    /// Waits for the exit; answers at once when it is past.
    async fn wait(&self, id: &str, exec_id: &str) -> Result<Exit>;
    /// Connects to its streams. `NotImplemented` when its shim is not ours.
    async fn attach(&self, id: &str, exec_id: &str, streams: AttachStreams) -> Result<Attachment>;
    /// The path of the socket that [`Tasks::attach`] connects to, for a caller in another process. `NotImplemented` when
    /// its shim is not ours.
    async fn attach_endpoint(&self, id: &str, exec_id: &str) -> Result<String> {
        let _ = exec_id;
        Err(crate::Error::not_implemented(format!(
            "task {id}: attach is not implemented"
        )))
    }
}
