//! The state of a container as hooks and callers of `state` see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{is_default, null_is_default};

/// The states that the specification names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    #[default]
    Creating,
    Created,
    Running,
    Stopped,
}

/// The state that a hook reads on its standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub status: ContainerState,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid: i32,
    pub bundle: String,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_default"
    )]
    pub annotations: BTreeMap<String, String>,
}
