//! Where failures go: standard error for people, and the log file that callers read the last error of.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::args::Global;

/// Tells of a failure everywhere and gives its exit code.
pub(crate) fn fail(global: &Global, message: &str) -> ExitCode {
    if let Some(path) = &global.log {
        let file = OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut file) = file {
            // What cannot be logged is still said below.
            let _ = writeln!(file, "{}", line(global.json, message));
        }
    }
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "ERRO[0000] {message}");
    ExitCode::FAILURE
}

fn line(json: bool, message: &str) -> String {
    // Whole seconds, as callers know them.
    let time = gantry_runtime_core::rfc3339(SystemTime::now());
    let time = format!("{}Z", time.split('.').next().unwrap_or_default());
    match json {
        true => serde_json::json!({"level": "error", "msg": message, "time": time}).to_string(),
        false => format!("time=\"{time}\" level=error msg={message:?}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_read_by_callers() {
        let line: serde_json::Value = serde_json::from_str(&super::line(true, "a \"b\"")).unwrap();
        assert_eq!(
            (line["level"].as_str(), line["msg"].as_str()),
            (Some("error"), Some("a \"b\""))
        );
        assert!(super::line(false, "x").contains("level=error msg=\"x\""));
    }
}
