//! Images.

use serde::{Deserialize, Serialize};

use crate::container::{DriverData, HealthConfig};
use crate::go::{Empty, Map, StrSlice, null_if_empty, nullable, zero};

go_struct! {
    /// One image in a list; `Containers` and `SharedSize` are -1 when not counted.
    pub struct Summary {
        pub containers: i64,
        pub created: i64,
        pub id: String,
        #[serde(serialize_with = "null_if_empty")]
        pub labels: Map<String>,
        pub parent_id: String,
        #[serde(skip_serializing_if = "zero")]
        pub descriptor: Option<Descriptor>,
        pub repo_digests: Vec<String>,
        pub repo_tags: Vec<String>,
        pub shared_size: i64,
        pub size: i64,
    }

    /// The answer to `GET /images/{name}/json`.
    pub struct Inspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub parent: String,
        pub comment: String,
        #[serde(skip_serializing_if = "zero")]
        pub created: String,
        pub docker_version: String,
        pub author: String,
        pub config: ImageConfig,
        pub architecture: String,
        #[serde(skip_serializing_if = "zero")]
        pub variant: String,
        pub os: String,
        #[serde(skip_serializing_if = "zero")]
        pub os_version: String,
        pub size: i64,
        #[serde(skip_serializing_if = "zero")]
        pub virtual_size: i64,
        pub graph_driver: DriverData,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: Metadata,
        #[serde(skip_serializing_if = "zero")]
        pub descriptor: Option<Descriptor>,
    }

    /// What an image says about the containers made of it.
    pub struct ImageConfig {
        #[serde(skip_serializing_if = "zero")]
        pub user: String,
        #[serde(skip_serializing_if = "zero")]
        pub exposed_ports: Map<Option<Empty>>,
        #[serde(skip_serializing_if = "zero")]
        pub env: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub entrypoint: Option<StrSlice>,
        #[serde(skip_serializing_if = "zero")]
        pub cmd: Option<StrSlice>,
        #[serde(skip_serializing_if = "zero")]
        pub volumes: Map<Option<Empty>>,
        #[serde(skip_serializing_if = "zero")]
        pub working_dir: String,
        #[serde(skip_serializing_if = "zero")]
        pub labels: Map<String>,
        #[serde(skip_serializing_if = "zero")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "zero")]
        pub args_escaped: bool,
        #[serde(skip_serializing_if = "zero")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "zero")]
        pub on_build: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub shell: Option<StrSlice>,
    }

    /// The layers of an image, by their DiffIDs.
    pub struct RootFs {
        pub r#type: String,
        #[serde(skip_serializing_if = "zero")]
        pub layers: Vec<String>,
    }

    /// What this engine knows of an image and its author does not.
    pub struct Metadata {
        pub last_tag_time: String,
    }

    /// One step of how an image came about.
    pub struct History {
        pub comment: String,
        pub created: i64,
        pub created_by: String,
        pub id: String,
        pub size: i64,
        #[serde(serialize_with = "null_if_empty")]
        pub tags: Vec<String>,
    }

    /// One thing that a removal did.
    pub struct DeleteResponse {
        #[serde(skip_serializing_if = "zero")]
        pub deleted: String,
        #[serde(skip_serializing_if = "zero")]
        pub untagged: String,
    }

    /// The answer to a prune of images.
    pub struct PruneReport {
        #[serde(serialize_with = "null_if_empty")]
        pub images_deleted: Vec<DeleteResponse>,
        pub space_reclaimed: u64,
    }
}

/// An OCI descriptor, in the registry's spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Descriptor {
    #[serde(deserialize_with = "nullable")]
    pub media_type: String,
    #[serde(deserialize_with = "nullable")]
    pub digest: String,
    #[serde(deserialize_with = "nullable")]
    pub size: i64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub annotations: Map<String>,
    #[serde(skip_serializing_if = "zero")]
    pub platform: Option<Platform>,
}

/// A platform, in the registry's spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Platform {
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    #[serde(
        rename = "os.version",
        deserialize_with = "nullable",
        skip_serializing_if = "zero"
    )]
    pub os_version: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub variant: String,
}
