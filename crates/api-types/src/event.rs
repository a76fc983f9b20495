//! What happened in the engine.

use serde::{Deserialize, Serialize};

use crate::go::{Map, nullable, zero};

/// One line of `GET /events`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The action again, for clients from before 1.22 (containers and images only).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub status: String,
    /// The actor's id again.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub id: String,
    /// The container's image.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub from: String,
    /// `container`, `image`, `network`, `volume`, `daemon`.
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub r#type: String,
    /// `create`, `start`, `die` …
    #[serde(rename = "Action", deserialize_with = "nullable")]
    pub action: String,
    /// Whom it happened to.
    #[serde(rename = "Actor", deserialize_with = "nullable")]
    pub actor: Actor,
    /// `local` or `swarm`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub scope: String,
    /// Seconds since the epoch.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(
        rename = "timeNano",
        deserialize_with = "nullable",
        skip_serializing_if = "zero"
    )]
    pub time_nano: i64,
}

go_struct! {
    /// The object an event is about.
    pub struct Actor {
        #[serde(rename = "ID")]
        pub id: String,
        pub attributes: Map<String>,
    }
}
