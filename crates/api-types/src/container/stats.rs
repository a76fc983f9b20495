//! What a container uses.

use serde::{Deserialize, Serialize};

use crate::go::{Map, null_if_empty, nullable, zero};

/// Declares a struct of the statistics, whose keys are in snake case.
macro_rules! stats_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs)]
        pub struct $name {
            $(
                #[serde(deserialize_with = "nullable")]
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }
    )*};
}

stats_struct! {
    /// One sample of a container's statistics, with the CPU times of the one before.
    pub struct Stats {
        #[serde(skip_serializing_if = "zero")]
        pub name: String,
        #[serde(skip_serializing_if = "zero")]
        pub id: String,
        pub read: String,
        pub preread: String,
        pub pids_stats: PidsStats,
        pub blkio_stats: BlkioStats,
        pub num_procs: u32,
        pub storage_stats: StorageStats,
        pub cpu_stats: CpuStats,
        pub precpu_stats: CpuStats,
        pub memory_stats: MemoryStats,
        #[serde(skip_serializing_if = "zero")]
        pub networks: Map<NetworkStats>,
    }

    /// Number of processes and its limit.
    pub struct PidsStats {
        #[serde(skip_serializing_if = "zero")]
        pub current: u64,
        #[serde(skip_serializing_if = "zero")]
        pub limit: u64,
    }

    /// Block I/O.
    pub struct BlkioStats {
        #[serde(serialize_with = "null_if_empty")]
        pub io_service_bytes_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_serviced_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_queue_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_service_time_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_wait_time_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_merged_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub io_time_recursive: Vec<BlkioEntry>,
        #[serde(serialize_with = "null_if_empty")]
        pub sectors_recursive: Vec<BlkioEntry>,
    }

    /// One counter of a block device.
    pub struct BlkioEntry {
        pub major: u64,
        pub minor: u64,
        pub op: String,
        pub value: u64,
    }

    /// Always empty on Linux.
    pub struct StorageStats {
        #[serde(skip_serializing_if = "zero")]
        pub read_count_normalized: u64,
        #[serde(skip_serializing_if = "zero")]
        pub read_size_bytes: u64,
        #[serde(skip_serializing_if = "zero")]
        pub write_count_normalized: u64,
        #[serde(skip_serializing_if = "zero")]
        pub write_size_bytes: u64,
    }

    /// CPU time of the container and of the system.
    pub struct CpuStats {
        pub cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "zero")]
        pub system_cpu_usage: u64,
        #[serde(skip_serializing_if = "zero")]
        pub online_cpus: u32,
        pub throttling_data: ThrottlingData,
    }

    /// CPU time in nanoseconds.
    pub struct CpuUsage {
        pub total_usage: u64,
        #[serde(skip_serializing_if = "zero")]
        pub percpu_usage: Vec<u64>,
        pub usage_in_kernelmode: u64,
        pub usage_in_usermode: u64,
    }

    /// How often the CPU limit was hit.
    pub struct ThrottlingData {
        pub periods: u64,
        pub throttled_periods: u64,
        pub throttled_time: u64,
    }

    /// Memory in bytes; `stats` is what the cgroup's `memory.stat` says.
    pub struct MemoryStats {
        #[serde(skip_serializing_if = "zero")]
        pub usage: u64,
        #[serde(skip_serializing_if = "zero")]
        pub max_usage: u64,
        #[serde(skip_serializing_if = "zero")]
        pub stats: Map<u64>,
        #[serde(skip_serializing_if = "zero")]
        pub failcnt: u64,
        #[serde(skip_serializing_if = "zero")]
        pub limit: u64,
    }

    /// Counters of one network interface.
    pub struct NetworkStats {
        pub rx_bytes: u64,
        pub rx_packets: u64,
        pub rx_errors: u64,
        pub rx_dropped: u64,
        pub tx_bytes: u64,
        pub tx_packets: u64,
        pub tx_errors: u64,
        pub tx_dropped: u64,
    }
}
