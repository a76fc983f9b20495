//! The messages of containerd's task service, of the events that shims publish, of the start of a shim, of runc's options
//! and of metrics: generated from `proto/`, all in one place. The package of each is in its file's first lines.

pub use prost_types::{Any, Timestamp};

pub use crate::proto::containerd::events::{
    TaskCheckpointed, TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIo, TaskOom,
    TaskPaused, TaskResumed, TaskStart,
};
pub use crate::proto::containerd::runc::v1::{Options as RuncOptions, ProcessDetails};
pub use crate::proto::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult, Extension};
pub use crate::proto::containerd::services::events::ttrpc::v1::ForwardRequest;
pub use crate::proto::containerd::task::v3::{
    CheckpointTaskRequest, CloseIoRequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, ExecProcessRequest, KillRequest, PauseRequest,
    PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StartResponse,
    StateRequest, StateResponse, StatsRequest, StatsResponse, UpdateTaskRequest, WaitRequest, WaitResponse,
};
pub use crate::proto::containerd::types::{Envelope, Mount, RuntimeInfo, RuntimeRequest, RuntimeVersion};
pub use crate::proto::containerd::v1::types::{ProcessInfo, Status};

/// `io.containerd.cgroups.v1`
pub mod metrics_v1 {
    pub use crate::proto::io::containerd::cgroups::v1::*;
}

/// `io.containerd.cgroups.v2`
pub mod metrics_v2 {
    pub use crate::proto::io::containerd::cgroups::v2::*;
}
