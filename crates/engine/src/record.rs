//! What is kept of a container and of an exec, as it stands in `engine.db`. Each record carries its version.

use gantry_api_types::container::{Config, HostConfig, MountPoint};
use gantry_api_types::exec::CreateRequest as ExecRequest;
use gantry_errdefs::Error;
use gantry_supervisor_core::Time;
use serde::{Deserialize, Serialize};

use crate::container::state::{Event, Status};

/// The version of both records.
const VERSION: u32 = 1;

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    version: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: i64,
    /// The program and its arguments, merged from image and request.
    pub(crate) command: Vec<String>,
    pub(crate) config: Config,
    pub(crate) host: HostConfig,
    pub(crate) mounts: Vec<MountPoint>,
    /// The digest of the image's target.
    pub(crate) image_id: String,
    /// The snapshot that its own stands on: the image's layers with the init layer.
    pub(crate) parent: String,
    pub(crate) platform: String,
    pub(crate) state: State,
}

/// Where a container stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) pid: u32,
    pub(crate) exit_code: i64,
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// Nanoseconds since the epoch; 0: never.
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    /// How often it has ended.
    pub(crate) exits: u64,
    pub(crate) restarts: i64,
    /// Somebody asked for its end: it is not started again by itself.
    pub(crate) stopped_by_user: bool,
    /// Its removal has begun and must be finished.
    pub(crate) removing: bool,
    /// With its unnamed volumes.
    pub(crate) removing_volumes: bool,
}

/// An exec.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Exec {
    version: u32,
    pub(crate) id: String,
    pub(crate) container: String,
    pub(crate) request: ExecRequest,
    pub(crate) pid: u32,
    pub(crate) running: bool,
    pub(crate) started: bool,
    pub(crate) exit_code: Option<i64>,
}

/// A time as records keep it.
pub(crate) fn nanoseconds(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn encode<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("encode a record: {e}")))
}

impl State {
    /// A user ended it: one that waits to be started again just does not.
    pub(crate) fn give_up(&mut self) {
        self.stopped_by_user = true;
        self.status = self.status.after(Event::GiveUp).unwrap_or(self.status);
    }
}

impl Container {
    #[allow(clippy::too_many_arguments)] // a record is all of these
    pub(crate) fn new(
        id: String,
        name: String,
        command: Vec<String>,
        config: Config,
        host: HostConfig,
        mounts: Vec<MountPoint>,
        image: &crate::image::ResolvedImage,
    ) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            created: nanoseconds(Time::now()),
            command,
            config,
            host,
            mounts,
            image_id: image.id.clone(),
            parent: String::new(),
            platform: "linux".to_owned(),
            state: State::default(),
        }
    }

    pub(crate) fn encode(&self) -> Result<String, Error> {
        encode(self)
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Error> {
        let record: Self = serde_json::from_str(text)
            .map_err(|e| Error::internal(format!("read the record of a container: {e}")))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(Error::internal(format!(
                "the record of container {} has version {other}, not {VERSION}",
                record.id
            ))),
        }
    }
}

impl Exec {
    pub(crate) fn new(id: String, container: String, request: ExecRequest) -> Self {
        Self {
            version: VERSION,
            id,
            container,
            request,
            pid: 0,
            running: false,
            started: false,
            exit_code: None,
        }
    }

    pub(crate) fn encode(&self) -> Result<String, Error> {
        encode(self)
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|e| Error::internal(format!("read the record of an exec: {e}")))
    }
}
