//! A container that is written down and made again: its bundle, its images, and what the tests ask of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{Said, binaries, run, wait_until};
use gantry_testkit::place::Place;
use gantry_testkit::skip;
use serde_json::{Value, json};

/// Counts in a file on a tmpfs of the container's.
pub(crate) const COUNTS: &str =
    "i=0; while :; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.03; done";

/// Whether criu cannot be used here, which is said aloud.
pub(crate) fn unusable() -> bool {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(skip::no_criu);
    if let Some(why) = why {
        skip::skip("checkpoint and restore", why);
    }
    why.is_some()
}

/// A container of busybox and a folder for its images.
pub(crate) struct Case {
    pub(crate) place: Place,
    pub(crate) bundle: Bundle,
    id: String,
    /// Flags in front of the command.
    global: Vec<&'static str>,
}

impl Case {
    pub(crate) fn new(script: &str) -> Self {
        let place = Place::new();
        let cgroup = format!("{}/c", place.cgroup());
        let bundle = Bundle::new(&place.join("bundle"), &cgroup, &["sh", "-c", script]);
        let id = place.name("c");
        let case = Self {
            place,
            bundle,
            id,
            global: Vec::new(),
        };
        case.mount(json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/tmp" }));
        case
    }

    /// With its cgroup made by systemd.
    pub(crate) fn by_systemd(mut self) -> Self {
        self.global.push("--systemd-cgroup");
        let name = self.place.name("scope");
        self.bundle
            .change(|config| config["linux"]["cgroupsPath"] = json!(format!(":gt:{name}")));
        self
    }

    pub(crate) fn mount(&self, one: Value) {
        self.bundle
            .change(|config| config["mounts"].as_array_mut().expect("mounts").push(one));
    }

    /// Puts a program of the machine's into the image, with its libraries.
    pub(crate) fn install(&self, name: &str) {
        let path = Path::new("/usr/bin").join(name);
        let said = run(Command::new("ldd").arg(&path)).success();
        let libraries = said
            .stdout
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for file in libraries.map(Path::new).chain([path.as_path()]) {
            let to = self
                .bundle
                .rootfs()
                .join(file.strip_prefix("/").expect("an absolute path"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("its folder");
            gantry_testkit::cmd::install(file, &to);
        }
        let there = self.bundle.rootfs().join("usr/bin").join(name);
        std::os::unix::fs::symlink(
            Path::new("/usr/bin").join(name),
            self.bundle.rootfs().join("bin").join(name),
        )
        .expect("a link");
        assert!(there.exists());
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.place.join("images")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.place.join("work")
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries().join("gantry-runtime"));
        command.args(&self.global);
        command.arg("--root").arg(self.place.join("state")).args(words);
        command
    }

    #[track_caller]
    pub(crate) fn call(&self, words: &[&str]) -> Said {
        run(&mut self.command(words))
    }

    /// A command in which a container's processes come to be, which keep its streams: they lead nowhere, and what it says
    /// is in its log.
    #[track_caller]
    fn bear(&self, command: &mut Command) -> Said {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let log = self.place.join("log");
        let _ = fs::remove_file(&log);
        let status = command.status().expect("the runtime");
        Said {
            command: format!("{command:?}"),
            code: gantry_testkit::cmd::code(status),
            stdout: String::new(),
            stderr: fs::read_to_string(log).unwrap_or_default(),
        }
    }

    fn words(&self, verb: &str) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        [
            "--log",
            &text(self.place.join("log")),
            verb,
            "--detach",
            "--bundle",
            &text(self.bundle.dir().to_owned()),
            "--pid-file",
            &text(self.place.join("pid")),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Makes and starts it, detached.
    #[track_caller]
    pub(crate) fn start(&self) -> i32 {
        let words = self.words("run");
        let mut command = self.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.bear(command.arg(&self.id)).success();
        self.pid()
    }

    pub(crate) fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.place.join("pid")).expect("the pid file");
        text.parse().expect("a process id")
    }

    /// `checkpoint` with the usual folders.
    #[track_caller]
    pub(crate) fn dump(&self, flags: &[&str]) -> Said {
        let mut command = self.command(&["checkpoint", "--image-path"]);
        command.arg(self.images()).arg("--work-path").arg(self.work());
        run(command.args(flags).arg(&self.id))
    }

    /// `restore --detach` with the usual folders.
    #[track_caller]
    pub(crate) fn restore(&self, flags: &[&str]) -> Said {
        self.restore_as(&self.id, flags)
    }

    #[track_caller]
    pub(crate) fn restore_as(&self, id: &str, flags: &[&str]) -> Said {
        let words = self.words("restore");
        let mut command = self.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.arg("--image-path").arg(self.images());
        command.arg("--work-path").arg(self.work());
        self.bear(command.args(flags).arg(id))
    }

    #[track_caller]
    pub(crate) fn exec(&self, script: &str) -> Said {
        self.call(&["exec", &self.id, "sh", "-c", script])
    }

    #[track_caller]
    pub(crate) fn status(&self) -> String {
        let said = self.call(&["state", &self.id]).success();
        let state: Value = serde_json::from_str(&said.stdout).expect("the state");
        state["status"].as_str().expect("a status").to_owned()
    }

    /// How far it has counted, which is more than `before`.
    #[track_caller]
    pub(crate) fn counted(&self, before: u64) -> u64 {
        let mut count = 0;
        wait_until("a higher count", || {
            let said = self.exec("cat /tmp/count 2>/dev/null || echo 0").success();
            count = said.line().parse().unwrap_or(0);
            count > before
        });
        count
    }

    /// Its cgroup's file.
    pub(crate) fn limit(&self, pid: i32, file: &str) -> String {
        let text = fs::read_to_string(folder(pid).join(file)).unwrap_or_default();
        text.trim().to_owned()
    }

    /// Ends it and takes it away.
    #[track_caller]
    pub(crate) fn delete(&self) {
        self.call(&["delete", "--force", &self.id]).success();
    }

    /// Nothing of it is left: no record, no cgroup, no mount.
    #[track_caller]
    pub(crate) fn is_gone(&self) {
        self.call(&["state", &self.id]).failure("does not exist");
        let left = fs::read_dir(self.place.join("state")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "records are left");
        let cgroup = self.bundle.config()["linux"]["cgroupsPath"].clone();
        let cgroup = cgroup.as_str().expect("a path");
        assert!(gantry_testkit::kernel::cgroups(cgroup).is_empty());
        assert!(gantry_testkit::kernel::mounts(self.place.dir()).is_empty());
    }
}

/// The cgroup of a process, of version 2.
pub(crate) fn folder(pid: i32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let inner = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new("/sys/fs/cgroup").join(inner.expect("a cgroup of version 2"))
}
