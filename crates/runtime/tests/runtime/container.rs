//! A container of a test: a bundle of busybox in a place of its own, and the built program to run it with. Its check for what
//! is left behind is that of the place.

use std::fs;
use std::process::{Command, Stdio};

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{Said, run};
use gantry_testkit::place::Place;
use serde_json::Value;

pub(crate) const RUNTIME: &str = env!("CARGO_BIN_EXE_gantry-runtime");

/// A container of busybox that is not there yet.
pub(crate) struct Container {
    pub(crate) place: Place,
    pub(crate) bundle: Bundle,
}

impl Container {
    pub(crate) fn new(script: &str) -> Self {
        let place = Place::new();
        let cgroup = format!("{}/c", place.cgroup());
        let bundle = Bundle::new(&place.join("bundle"), &cgroup, &["sh", "-c", script]);
        Self { place, bundle }
    }

    pub(crate) fn id(&self) -> String {
        self.place.name("c")
    }

    /// The program with its global flags, run by a shell after `before`, so that descriptors can be inherited.
    pub(crate) fn command(&self, before: &str, words: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{before} exec \"$0\" \"$@\""), RUNTIME, "--root"])
            .arg(self.place.join("state"))
            .args(words);
        command
    }

    #[track_caller]
    pub(crate) fn call(&self, before: &str, words: &[&str]) -> Said {
        run(&mut self.command(before, words))
    }

    #[track_caller]
    pub(crate) fn run(&self) -> Said {
        let dir = self.bundle.dir().display().to_string();
        self.call("", &["run", "--bundle", &dir, &self.id()])
    }

    /// Made, and its process waits.
    #[track_caller]
    pub(crate) fn create(&self) -> i32 {
        let pid_file = self.place.join("pid");
        let dir = self.bundle.dir().display().to_string();
        let words = [
            "create",
            "--bundle",
            &dir,
            "--pid-file",
            &pid_file.display().to_string(),
            &self.id(),
        ];
        let mut command = self.command("", &words);
        // The container's process would keep pipes of ours open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().expect("the runtime").success());
        fs::read_to_string(pid_file)
            .expect("the pid file")
            .parse()
            .expect("a process id")
    }

    pub(crate) fn delete(&self) {
        self.call("", &["delete", "--force", &self.id()]).success();
    }

    /// Neither a record nor a cgroup is left of it.
    #[track_caller]
    pub(crate) fn is_gone(&self) {
        self.call("", &["state", &self.id()]).failure("does not exist");
        let left = fs::read_dir(self.place.join("state")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "records are left");
    }

    /// Lets the image's `/dev` be used as it is.
    pub(crate) fn with_the_images_dev(&self) {
        self.bundle.change(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| {
                !mount["destination"]
                    .as_str()
                    .is_some_and(|at| at == "/dev" || at == "/dev/pts")
            });
        });
    }

    pub(crate) fn mount(&self, one: Value) {
        self.bundle
            .change(|config| config["mounts"].as_array_mut().expect("mounts").push(one));
    }
}
