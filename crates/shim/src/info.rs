//! `-info`: what the shim and the runtime below it can, for the options on standard input.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use gantry_shim_api::messages::{Any, RuntimeInfo, RuntimeVersion};
use prost::Message;

use crate::task;

/// The type of what `features` prints.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Prints it.
pub(crate) fn run() -> Result<(), String> {
    let mut given = Vec::new();
    let _ = std::io::stdin().take(1 << 20).read_to_end(&mut given);
    let options = Any::decode(given.as_slice())
        .ok()
        .filter(|any| !any.type_url.is_empty());
    let binary = task::binary(&task::options(options.as_ref()));
    let features = Command::new(&binary)
        .arg("features")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| Any {
            type_url: FEATURES.to_owned(),
            value: output.stdout,
        });
    let info = RuntimeInfo {
        name: "io.containerd.gantry.v2".to_owned(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: String::new(),
        }),
        options,
        features,
        annotations: Default::default(),
    };
    std::io::stdout()
        .write_all(&info.encode_to_vec())
        .map_err(|error| error.to_string())
}
