//! The portable half of a container's configuration.

use crate::go::{Empty, Map, StrSlice, null_if_empty, zero};

go_struct! {
    /// What a container runs: the half of its configuration that an image can carry too.
    pub struct Config {
        pub hostname: String,
        pub domainname: String,
        pub user: String,
        pub attach_stdin: bool,
        pub attach_stdout: bool,
        pub attach_stderr: bool,
        #[serde(skip_serializing_if = "zero")]
        pub exposed_ports: Map<Option<Empty>>,
        pub tty: bool,
        pub open_stdin: bool,
        pub stdin_once: bool,
        #[serde(serialize_with = "null_if_empty")]
        pub env: Vec<String>,
        pub cmd: Option<StrSlice>,
        #[serde(skip_serializing_if = "zero")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "zero")]
        pub args_escaped: bool,
        pub image: String,
        #[serde(serialize_with = "null_if_empty")]
        pub volumes: Map<Option<Empty>>,
        pub working_dir: String,
        pub entrypoint: Option<StrSlice>,
        #[serde(skip_serializing_if = "zero")]
        pub network_disabled: bool,
        #[serde(skip_serializing_if = "zero")]
        pub mac_address: String,
        #[serde(serialize_with = "null_if_empty")]
        pub on_build: Vec<String>,
        pub labels: Map<String>,
        #[serde(skip_serializing_if = "zero")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "zero")]
        pub stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "zero")]
        pub shell: Option<StrSlice>,
    }

    /// A check of a container's health; durations in nanoseconds, zero inherits.
    pub struct HealthConfig {
        #[serde(skip_serializing_if = "zero")]
        pub test: Vec<String>,
        #[serde(skip_serializing_if = "zero")]
        pub interval: i64,
        #[serde(skip_serializing_if = "zero")]
        pub timeout: i64,
        #[serde(skip_serializing_if = "zero")]
        pub start_period: i64,
        #[serde(skip_serializing_if = "zero")]
        pub start_interval: i64,
        #[serde(skip_serializing_if = "zero")]
        pub retries: i64,
    }
}
