//! Containers: what is asked for, what is told about them.

mod config;
mod host_config;
mod inspect;
mod stats;

use serde::{Deserialize, Serialize};

use crate::go::{Map, StrSlice, null_if_empty, nullable, zero};

pub use config::{Config, HealthConfig};
pub use host_config::{
    BindOptions, DeviceMapping, DeviceRequest, HostConfig, ImageOptions, LogConfig, Mount, MountDriver,
    RestartPolicy, ThrottleDevice, TmpfsOptions, Ulimit, UpdateConfig, VolumeOptions, WeightDevice,
};
pub use inspect::{DriverData, Health, HealthcheckResult, Inspect, MountPoint, NetworkSettings, State};
pub use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats, StorageStats,
    ThrottlingData,
};

use crate::network::{EndpointSettings, NetworkingConfig};

/// The body of `POST /containers/create`: a [`Config`] with two more keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// What is kept in the container's image when it is committed.
    #[serde(flatten)]
    pub config: Config,
    /// What depends on this host.
    #[serde(rename = "HostConfig", default, deserialize_with = "nullable")]
    pub host_config: HostConfig,
    /// The networks to join.
    #[serde(rename = "NetworkingConfig", default, deserialize_with = "nullable")]
    pub networking_config: NetworkingConfig,
}

go_struct! {
    /// The answer to a create; `Warnings` is always a list.
    pub struct CreateResponse {
        pub id: String,
        pub warnings: Vec<String>,
    }

    /// One container in a list.
    pub struct Summary {
        pub id: String,
        pub names: Vec<String>,
        pub image: String,
        #[serde(rename = "ImageID")]
        pub image_id: String,
        #[serde(skip_serializing_if = "zero")]
        pub image_manifest_descriptor: Option<crate::image::Descriptor>,
        pub command: String,
        pub created: i64,
        pub ports: Vec<Port>,
        #[serde(skip_serializing_if = "zero")]
        pub size_rw: i64,
        #[serde(skip_serializing_if = "zero")]
        pub size_root_fs: i64,
        pub labels: Map<String>,
        pub state: String,
        pub status: String,
        pub host_config: SummaryHostConfig,
        pub network_settings: SummaryNetworkSettings,
        pub mounts: Vec<MountPoint>,
    }

    /// The host side of a container in a list.
    pub struct SummaryHostConfig {
        #[serde(skip_serializing_if = "zero")]
        pub network_mode: String,
        #[serde(skip_serializing_if = "zero")]
        pub annotations: Map<String>,
    }

    /// The networks of a container in a list.
    pub struct SummaryNetworkSettings {
        pub networks: Map<Option<EndpointSettings>>,
    }

    /// A port of a container in a list.
    pub struct Port {
        #[serde(rename = "IP", skip_serializing_if = "zero")]
        pub ip: String,
        pub private_port: u16,
        #[serde(skip_serializing_if = "zero")]
        pub public_port: u16,
        pub r#type: String,
    }

    /// The answer to a wait.
    pub struct WaitResponse {
        #[serde(skip_serializing_if = "zero")]
        pub error: Option<WaitError>,
        pub status_code: i64,
    }

    /// Why waiting failed.
    pub struct WaitError {
        #[serde(skip_serializing_if = "zero")]
        pub message: String,
    }

    /// The processes in a container, as `ps` prints them.
    pub struct TopResponse {
        pub processes: Vec<Vec<String>>,
        pub titles: Vec<String>,
    }

    /// The answer to an update.
    pub struct UpdateResponse {
        #[serde(serialize_with = "null_if_empty")]
        pub warnings: Vec<String>,
    }

    /// A change of a container's file system: kind 0 modified, 1 added, 2 deleted.
    pub struct FilesystemChange {
        pub kind: u16,
        pub path: String,
    }

    /// The answer to a prune of containers.
    pub struct PruneReport {
        #[serde(serialize_with = "null_if_empty")]
        pub containers_deleted: Vec<String>,
        pub space_reclaimed: u64,
    }
}

impl CreateRequest {
    /// The command line that the request asks for, before the image adds its own.
    pub fn command(&self) -> (Option<&StrSlice>, Option<&StrSlice>) {
        (self.config.entrypoint.as_ref(), self.config.cmd.as_ref())
    }
}

#[cfg(test)]
mod tests;
