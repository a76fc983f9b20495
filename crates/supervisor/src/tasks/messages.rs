//! The messages of containerd's shim task service (`containerd.task.v2` and `v3`, which do not differ here) and runc's
//! options. Field numbers are the protocol's.

use gantry_supervisor_core::event::wire::Timestamp;
use gantry_supervisor_core::snapshot::Mount as CoreMount;
use prost::Message;

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl From<gantry_supervisor_core::Any> for Any {
    fn from(any: gantry_supervisor_core::Any) -> Self {
        Self { type_url: any.type_url, value: any.value }
    }
}

impl From<Any> for gantry_supervisor_core::Any {
    fn from(any: Any) -> Self {
        Self { type_url: any.type_url, value: any.value }
    }
}

/// `containerd.types.Mount`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) source: String,
    #[prost(string, tag = "3")]
    pub(crate) target: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) options: Vec<String>,
}

impl From<CoreMount> for Mount {
    fn from(m: CoreMount) -> Self {
        Self { kind: m.kind, source: m.source, target: m.target, options: m.options }
    }
}

/// No fields.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

/// `Create`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) bundle: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rootfs: Vec<Mount>,
    #[prost(bool, tag = "4")]
    pub(crate) terminal: bool,
    #[prost(string, tag = "5")]
    pub(crate) stdin: String,
    #[prost(string, tag = "6")]
    pub(crate) stdout: String,
    #[prost(string, tag = "7")]
    pub(crate) stderr: String,
    #[prost(message, optional, tag = "10")]
    pub(crate) options: Option<Any>,
}

/// The answer of `Create` and `Start`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PidResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
}

/// `Start`, `State`, `Delete`, `Wait`; and those that name only the task: `Pids`, `Pause`, `Resume`, `Stats`, `Connect`,
/// `Shutdown`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ProcessRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// The answer of `Delete`, and of the shim binary's `delete`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeleteResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// The answer of `State`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct StateResponse {
    #[prost(uint32, tag = "3")]
    pub(crate) pid: u32,
    #[prost(int32, tag = "4")]
    pub(crate) status: i32,
    #[prost(string, tag = "5")]
    pub(crate) stdin: String,
    #[prost(string, tag = "6")]
    pub(crate) stdout: String,
    #[prost(string, tag = "7")]
    pub(crate) stderr: String,
    #[prost(bool, tag = "8")]
    pub(crate) terminal: bool,
    #[prost(uint32, tag = "9")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "10")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// `Kill`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct KillRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) signal: u32,
    #[prost(bool, tag = "4")]
    pub(crate) all: bool,
}

/// `Exec`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExecRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(bool, tag = "3")]
    pub(crate) terminal: bool,
    #[prost(string, tag = "4")]
    pub(crate) stdin: String,
    #[prost(string, tag = "5")]
    pub(crate) stdout: String,
    #[prost(string, tag = "6")]
    pub(crate) stderr: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) spec: Option<Any>,
}

/// `ResizePty`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ResizeRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) width: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) height: u32,
}

/// `CloseIO`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CloseIoRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(bool, tag = "3")]
    pub(crate) stdin: bool,
}

/// The answer of `Pids`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PidsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) processes: Vec<PidResponse>,
}

/// `Update`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct UpdateRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) resources: Option<Any>,
}

/// The answer of `Wait`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WaitResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// The answer of `Stats`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct StatsResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) stats: Option<Any>,
}

/// `Shutdown`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ShutdownRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) now: bool,
}

/// `containerd.runc.v1.Options`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RuncOptions {
    #[prost(bool, tag = "1")]
    pub(crate) no_pivot_root: bool,
    #[prost(bool, tag = "2")]
    pub(crate) no_new_keyring: bool,
    #[prost(string, tag = "3")]
    pub(crate) shim_cgroup: String,
    #[prost(uint32, tag = "4")]
    pub(crate) io_uid: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) io_gid: u32,
    #[prost(string, tag = "6")]
    pub(crate) binary_name: String,
    #[prost(string, tag = "7")]
    pub(crate) root: String,
    #[prost(bool, tag = "9")]
    pub(crate) systemd_cgroup: bool,
    #[prost(string, tag = "10")]
    pub(crate) criu_image_path: String,
    #[prost(string, tag = "11")]
    pub(crate) criu_work_path: String,
}

/// `containerd.services.events.ttrpc.v1.Events/Forward`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ForwardRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) envelope: Option<Envelope>,
}

/// `containerd.types.Envelope`
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) topic: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) event: Option<Any>,
}
