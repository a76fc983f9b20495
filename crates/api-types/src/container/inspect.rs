//! Everything about one container.

use crate::container::{Config, HostConfig};
use crate::go::{Map, null_if_empty, zero};
use crate::image::Descriptor;
use crate::network::{EndpointSettings, PortBinding};

go_struct! {
    /// The answer to `GET /containers/{id}/json`.
    pub struct Inspect {
        pub id: String,
        pub created: String,
        pub path: String,
        pub args: Vec<String>,
        pub state: State,
        pub image: String,
        pub resolv_conf_path: String,
        pub hostname_path: String,
        pub hosts_path: String,
        pub log_path: String,
        pub name: String,
        pub restart_count: i64,
        pub driver: String,
        pub platform: String,
        pub mount_label: String,
        pub process_label: String,
        pub app_armor_profile: String,
        #[serde(rename = "ExecIDs", serialize_with = "null_if_empty")]
        pub exec_ids: Vec<String>,
        pub host_config: HostConfig,
        pub graph_driver: DriverData,
        #[serde(skip_serializing_if = "zero")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "zero")]
        pub size_root_fs: Option<i64>,
        #[serde(skip_serializing_if = "zero")]
        pub image_manifest_descriptor: Option<Descriptor>,
        pub mounts: Vec<MountPoint>,
        pub config: Config,
        pub network_settings: NetworkSettings,
    }

    /// How a container is doing; times are RFC 3339 with nanoseconds.
    pub struct State {
        pub status: String,
        pub running: bool,
        pub paused: bool,
        pub restarting: bool,
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        pub dead: bool,
        pub pid: i64,
        pub exit_code: i64,
        pub error: String,
        pub started_at: String,
        pub finished_at: String,
        #[serde(skip_serializing_if = "zero")]
        pub health: Option<Health>,
    }

    /// How healthy a container is: `none`, `starting`, `healthy`, `unhealthy`.
    pub struct Health {
        pub status: String,
        pub failing_streak: i64,
        #[serde(serialize_with = "null_if_empty")]
        pub log: Vec<HealthcheckResult>,
    }

    /// One run of the health check.
    pub struct HealthcheckResult {
        pub start: String,
        pub end: String,
        pub exit_code: i64,
        pub output: String,
    }

    /// What the storage driver says about a container or image.
    pub struct DriverData {
        #[serde(serialize_with = "null_if_empty")]
        pub data: Map<String>,
        pub name: String,
    }

    /// A mount of a container.
    pub struct MountPoint {
        #[serde(skip_serializing_if = "zero")]
        pub r#type: String,
        #[serde(skip_serializing_if = "zero")]
        pub name: String,
        pub source: String,
        pub destination: String,
        #[serde(skip_serializing_if = "zero")]
        pub driver: String,
        pub mode: String,
        #[serde(rename = "RW")]
        pub rw: bool,
        pub propagation: String,
    }

    /// The networking of a container.
    pub struct NetworkSettings {
        pub bridge: String,
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        pub sandbox_key: String,
        pub ports: Map<Option<Vec<PortBinding>>>,
        pub hairpin_mode: bool,
        #[serde(rename = "LinkLocalIPv6Address")]
        pub link_local_ipv6_address: String,
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        pub link_local_ipv6_prefix_len: i64,
        #[serde(rename = "SecondaryIPAddresses", serialize_with = "null_if_empty")]
        pub secondary_ip_addresses: Vec<String>,
        #[serde(rename = "SecondaryIPv6Addresses", serialize_with = "null_if_empty")]
        pub secondary_ipv6_addresses: Vec<String>,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        pub mac_address: String,
        pub networks: Map<Option<EndpointSettings>>,
    }
}
