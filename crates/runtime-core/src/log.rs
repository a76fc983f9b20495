//! What a command says beside its result: warnings, and with `--debug` what it does. Callers read the lines of the log file;
//! without one they go to standard error. The container's process writes to it too, until its program is executed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Error, Result};

/// Where lines go, and which.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    /// Opens the file, if one is wanted, to append to it.
    pub fn open(path: Option<&Path>, json: bool, debug: bool) -> Result<Self> {
        let open = |path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(Error::file("failed to open the log", path))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            json,
            debug,
        })
    }

    /// What is being done, if somebody wants to know.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.line("debug", &message());
        }
    }

    /// What could not be done, and is not needed.
    pub fn warn(&self, message: &str) {
        self.line("warning", message);
    }

    /// Why the command failed. In a file only: who looks at standard error is told in another form.
    pub fn error(&self, message: &str) {
        if self.file.is_some() {
            self.line("error", message);
        }
    }

    /// The open file.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.file.as_ref().map(AsRawFd::as_raw_fd)
    }

    fn line(&self, level: &str, message: &str) {
        let text = format!("{}\n", line(self.json && self.file.is_some(), level, message));
        // What cannot be logged is not worth failing for.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(text.as_bytes()),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

/// One line, in whole seconds, as callers know them.
pub fn line(json: bool, level: &str, message: &str) -> String {
    let time = gantry_sys::clock::rfc3339(SystemTime::now());
    let time = format!("{}Z", time.split('.').next().unwrap_or_default());
    match json {
        true => serde_json::json!({"level": level, "msg": message, "time": time}).to_string(),
        false => format!("time=\"{time}\" level={level} msg={message:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_callers() {
        let text = line(true, "error", "a \"b\"");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (value["level"].as_str(), value["msg"].as_str()),
            (Some("error"), Some("a \"b\""))
        );
        assert!(line(false, "error", "x").contains("level=error msg=\"x\""));
    }

    #[test]
    fn only_who_asks_is_told_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Log::open(Some(&path), true, false)
            .unwrap()
            .debug(|| "quiet".to_owned());
        let log = Log::open(Some(&path), true, true).unwrap();
        log.debug(|| "loud".to_owned());
        log.warn("careful");
        let text = std::fs::read_to_string(&path).unwrap();
        let levels: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["level"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(levels, ["debug", "warning"]);
    }
}
