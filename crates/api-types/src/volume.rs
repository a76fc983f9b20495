//! Volumes.

use crate::go::{Map, null_if_empty, zero};

go_struct! {
    /// One volume.
    pub struct Volume {
        #[serde(skip_serializing_if = "zero")]
        pub created_at: String,
        pub driver: String,
        #[serde(serialize_with = "null_if_empty")]
        pub labels: Map<String>,
        pub mountpoint: String,
        pub name: String,
        #[serde(serialize_with = "null_if_empty")]
        pub options: Map<String>,
        pub scope: String,
    }

    /// The answer to `GET /volumes`.
    pub struct ListResponse {
        pub volumes: Vec<Volume>,
        #[serde(serialize_with = "null_if_empty")]
        pub warnings: Vec<String>,
    }

    /// The answer to a prune of volumes.
    pub struct PruneReport {
        #[serde(serialize_with = "null_if_empty")]
        pub volumes_deleted: Vec<String>,
        pub space_reclaimed: u64,
    }
}
