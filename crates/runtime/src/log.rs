//! Where failures go: standard error for people, and the log file that callers read the last error of.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use gantry_runtime_core::log::line;

use crate::args::Global;

/// Tells of a failure everywhere and gives its exit code.
pub(crate) fn fail(global: &Global, message: &str, code: u8) -> ExitCode {
    // A log that cannot be opened was complained of already, or is the failure.
    if let Ok(log) = global.open_log() {
        log.error(message);
    }
    let mut stderr = std::io::stderr();
    let line = match (global.log.is_some(), stderr.is_terminal()) {
        // It is in the file: here it is for people.
        (true, _) => message.to_owned(),
        (false, true) => format!("ERRO[0000] {message}"),
        (false, false) => line(false, "error", message),
    };
    let _ = writeln!(stderr, "{line}");
    ExitCode::from(code)
}
