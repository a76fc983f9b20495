//! `process`: what runs in the container and as whom. Also the whole of the file that
//! `exec --process` reads.

use serde::{Deserialize, Serialize};

use super::{is_default, null_is_default};

/// The program and its attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub terminal: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub user: User,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub args: Vec<String>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub cwd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<LinuxCapabilities>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub rlimits: Vec<PosixRlimit>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub no_new_privileges: bool,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub apparmor_profile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub selinux_label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    #[serde(rename = "ioPriority", default, skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<LinuxIoPriority>,
    #[serde(rename = "execCPUAffinity", default, skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Size of the terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    pub height: u32,
    pub width: u32,
}

/// The ids that the process runs with, in the container's user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub additional_gids: Vec<u32>,
    /// Windows only.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub username: String,
}

optional! {
    /// The five sets, each a list of names like `CAP_KILL`.
    pub struct LinuxCapabilities {
        pub bounding: Vec<String>,
        pub effective: Vec<String>,
        pub inheritable: Vec<String>,
        pub permitted: Vec<String>,
        pub ambient: Vec<String>,
    }

    /// `execCPUAffinity`: lists of processors like `0-3,7`.
    pub struct CpuAffinity {
        pub initial: String,
        #[serde(rename = "final")]
        pub last: String,
    }
}

/// One resource limit, `type` being a name like `RLIMIT_NOFILE`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PosixRlimit {
    #[serde(rename = "type")]
    pub typ: String,
    pub hard: u64,
    pub soft: u64,
}

/// `sched_setattr(2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    pub policy: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub nice: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub flags: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub deadline: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub period: u64,
}

/// `ioprio_set(2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxIoPriority {
    pub class: String,
    #[serde(default)]
    pub priority: i32,
}
