//! `linux`: namespaces, devices, paths and what else only Linux has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LinuxResources, LinuxSeccomp, is_default, null_is_default};

optional! {
    /// The section `linux`.
    pub struct Linux {
        pub uid_mappings: Vec<LinuxIdMapping>,
        pub gid_mappings: Vec<LinuxIdMapping>,
        pub sysctl: BTreeMap<String, String>,
        pub resources: Option<LinuxResources>,
        pub cgroups_path: String,
        pub namespaces: Vec<LinuxNamespace>,
        pub devices: Vec<LinuxDevice>,
        pub net_devices: BTreeMap<String, LinuxNetDevice>,
        pub seccomp: Option<LinuxSeccomp>,
        pub rootfs_propagation: String,
        pub masked_paths: Vec<String>,
        pub readonly_paths: Vec<String>,
        pub mount_label: String,
        pub intel_rdt: Option<LinuxIntelRdt>,
        pub personality: Option<LinuxPersonality>,
        pub time_offsets: BTreeMap<String, LinuxTimeOffset>,
        pub memory_policy: Option<LinuxMemoryPolicy>,
    }

    /// A network device to move into the container's namespace.
    pub struct LinuxNetDevice {
        pub name: String,
    }

    /// Intel's resource director.
    pub struct LinuxIntelRdt {
        #[serde(rename = "closID")]
        pub clos_id: String,
        pub schemata: Vec<String>,
        pub l3_cache_schema: String,
        pub mem_bw_schema: String,
        pub enable_monitoring: bool,
        #[serde(rename = "enableCMT")]
        pub enable_cmt: bool,
        #[serde(rename = "enableMBM")]
        pub enable_mbm: bool,
    }

    /// `personality(2)`.
    pub struct LinuxPersonality {
        pub domain: String,
        pub flags: Vec<String>,
    }

    /// Offset of one clock of the time namespace.
    pub struct LinuxTimeOffset {
        pub secs: i64,
        pub nanosecs: u32,
    }

    /// `set_mempolicy(2)`.
    pub struct LinuxMemoryPolicy {
        pub mode: String,
        pub nodes: String,
        pub flags: Vec<String>,
    }
}

/// The kinds of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinuxNamespaceType {
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

/// A namespace to make, or with a path, to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxNamespace {
    #[serde(rename = "type")]
    pub typ: LinuxNamespaceType,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub path: String,
}

/// A range of ids mapped into a user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxIdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// A device node to make in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxDevice {
    pub path: String,
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub typ: String,
    #[serde(default)]
    pub major: i64,
    #[serde(default)]
    pub minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}
