//! Further processes in a running container.

use serde::{Deserialize, Serialize};

use crate::go::{StrSlice, null_if_empty, nullable, zero};

go_struct! {
    /// The body of `POST /containers/{id}/exec`.
    pub struct CreateRequest {
        pub user: String,
        pub privileged: bool,
        pub tty: bool,
        #[serde(skip_serializing_if = "zero")]
        pub console_size: Option<[u32; 2]>,
        pub attach_stdin: bool,
        pub attach_stderr: bool,
        pub attach_stdout: bool,
        pub detach_keys: String,
        #[serde(serialize_with = "null_if_empty")]
        pub env: Vec<String>,
        pub working_dir: String,
        pub cmd: Option<StrSlice>,
    }

    /// The answer to it.
    pub struct CreateResponse {
        pub id: String,
    }

    /// The body of `POST /exec/{id}/start`; the console size is height, width.
    pub struct StartRequest {
        pub detach: bool,
        pub tty: bool,
        #[serde(skip_serializing_if = "zero")]
        pub console_size: Option<[u32; 2]>,
    }

    /// The answer to `GET /exec/{id}/json`.
    pub struct Inspect {
        #[serde(rename = "ID")]
        pub id: String,
        pub running: bool,
        pub exit_code: Option<i64>,
        pub process_config: ProcessConfig,
        pub open_stdin: bool,
        pub open_stderr: bool,
        pub open_stdout: bool,
        pub can_remove: bool,
        #[serde(rename = "ContainerID")]
        pub container_id: String,
        pub detach_keys: String,
        pub pid: i64,
    }
}

/// The process of an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ProcessConfig {
    #[serde(deserialize_with = "nullable")]
    pub tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: String,
    #[serde(deserialize_with = "nullable")]
    pub arguments: Vec<String>,
    #[serde(skip_serializing_if = "zero")]
    pub privileged: Option<bool>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub user: String,
}
