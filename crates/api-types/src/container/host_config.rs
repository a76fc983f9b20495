//! The half of a container's configuration that depends on its host.

use crate::go::{Map, StrSlice, null_if_empty, zero};
use crate::network::PortBinding;

/// Declares a struct that has the fields for resources between its own.
macro_rules! with_resources {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$before_meta:meta])* pub $before:ident: $before_type:ty, )*
            ..resources
            $( $(#[$after_meta:meta])* pub $after:ident: $after_type:ty, )*
        }
    ) => {
        go_struct! {
            $(#[$meta])*
            pub struct $name {
                $( $(#[$before_meta])* pub $before: $before_type, )*
                pub cpu_shares: i64,
                pub memory: i64,
                pub nano_cpus: i64,
                pub cgroup_parent: String,
                pub blkio_weight: u16,
                #[serde(serialize_with = "null_if_empty")]
                pub blkio_weight_device: Vec<WeightDevice>,
                #[serde(serialize_with = "null_if_empty")]
                pub blkio_device_read_bps: Vec<ThrottleDevice>,
                #[serde(serialize_with = "null_if_empty")]
                pub blkio_device_write_bps: Vec<ThrottleDevice>,
                #[serde(rename = "BlkioDeviceReadIOps", serialize_with = "null_if_empty")]
                pub blkio_device_read_iops: Vec<ThrottleDevice>,
                #[serde(rename = "BlkioDeviceWriteIOps", serialize_with = "null_if_empty")]
                pub blkio_device_write_iops: Vec<ThrottleDevice>,
                pub cpu_period: i64,
                pub cpu_quota: i64,
                pub cpu_realtime_period: i64,
                pub cpu_realtime_runtime: i64,
                pub cpuset_cpus: String,
                pub cpuset_mems: String,
                #[serde(serialize_with = "null_if_empty")]
                pub devices: Vec<DeviceMapping>,
                #[serde(serialize_with = "null_if_empty")]
                pub device_cgroup_rules: Vec<String>,
                #[serde(serialize_with = "null_if_empty")]
                pub device_requests: Vec<DeviceRequest>,
                #[serde(skip_serializing_if = "zero")]
                pub kernel_memory: i64,
                #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "zero")]
                pub kernel_memory_tcp: i64,
                pub memory_reservation: i64,
                pub memory_swap: i64,
                pub memory_swappiness: Option<i64>,
                pub oom_kill_disable: Option<bool>,
                pub pids_limit: Option<i64>,
                #[serde(serialize_with = "null_if_empty")]
                pub ulimits: Vec<Ulimit>,
                pub cpu_count: i64,
                pub cpu_percent: i64,
                #[serde(rename = "IOMaximumIOps")]
                pub io_maximum_iops: u64,
                #[serde(rename = "IOMaximumBandwidth")]
                pub io_maximum_bandwidth: u64,
                $( $(#[$after_meta])* pub $after: $after_type, )*
            }
        }
    };
}

with_resources! {
    /// How a container is run on this host.
    pub struct HostConfig {
        #[serde(serialize_with = "null_if_empty")]
        pub binds: Vec<String>,
        #[serde(rename = "ContainerIDFile")]
        pub container_id_file: String,
        pub log_config: LogConfig,
        pub network_mode: String,
        pub port_bindings: Map<Option<Vec<PortBinding>>>,
        pub restart_policy: RestartPolicy,
        pub auto_remove: bool,
        pub volume_driver: String,
        #[serde(serialize_with = "null_if_empty")]
        pub volumes_from: Vec<String>,
        pub console_size: [u32; 2],
        #[serde(skip_serializing_if = "zero")]
        pub annotations: Map<String>,
        pub cap_add: Option<StrSlice>,
        pub cap_drop: Option<StrSlice>,
        pub cgroupns_mode: String,
        pub dns: Vec<String>,
        pub dns_options: Vec<String>,
        pub dns_search: Vec<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub extra_hosts: Vec<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub group_add: Vec<String>,
        pub ipc_mode: String,
        pub cgroup: String,
        #[serde(serialize_with = "null_if_empty")]
        pub links: Vec<String>,
        pub oom_score_adj: i64,
        pub pid_mode: String,
        pub privileged: bool,
        pub publish_all_ports: bool,
        pub readonly_rootfs: bool,
        #[serde(serialize_with = "null_if_empty")]
        pub security_opt: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub storage_opt: Map<String>,
        #[serde(skip_serializing_if = "zero")]
        pub tmpfs: Map<String>,
        #[serde(rename = "UTSMode")]
        pub uts_mode: String,
        pub userns_mode: String,
        pub shm_size: i64,
        #[serde(skip_serializing_if = "zero")]
        pub sysctls: Map<String>,
        #[serde(skip_serializing_if = "zero")]
        pub runtime: String,
        pub isolation: String,
        ..resources
        #[serde(skip_serializing_if = "zero")]
        pub mounts: Vec<Mount>,
        pub masked_paths: Option<Vec<String>>,
        pub readonly_paths: Option<Vec<String>>,
        #[serde(skip_serializing_if = "zero")]
        pub init: Option<bool>,
    }
}

with_resources! {
    /// The body of `POST /containers/{id}/update`.
    pub struct UpdateConfig {
        ..resources
        pub restart_policy: RestartPolicy,
    }
}

go_struct! {
    /// Where the output goes.
    pub struct LogConfig {
        pub r#type: String,
        pub config: Map<String>,
    }

    /// When to start a container again: `no`, `always`, `unless-stopped`, `on-failure`.
    pub struct RestartPolicy {
        pub name: String,
        pub maximum_retry_count: i64,
    }

    /// A device's share of the block I/O.
    pub struct WeightDevice {
        pub path: String,
        pub weight: u16,
    }

    /// A device's limit, in bytes or operations per second.
    pub struct ThrottleDevice {
        pub path: String,
        pub rate: u64,
    }

    /// A device of the host for the container.
    pub struct DeviceMapping {
        pub path_on_host: String,
        pub path_in_container: String,
        pub cgroup_permissions: String,
    }

    /// Devices asked for by what they can do.
    pub struct DeviceRequest {
        pub driver: String,
        pub count: i64,
        #[serde(rename = "DeviceIDs", serialize_with = "null_if_empty")]
        pub device_ids: Vec<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub capabilities: Vec<Vec<String>>,
        #[serde(serialize_with = "null_if_empty")]
        pub options: Map<String>,
    }

    /// A resource limit of a process.
    pub struct Ulimit {
        pub name: String,
        pub hard: i64,
        pub soft: i64,
    }

    /// A mount asked for with `--mount`.
    pub struct Mount {
        #[serde(skip_serializing_if = "zero")]
        pub r#type: String,
        #[serde(skip_serializing_if = "zero")]
        pub source: String,
        #[serde(skip_serializing_if = "zero")]
        pub target: String,
        #[serde(skip_serializing_if = "zero")]
        pub read_only: bool,
        #[serde(skip_serializing_if = "zero")]
        pub consistency: String,
        #[serde(skip_serializing_if = "zero")]
        pub bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "zero")]
        pub volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "zero")]
        pub image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "zero")]
        pub tmpfs_options: Option<TmpfsOptions>,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        #[serde(skip_serializing_if = "zero")]
        pub propagation: String,
        #[serde(skip_serializing_if = "zero")]
        pub non_recursive: bool,
        #[serde(skip_serializing_if = "zero")]
        pub create_mountpoint: bool,
        #[serde(skip_serializing_if = "zero")]
        pub read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "zero")]
        pub read_only_force_recursive: bool,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions {
        #[serde(skip_serializing_if = "zero")]
        pub no_copy: bool,
        #[serde(skip_serializing_if = "zero")]
        pub labels: Map<String>,
        #[serde(skip_serializing_if = "zero")]
        pub subpath: String,
        #[serde(skip_serializing_if = "zero")]
        pub driver_config: Option<MountDriver>,
    }

    /// The driver of a volume mount.
    pub struct MountDriver {
        #[serde(skip_serializing_if = "zero")]
        pub name: String,
        #[serde(skip_serializing_if = "zero")]
        pub options: Map<String>,
    }

    /// Options of an image mount.
    pub struct ImageOptions {
        #[serde(skip_serializing_if = "zero")]
        pub subpath: String,
    }

    /// Options of a tmpfs mount.
    pub struct TmpfsOptions {
        #[serde(skip_serializing_if = "zero")]
        pub size_bytes: i64,
        #[serde(skip_serializing_if = "zero")]
        pub mode: u32,
        #[serde(skip_serializing_if = "zero")]
        pub options: Vec<Vec<String>>,
    }
}
