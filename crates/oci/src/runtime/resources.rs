//! `linux.resources`: what cgroups limit. Also what `update --resources` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{is_default, null_is_default};

optional! {
    /// The section `linux.resources`.
    pub struct LinuxResources {
        pub devices: Vec<LinuxDeviceCgroup>,
        pub memory: Option<LinuxMemory>,
        #[serde(alias = "CPU")]
        pub cpu: Option<LinuxCpu>,
        pub pids: Option<LinuxPids>,
        #[serde(rename = "blockIO")]
        pub block_io: Option<LinuxBlockIo>,
        pub hugepage_limits: Vec<LinuxHugepageLimit>,
        pub network: Option<LinuxNetwork>,
        pub rdma: BTreeMap<String, LinuxRdma>,
        pub unified: BTreeMap<String, String>,
    }

    /// Memory, in bytes; -1 means without limit.
    pub struct LinuxMemory {
        pub limit: Option<i64>,
        pub reservation: Option<i64>,
        /// Memory and swap together.
        pub swap: Option<i64>,
        pub kernel: Option<i64>,
        #[serde(rename = "kernelTCP")]
        pub kernel_tcp: Option<i64>,
        pub swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller")]
        pub disable_oom_killer: Option<bool>,
        pub use_hierarchy: Option<bool>,
        pub check_before_update: Option<bool>,
    }

    /// Processor time; quota and periods in microseconds.
    pub struct LinuxCpu {
        pub shares: Option<u64>,
        pub quota: Option<i64>,
        pub burst: Option<u64>,
        pub period: Option<u64>,
        pub realtime_runtime: Option<i64>,
        pub realtime_period: Option<u64>,
        #[serde(alias = "Cpus")]
        pub cpus: String,
        #[serde(alias = "Mems")]
        pub mems: String,
        pub idle: Option<i64>,
    }

    /// Number of processes; -1 means without limit, nothing means untouched.
    pub struct LinuxPids {
        pub limit: Option<i64>,
    }

    /// Block devices.
    pub struct LinuxBlockIo {
        pub weight: Option<u16>,
        pub leaf_weight: Option<u16>,
        pub weight_device: Vec<LinuxWeightDevice>,
        pub throttle_read_bps_device: Vec<LinuxThrottleDevice>,
        pub throttle_write_bps_device: Vec<LinuxThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice")]
        pub throttle_read_iops_device: Vec<LinuxThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice")]
        pub throttle_write_iops_device: Vec<LinuxThrottleDevice>,
    }

    /// Class and priorities of packets (cgroup v1).
    pub struct LinuxNetwork {
        #[serde(rename = "classID")]
        pub class_id: Option<u32>,
        pub priorities: Vec<LinuxInterfacePriority>,
    }

    /// Limits of one RDMA device.
    pub struct LinuxRdma {
        pub hca_handles: Option<u32>,
        pub hca_objects: Option<u32>,
    }
}

/// One rule of the device controller; nothing for a number means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxDeviceCgroup {
    pub allow: bool,
    #[serde(
        rename = "type",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub typ: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub access: String,
}

/// Weight of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxWeightDevice {
    pub major: i64,
    pub minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// Bytes or operations per second of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxThrottleDevice {
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

/// Limit of one size of huge pages, the size being written like `2MB`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxHugepageLimit {
    // Readers in Go do not mind the case, and writers for them got used to it.
    #[serde(alias = "pagesize")]
    pub page_size: String,
    pub limit: u64,
}

/// Priority of one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxInterfacePriority {
    pub name: String,
    pub priority: u32,
}
