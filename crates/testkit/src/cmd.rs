//! Commands run to their end, with a deadline and with everything they said for the message when they fail.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The command, for messages.
    pub command: String,
    /// The exit code; 128 + signal when killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Itself, if the command succeeded; otherwise the test fails with what it said.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// Itself, if the command ended with `code`.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Itself, if the command failed and said `what` on standard error, be it in a quoted line of a log.
    #[track_caller]
    pub fn failure(self, what: &str) -> Self {
        let said = self.stderr.replace("\\\"", "\"");
        assert!(
            self.code != 0 && said.contains(what),
            "expected a failure with {what:?}: {self:#?}"
        );
        self
    }

    /// Standard output without its end of line.
    pub fn line(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// An exit code as a shell gives it: 128 + signal when killed.
pub fn code(status: ExitStatus) -> i32 {
    status
        .signal()
        .map_or(status.code().unwrap_or(-1), |signal| 128 + signal)
}

/// Runs a command to its end, with a deadline.
#[track_caller]
pub fn run(command: &mut Command) -> Said {
    run_with_input(command, b"")
}

/// Runs a command that is given `input`, to its end, with a deadline.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Said {
    run_within(command, input, PATIENCE)
}

/// Runs a command that is given `input`, to its end, which comes within `limit`.
///
/// A process that it leaves behind with its standard output open keeps this waiting until the limit: that is a failure too.
#[track_caller]
pub fn run_within(command: &mut Command, input: &[u8], limit: Duration) -> Said {
    let described = format!("{command:?}");
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{described}: {error}"));
    let pid = child.id() as i32;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        panic!("{described}: no pipes");
    };
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let (output, errors) = (collect(stdout), collect(stderr));
    let deadline = Instant::now() + limit;
    let rest = || deadline.saturating_duration_since(Instant::now());
    let (output, errors) = (output.recv_timeout(rest()), errors.recv_timeout(rest()));
    if output == Err(RecvTimeoutError::Timeout) || errors == Err(RecvTimeoutError::Timeout) {
        let ended = child.try_wait().ok().flatten();
        let _ = gantry_sys::process::kill(pid, 9);
        let _ = child.wait();
        panic!("{described} did not end in {limit:?} ({ended:?}); it said {output:?} and {errors:?}");
    }
    let status = child
        .wait()
        .unwrap_or_else(|error| panic!("{described}: {error}"));
    let _ = writer.join();
    Said {
        command: described,
        code: code(status),
        stdout: output.unwrap_or_default(),
        stderr: errors.unwrap_or_default(),
    }
}

/// Reads to the end in a thread of its own.
fn collect(mut from: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits until something is true, or fails the test.
#[track_caller]
pub fn wait_until(name: &str, mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {name}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Puts a program somewhere, by a process of its own: written by us it could not be executed for as long as a child that another
/// thread is about to start has our descriptor, too (ETXTBSY).
#[track_caller]
pub fn install(program: impl AsRef<std::ffi::OsStr>, to: &std::path::Path) {
    run(Command::new("cp").arg(program).arg(to)).success();
}

/// What to call for crun: a script that hides from it what it refuses.
pub fn crun() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/crun.sh").into()
}

/// The folder of the binaries under test.
pub fn binaries() -> std::path::PathBuf {
    match std::env::var_os("GANTRY_BIN_DIR") {
        Some(dir) => dir.into(),
        None => panic!("GANTRY_BIN_DIR is not set: run the suites with `cargo xtask test`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_and_how_it_ended() {
        let said = run_with_input(
            Command::new("sh").args(["-c", "cat; echo wrong >&2; exit 3"]),
            b"in\n",
        )
        .code(3);
        assert_eq!((said.line(), said.stderr.as_str()), ("in", "wrong\n"));
        assert_eq!(run(Command::new("sh").args(["-c", "kill -9 $$"])).code, 137);
    }

    #[test]
    #[should_panic(expected = "did not end")]
    fn what_never_ends_fails() {
        run_within(Command::new("sleep").arg("1000"), b"", Duration::from_millis(50));
    }
}
