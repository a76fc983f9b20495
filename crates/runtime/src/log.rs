//! Where failures go: standard error for people, and the log file that callers read the last error of.

use std::io::Write;
use std::process::ExitCode;

use crate::args::Global;

/// Tells of a failure everywhere and gives its exit code.
pub(crate) fn fail(global: &Global, message: &str, code: u8) -> ExitCode {
    // A log that cannot be opened was complained of already, or is the failure.
    if let Ok(log) = global.open_log() {
        log.error(message);
    }
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "ERRO[0000] {message}");
    ExitCode::from(code)
}
