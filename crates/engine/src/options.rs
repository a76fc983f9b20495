//! What the engine is opened with and what its calls take beside the API's own types. No behaviour.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gantry_api_types::filters::Filters;
use gantry_errdefs::Error;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where records, logs and the files of containers are kept.
    pub data_root: PathBuf,
    /// Where what does not outlive a boot is kept.
    pub exec_root: PathBuf,
    /// The cgroup below which those of the containers are made.
    pub cgroup_parent: String,
    /// OCI runtimes by name; a runtime without a path is the shim's own default.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Which of them runs a container that names none.
    pub default_runtime: String,
    /// Registries that may be spoken to over plain HTTP (`host[:port]`); those on loopback always may.
    pub insecure_registries: Vec<String>,
    /// Name servers for containers instead of the host's.
    pub dns: Vec<String>,
    /// Labels of the engine, as `info` shows them.
    pub labels: Vec<String>,
    /// The engine's version, as `info` shows it.
    pub version: String,
    /// Whether it runs with debug output.
    pub debug: bool,
    /// The address of the supervisor, as `info` shows it.
    pub supervisor_address: String,
    /// What must be said to a supervisor that is another's.
    pub foreign: Option<Foreign>,
}

/// What our own supervisor knows by itself, and a containerd does not.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The program of the shim.
    pub shim: PathBuf,
    /// Where runtimes keep their records.
    pub runtime_root: PathBuf,
}

/// The name of the link to a container's attach socket, in the container's folder below `DATA_ROOT/containers`. It is there
/// when the supervisor is another's.
pub const ATTACH_LINK: &str = "attach.sock";

/// The name of the runtime that comes with the engine.
pub const GANTRY_RUNTIME_NAME: &str = "gantry";

impl Config {
    /// The defaults on two roots.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> Self {
        Self {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            cgroup_parent: "/gantry".to_owned(),
            runtimes: BTreeMap::new(),
            default_runtime: GANTRY_RUNTIME_NAME.to_owned(),
            insecure_registries: Vec::new(),
            dns: Vec::new(),
            labels: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            debug: false,
            supervisor_address: String::new(),
            foreign: None,
        }
    }
}

/// What a wait waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (now, or as soon as it stops).
    #[default]
    NotRunning,
    /// The exit after this call.
    NextExit,
    /// It is gone.
    Removed,
}

impl WaitCondition {
    /// Reads the parameter `condition`; an empty one is the default.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(format!("invalid condition: \"{other}\"")),
        }
    }
}

/// How containers are listed.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Those that do not run too.
    pub all: bool,
    /// At most so many, the newest; 0 or less: no limit.
    pub limit: i64,
    /// Whether to count the size of the file systems.
    pub size: bool,
    /// Which.
    pub filters: Filters,
}

/// What of a container's log is read.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Goes on until the container stops.
    pub follow: bool,
    /// Puts the time before every entry.
    pub timestamps: bool,
    /// From this time on: seconds with a fraction, or RFC 3339; empty for all.
    pub since: String,
    /// Up to this time.
    pub until: String,
    /// The last so many lines: a number or `all`; empty for all.
    pub tail: String,
}

/// What of a container is attached to.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// What was logged so far comes first.
    pub logs: bool,
    /// Stays attached.
    pub stream: bool,
    /// Feeds standard input.
    pub stdin: bool,
    /// Reads standard output.
    pub stdout: bool,
    /// Reads standard error.
    pub stderr: bool,
    /// The keys that detach; empty for the default.
    pub detach_keys: String,
}

/// Which events are told.
#[derive(Clone, Debug, Default)]
pub struct EventOptions {
    /// Past ones from this time on: seconds with a fraction, or RFC 3339; empty for none.
    pub since: String,
    /// Ends at this time; empty: never.
    pub until: String,
    /// Which.
    pub filters: Filters,
}

/// A result of the engine; the message is Docker's.
pub type Result<T, E = Error> = std::result::Result<T, E>;
