//! Calls of the OCI runtime, each a process that ends. The command lines are those that every runtime in runc's place knows,
//! the words for what went wrong containerd's. Waits for nothing: whoever reaps the process asks for its outcome then.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gantry_errdefs::{Error, Kind};

/// A log that grew beyond this is begun anew when no call is under way.
const LOG_LIMIT: u64 = 256 << 10;

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

/// A call under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    verb: &'static str,
    begun: Instant,
    /// Where its own lines in the log begin.
    log_from: u64,
}

/// The program that is called when none is named: ours beside us, ours in PATH, runc.
pub(crate) fn default_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("GANTRY_RUNTIME").filter(|name| !name.is_empty()) {
        return named.into();
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("gantry-runtime")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("gantry-runtime")));
    found
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
            .arg(self.log())
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

    /// `kill`.
    pub(crate) fn kill(&self, signal: u32, all: bool) -> Command {
        let mut command = self.command("kill");
        if all {
            command.arg("--all");
        }
        command.arg(&self.id).arg(signal.to_string());
        command
    }

    /// `delete`, in whatever state it is if by force.
    pub(crate) fn delete(&self, force: bool) -> Command {
        let mut command = self.command("delete");
        if force {
            command.arg("--force");
        }
        command.arg(&self.id);
        command
    }

    fn log(&self) -> PathBuf {
        self.bundle.join("log.json")
    }

    /// Begins a call. `alone`: no other is under way.
    pub(crate) fn spawn(
        &self,
        mut command: Command,
        verb: &'static str,
        alone: bool,
    ) -> Result<Running, Error> {
        let begun = Instant::now();
        let log = self.log();
        let mut log_from = fs::metadata(&log).map_or(0, |file| file.len());
        if alone && log_from > LOG_LIMIT && fs::remove_file(&log).is_ok() {
            log_from = 0;
        }
        match command.spawn() {
            Ok(child) => Ok(Running {
                pid: child.id().cast_signed(),
                verb,
                begun,
                log_from,
            }),
            Err(error) => {
                let words = self.spawn_error(&error);
                gantry_sys::trace::line("shim", &format!("runtime {verb} {}: {words}", self.id), None);
                Err(self.failed(verb, &self.unretrievable(&words)))
            }
        }
    }

    /// What became of a call whose process has ended with `status`.
    pub(crate) fn outcome(&self, call: &Running, status: i32) -> Result<(), Error> {
        let done = match status {
            0 => Ok(()),
            _ => self.classified(call, status),
        };
        let how = done.as_ref().map_or_else(
            |error: &Error| format!(": {}", error.message()),
            |()| String::new(),
        );
        let what = format!("runtime {} {}{how}", call.verb, self.id);
        gantry_sys::trace::line("shim", &what, Some(call.begun.elapsed()));
        done
    }

    fn classified(&self, call: &Running, status: i32) -> Result<(), Error> {
        let words = match self.last_error(call.log_from) {
            Ok(Some(words)) => words,
            Ok(None) => self.unsuccessful(status),
            Err(_) => self.unretrievable(&self.unsuccessful(status)),
        };
        match call.verb {
            "kill" => {
                let lower = words.to_lowercase();
                let gone = [
                    "process already finished",
                    "container not running",
                    "no such process",
                ];
                if gone.iter().any(|known| lower.contains(known)) {
                    return Err(Error::not_found("process already finished: not found"));
                }
                if lower.contains("does not exist") {
                    return Err(Error::not_found("no such container: not found"));
                }
                Err(Error::internal(format!("unknown error after kill: {words}")))
            }
            "delete" if words.contains("does not exist") => Ok(()),
            verb => Err(self.failed(verb, &words)),
        }
    }

    fn failed(&self, verb: &str, words: &str) -> Error {
        Error::internal(match verb {
            "delete" => format!("failed to delete task: {words}"),
            verb => format!("OCI runtime {verb} failed: {words}"),
        })
    }

    fn unsuccessful(&self, status: i32) -> String {
        let how = match status {
            128.. => format!("signal: {}", status - 128),
            _ => format!("exit status {status}"),
        };
        format!("{} did not terminate successfully: {how}", self.binary.display())
    }

    fn unretrievable(&self, words: &str) -> String {
        format!(
            "unable to retrieve OCI runtime error (open {}: no such file or directory): {words}",
            self.log().display()
        )
    }

    fn spawn_error(&self, error: &std::io::Error) -> String {
        let name = self.binary.display();
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        match self.binary.components().count() {
            1 if missing => format!("exec: \"{name}\": executable file not found in $PATH"),
            _ if missing => format!("fork/exec {name}: no such file or directory"),
            _ => format!("fork/exec {name}: {error}"),
        }
    }

    /// The last error of the log from there on. An error when there is no log.
    fn last_error(&self, from: u64) -> std::io::Result<Option<String>> {
        let mut file = fs::File::open(self.log())?;
        // Should somebody have begun it anew, all of it is new.
        if file.metadata()?.len() >= from {
            file.seek(SeekFrom::Start(from))?;
        }
        let mut text = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().rev().find_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            match value["level"] == "error" {
                true => value["msg"].as_str().map(str::to_owned),
                false => None,
            }
        }))
    }

    /// A call to its end, for whoever has nothing else to do.
    pub(crate) fn run(&self, command: Command, verb: &'static str) -> Result<(), Error> {
        let call = self.spawn(command, verb, true)?;
        let ended = gantry_sys::process::wait(call.pid)
            .map_err(|error| Error::new(Kind::Internal, gantry_errdefs::chain(&error)))?;
        self.outcome(&call, ended.status)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime of shell, which appends `words` to its log and exits with 1.
    fn runtime(dir: &Path, words: &str) -> Runtime {
        let binary = dir.join("runtime.sh");
        let line = format!("{{\"level\":\"error\",\"msg\":\"{words}\"}}");
        let log = dir.join("log.json");
        fs::write(
            &binary,
            format!("#!/bin/sh\necho '{line}' >> {}; exit 1\n", log.display()),
        )
        .unwrap();
        Runtime {
            binary,
            root: dir.join("root"),
            bundle: dir.to_owned(),
            id: "c".into(),
            systemd_cgroup: false,
        }
    }

    fn run(runtime: &Runtime, verb: &'static str) -> Result<(), Error> {
        // A script that is still open for writing cannot be run; through its shell it can.
        let mut command = Command::new("/bin/sh");
        command.arg(&runtime.binary);
        runtime.run(command, verb)
    }

    #[test]
    fn failures_have_containerds_words() {
        let dir = tempfile::tempdir().unwrap();
        let message = |words: &str, verb| run(&runtime(dir.path(), words), verb).unwrap_err();
        assert_eq!(
            message("first", "create").message(),
            "OCI runtime create failed: first"
        );
        // The lines of the calls before are none of its business.
        assert_eq!(
            message("second", "exec").message(),
            "OCI runtime exec failed: second"
        );
        let gone = message("os: process already finished", "kill");
        assert_eq!(
            (gone.kind(), gone.message()),
            (Kind::NotFound, "process already finished: not found")
        );
        assert_eq!(
            message("container x does not exist", "kill").kind(),
            Kind::NotFound
        );
        run(&runtime(dir.path(), "container x does not exist"), "delete").unwrap();
    }

    #[test]
    fn a_runtime_that_cannot_be_run_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut runtime = runtime(dir.path(), "");
        runtime.binary = "gantry-no-such-runtime".into();
        let error = runtime.run(runtime.command("create"), "create").unwrap_err();
        assert!(
            error
                .message()
                .ends_with("exec: \"gantry-no-such-runtime\": executable file not found in $PATH"),
            "{error}"
        );
        assert!(
            error
                .message()
                .starts_with("OCI runtime create failed: unable to retrieve OCI runtime error (open ")
        );
    }
}
