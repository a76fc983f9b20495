//! Calls of the OCI runtime, each a process that ends. The command lines are those that every runtime in runc's place knows.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gantry_errdefs::{Error, Kind};

/// The runtime of one container.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) binary: PathBuf,
    /// Where its records are, the namespace's part included.
    pub(crate) root: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) id: String,
    pub(crate) systemd_cgroup: bool,
}

/// The program that is called when none is named: ours beside us, ours in PATH, runc.
pub(crate) fn default_binary() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("gantry-runtime")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("gantry-runtime")));
    found
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| PathBuf::from("runc"))
}

impl Runtime {
    /// A command with what every command has.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.bundle)
            .arg("--root")
            .arg(&self.root)
            .arg("--log")
            .arg(self.bundle.join("log.json"))
            .args(["--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a command to its end. What went wrong is the last error of its log.
    pub(crate) fn run(&self, command: &mut Command, verb: &str) -> Result<(), Error> {
        let begun = Instant::now();
        // Only this call's errors are to be read.
        let _ = fs::remove_file(self.bundle.join("log.json"));
        let status = command.status();
        let what = format!("runtime {verb} {}", self.id);
        let done = match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(match self.last_error() {
                Some(message) => classified(message),
                None => Error::internal(format!("{} {verb}: {status}", self.binary.display())),
            }),
            Err(error) => {
                let message = format!("failed to run the OCI runtime {}: {error}", self.binary.display());
                Err(Error::new(
                    if error.kind() == std::io::ErrorKind::NotFound {
                        Kind::NotFound
                    } else {
                        Kind::Internal
                    },
                    message,
                ))
            }
        };
        let how = done.as_ref().map_or_else(
            |error: &Error| format!(": {}", error.message()),
            |()| String::new(),
        );
        gantry_sys::trace::line("shim", &format!("{what}{how}"), Some(begun.elapsed()));
        done
    }

    /// Runs a command that has nothing but the id.
    pub(crate) fn simple(&self, verb: &str) -> Result<(), Error> {
        self.run(self.command(verb).arg(&self.id), verb)
    }

    /// Sends a signal.
    pub(crate) fn kill(&self, signal: u32, all: bool) -> Result<(), Error> {
        let mut command = self.command("kill");
        if all {
            command.arg("--all");
        }
        self.run(command.arg(&self.id).arg(signal.to_string()), "kill")
    }

    /// Deletes it, whatever state it is in.
    pub(crate) fn delete(&self, force: bool) -> Result<(), Error> {
        let mut command = self.command("delete");
        if force {
            command.arg("--force");
        }
        match self.run(command.arg(&self.id), "delete") {
            Err(error) if error.kind() == Kind::NotFound && error.message().contains("does not exist") => {
                Ok(())
            }
            other => other,
        }
    }

    fn last_error(&self) -> Option<String> {
        let text = fs::read_to_string(self.bundle.join("log.json")).ok()?;
        text.lines().rev().find_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            (value["level"] == "error")
                .then(|| value["msg"].as_str().map(str::to_owned))
                .flatten()
        })
    }
}

/// What a runtime's words mean.
fn classified(message: String) -> Error {
    let gone = [
        "process already finished",
        "container not running",
        "no such process",
    ];
    if gone.iter().any(|words| message.contains(words)) {
        return Error::not_found("process already finished: not found");
    }
    let kind = match message.contains("does not exist") && message.contains("container") {
        true => Kind::NotFound,
        false => Kind::Internal,
    };
    Error::new(kind, message)
}

/// A pid file's number.
pub(crate) fn read_pid(path: &Path) -> Result<i32, Error> {
    let text = fs::read_to_string(path).map_err(|source| {
        Error::internal(format!("failed to read {}", path.display())).with_source(source)
    })?;
    text.trim()
        .parse()
        .map_err(|_| Error::internal(format!("{} holds no process id", path.display())))
}

/// The name of a file for one of many, safe as a part of a path.
pub(crate) fn file_name(id: &str, ending: &str) -> PathBuf {
    let mut name = OsStr::new(id).to_owned();
    name.push(ending);
    PathBuf::from(name)
}
