//! The runtime alone, on bundles that `runc spec` made. Every test runs on ours and on Debian's runc, so that what is
//! demanded of ours is what the field's own does.

mod errors;
mod hybrid;
mod isolation;
mod lifecycle;
mod limits;
mod newest;
mod systemd;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{Said, binaries, run};
use gantry_testkit::place::Place;
use serde_json::Value;

/// A runtime with a root of its own.
struct Runtime {
    program: PathBuf,
    place: Place,
}

impl Runtime {
    fn ours() -> Self {
        Self {
            program: binaries().join("gantry-runtime"),
            place: Place::new(),
        }
    }

    fn runc() -> Self {
        Self {
            program: "runc".into(),
            place: Place::new(),
        }
    }

    fn is_ours(&self) -> bool {
        self.program.ends_with("gantry-runtime")
    }

    /// A bundle whose container runs `script` in a shell.
    fn bundle(&self, script: &str) -> Bundle {
        let cgroup = format!("{}/c", self.place.cgroup());
        Bundle::new(&self.place.join("bundle"), &cgroup, &["sh", "-c", script])
    }

    /// The id of the one container of a test.
    fn id(&self) -> String {
        self.place.name("c")
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.place.join("state")).args(args);
        command
    }

    #[track_caller]
    fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&mut self.command(args))
    }

    /// `run` of the bundle in the foreground.
    #[track_caller]
    fn run(&self, bundle: &Bundle) -> Said {
        run(self
            .command(["run"])
            .arg("--bundle")
            .arg(bundle.dir())
            .arg(self.id()))
    }

    /// `run --detach` of the bundle, whose output goes to a file; its process id.
    #[track_caller]
    fn detach(&self, bundle: &Bundle) -> i32 {
        let pid_file = self.place.join("pid");
        let output = std::fs::File::create(self.place.join("output")).expect("a file for the output");
        let mut command = self.command(["run", "--detach", "--pid-file"]);
        command
            .arg(&pid_file)
            .arg("--bundle")
            .arg(bundle.dir())
            .arg(self.id());
        // The container inherits what the runtime has: a pipe of ours would never end.
        command
            .stdin(std::process::Stdio::null())
            .stderr(output.try_clone().expect("the file"))
            .stdout(output);
        let status = command.status().expect("the runtime");
        assert!(status.success(), "{status}: {}", self.output());
        let text = std::fs::read_to_string(pid_file).expect("the pid file");
        text.parse().expect("a process id")
    }

    /// What a detached container has said.
    fn output(&self) -> String {
        std::fs::read_to_string(self.place.join("output")).unwrap_or_default()
    }

    #[track_caller]
    fn state(&self) -> Value {
        let said = self.call(["state", &self.id()]).success();
        serde_json::from_str(&said.stdout).expect("the state")
    }

    #[track_caller]
    fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }
}

/// Runs a command that must succeed and whose container inherits its streams: they lead nowhere, as a pipe of ours would never end.
#[track_caller]
fn silent(command: &mut Command) {
    let quiet = std::process::Stdio::null;
    command.stdin(quiet()).stdout(quiet()).stderr(quiet());
    assert!(command.status().expect("the runtime").success());
}

/// Each function as a test on both runtimes.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod ours {
            $(#[test] fn $name() { super::$name(&crate::Runtime::ours()); })*
        }
        mod runc {
            $(#[test] fn $name() { super::$name(&crate::Runtime::runc()); })*
        }
    };
}
use on_both;

/// Each function as a test on ours.
macro_rules! on_ours {
    ($($name:ident)*) => {
        mod ours {
            $(#[test] fn $name() { super::$name(&crate::Runtime::ours()); })*
        }
    };
}
use on_ours;
