//! Connects to a shim's attach socket, past the supervisor.

use std::path::Path;

use gantry_supervisor_core::attach::handshake;
use gantry_supervisor_core::task::{AttachStreams, Attachment};
use gantry_supervisor_core::{Error, Result};

use crate::socket;

/// Attaches to the process through the socket at `path`.
pub(crate) async fn connect(path: &str, exec_id: &str, streams: AttachStreams) -> Result<Attachment> {
    let stream = socket::connect(Path::new(path))
        .map_err(|source| Error::from(source).context(format!("failed to connect to {path}")))?;
    handshake(stream, exec_id, streams).await
}
