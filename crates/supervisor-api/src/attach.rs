//! The client's end of a shim's attach socket.

use gantry_supervisor_core::task::{AttachStreams, Attachment};
use gantry_supervisor_core::{Error, Result};

pub(crate) async fn connect(path: &str, exec_id: &str, streams: AttachStreams) -> Result<Attachment> {
    let _ = (path, exec_id, streams);
    Err(Error::not_implemented("attach"))
}
