//! The engine itself.

use serde::{Deserialize, Serialize};

use crate::container::Summary as ContainerSummary;
use crate::go::{Map, null_if_empty, nullable, zero};
use crate::image::Summary as ImageSummary;
use crate::volume::Volume;

/// What `GET /_ping` tells in its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ping {
    pub api_version: String,
    pub os_type: String,
    pub experimental: bool,
    pub builder_version: String,
}

go_struct! {
    /// The answer to `GET /version`.
    pub struct Version {
        pub platform: VersionPlatform,
        #[serde(skip_serializing_if = "zero")]
        pub components: Vec<ComponentVersion>,
        pub version: String,
        pub api_version: String,
        #[serde(rename = "MinAPIVersion", skip_serializing_if = "zero")]
        pub min_api_version: String,
        pub git_commit: String,
        pub go_version: String,
        pub os: String,
        pub arch: String,
        #[serde(skip_serializing_if = "zero")]
        pub kernel_version: String,
        #[serde(skip_serializing_if = "zero")]
        pub experimental: bool,
        #[serde(skip_serializing_if = "zero")]
        pub build_time: String,
    }

    /// The product's name.
    pub struct VersionPlatform {
        pub name: String,
    }

    /// The version of one program of the engine.
    pub struct ComponentVersion {
        pub name: String,
        pub version: String,
        #[serde(skip_serializing_if = "zero")]
        pub details: Map<String>,
    }

    /// The answer to `GET /info`.
    pub struct Info {
        #[serde(rename = "ID")]
        pub id: String,
        pub containers: i64,
        pub containers_running: i64,
        pub containers_paused: i64,
        pub containers_stopped: i64,
        pub images: i64,
        pub driver: String,
        #[serde(serialize_with = "null_if_empty")]
        pub driver_status: Vec<[String; 2]>,
        #[serde(skip_serializing_if = "zero")]
        pub system_status: Vec<[String; 2]>,
        pub plugins: Plugins,
        pub memory_limit: bool,
        pub swap_limit: bool,
        #[serde(rename = "CpuCfsPeriod")]
        pub cpu_cfs_period: bool,
        #[serde(rename = "CpuCfsQuota")]
        pub cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        pub pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        pub debug: bool,
        #[serde(rename = "NFd")]
        pub nfd: i64,
        pub oom_kill_disable: bool,
        #[serde(rename = "NGoroutines")]
        pub n_goroutines: i64,
        pub system_time: String,
        pub logging_driver: String,
        pub cgroup_driver: String,
        #[serde(skip_serializing_if = "zero")]
        pub cgroup_version: String,
        #[serde(rename = "NEventsListener")]
        pub n_events_listener: i64,
        pub kernel_version: String,
        pub operating_system: String,
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        #[serde(rename = "OSType")]
        pub os_type: String,
        pub architecture: String,
        pub index_server_address: String,
        pub registry_config: RegistryConfig,
        #[serde(rename = "NCPU")]
        pub ncpu: i64,
        pub mem_total: i64,
        #[serde(serialize_with = "null_if_empty")]
        pub generic_resources: Vec<serde_json::Value>,
        pub docker_root_dir: String,
        pub http_proxy: String,
        pub https_proxy: String,
        pub no_proxy: String,
        pub name: String,
        pub labels: Vec<String>,
        pub experimental_build: bool,
        pub server_version: String,
        pub runtimes: Map<Runtime>,
        pub default_runtime: String,
        pub swarm: SwarmInfo,
        pub live_restore_enabled: bool,
        pub isolation: String,
        pub init_binary: String,
        pub containerd_commit: Commit,
        pub runc_commit: Commit,
        pub init_commit: Commit,
        pub security_options: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub product_license: String,
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub containerd: Option<ContainerdInfo>,
        #[serde(serialize_with = "null_if_empty")]
        pub warnings: Vec<String>,
    }

    /// What can be chosen by name.
    pub struct Plugins {
        pub volume: Vec<String>,
        pub network: Vec<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub authorization: Vec<String>,
        pub log: Vec<String>,
    }

    /// How registries are reached.
    pub struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        pub index_configs: Map<IndexInfo>,
        pub mirrors: Vec<String>,
    }

    /// How one registry is reached.
    pub struct IndexInfo {
        pub name: String,
        pub mirrors: Vec<String>,
        pub secure: bool,
        pub official: bool,
    }

    /// Always inactive: Gantry has no swarm mode.
    pub struct SwarmInfo {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub node_addr: String,
        pub local_node_state: String,
        pub control_available: bool,
        pub error: String,
        #[serde(serialize_with = "null_if_empty")]
        pub remote_managers: Vec<serde_json::Value>,
    }

    /// The source of a program that the engine uses.
    pub struct Commit {
        #[serde(rename = "ID")]
        pub id: String,
    }

    /// Where the supervisor answers.
    pub struct ContainerdInfo {
        #[serde(skip_serializing_if = "zero")]
        pub address: String,
        pub namespaces: ContainerdNamespaces,
    }

    /// The supervisor's namespaces that this engine uses.
    pub struct ContainerdNamespaces {
        pub containers: String,
        pub plugins: String,
    }

    /// The answer to `GET /system/df`.
    pub struct DiskUsage {
        pub layers_size: i64,
        #[serde(serialize_with = "null_if_empty")]
        pub images: Vec<ImageSummary>,
        #[serde(serialize_with = "null_if_empty")]
        pub containers: Vec<ContainerSummary>,
        #[serde(serialize_with = "null_if_empty")]
        pub volumes: Vec<Volume>,
        #[serde(serialize_with = "null_if_empty")]
        pub build_cache: Vec<serde_json::Value>,
    }
}

/// An OCI runtime that can be chosen by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Runtime {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub path: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub runtime_args: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub status: Map<String>,
}
