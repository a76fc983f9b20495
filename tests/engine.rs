//! A private engine for one test: the real daemon on roots of its own, killed and started at will, and gone afterwards
//! with everything it made.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gantry_testkit::cmd::{PATIENCE, Said, binaries, run, run_with_input};
use gantry_testkit::image::Image;
use gantry_testkit::kernel;
use gantry_testkit::place::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A private engine. Dropping it removes all it made and fails the test when something stays.
pub struct Engine {
    daemon: Mutex<Option<Child>>,
    place: Place,
    flags: Vec<String>,
}

impl Engine {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::with_flags(&[])
    }

    /// Starts one with further flags of the daemon.
    pub fn with_flags(flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let engine = Self {
            daemon: Mutex::new(None),
            place: Place::new(),
            flags,
        };
        engine.start_daemon();
        engine
    }

    /// The private directory.
    pub fn dir(&self) -> &Path {
        self.place.dir()
    }

    /// The cgroup below which those of its containers are.
    pub fn cgroup(&self) -> &str {
        self.place.cgroup()
    }

    /// The daemon's data root.
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// The daemon's exec root.
    pub fn exec(&self) -> PathBuf {
        self.dir().join("exec")
    }

    /// The value of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("d.sock")
    }

    /// Starts the daemon, which must not run, and waits until it answers.
    pub fn start_daemon(&self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir().join("gantryd.log"));
        let log = log.expect("the daemon's log");
        let mut command = Command::new(binaries().join("gantryd"));
        command
            .arg("--data-root")
            .arg(self.data())
            .arg("--exec-root")
            .arg(self.exec())
            .arg("--pidfile")
            .arg(self.dir().join("d.pid"))
            .args(["--cgroup-parent", self.place.cgroup(), "-H", &self.host()])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the daemon's log"))
            .stderr(log);
        let mut held = self.daemon.lock().expect("the daemon");
        assert!(held.is_none(), "the daemon runs already");
        *held = Some(command.spawn().expect("start gantryd"));
        drop(held);
        self.wait_until(|| self.answers(), "the daemon to answer");
    }

    /// Whether the daemon answers a ping.
    pub fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        ask().unwrap_or(false)
    }

    /// Waits until something is true, or fails the test with the servers' logs.
    #[track_caller]
    pub fn wait_until(&self, mut what: impl FnMut() -> bool, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !what() {
            assert!(
                Instant::now() < deadline,
                "waited {PATIENCE:?} for {name}\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// What the servers logged.
    pub fn logs(&self) -> String {
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            format!(
                "--- {}\n{}\n",
                path.display(),
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        };
        read(self.dir().join("gantryd.log")) + &read(self.exec().join("supervisor.log"))
    }

    /// SIGKILL for the daemon.
    pub fn kill_daemon(&self) {
        if let Some(mut daemon) = self.daemon.lock().expect("the daemon").take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The supervisor's process id.
    pub fn supervisor(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.exec().join("supervisor.pid")).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?);
        kernel::alive(pid.as_raw()).then_some(pid)
    }

    /// SIGKILL for the supervisor; waits until it is gone.
    pub fn kill_supervisor(&self) {
        if let Some(pid) = self.supervisor() {
            let _ = kill(pid, Signal::SIGKILL);
            self.wait_until(|| !kernel::alive(pid.as_raw()), "the supervisor to be gone");
        }
    }

    /// A command of `gantry` on this engine.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binaries().join("gantry"));
        command
            .arg("--host")
            .arg(self.host())
            .args(args)
            .env_remove("DOCKER_HOST");
        command
    }

    /// A command of the real `docker` CLI on this engine.
    pub fn docker_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        // Its configuration is not that of whoever runs the tests.
        command
            .arg("--config")
            .arg(self.dir().join("docker-config"))
            .arg("--host")
            .arg(self.host())
            .args(args);
        command
    }

    /// Runs `gantry` on this engine to its end.
    #[track_caller]
    pub fn gantry<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&mut self.command(args))
    }

    /// Runs the real `docker` CLI on this engine to its end.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&mut self.docker_command(args))
    }

    /// Loads an image of busybox as `busybox:latest`.
    #[track_caller]
    pub fn load_busybox(&self) {
        let archive = Image::busybox().archive("busybox:latest");
        run_with_input(&mut self.command(["load", "-q"]), &archive).success();
    }

    /// Removes every container, as a user would.
    pub fn remove_containers(&self) {
        let ids = self.gantry(["ps", "-aq"]).success();
        let ids: Vec<&str> = ids.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            self.gantry([&["rm", "-f"][..], &ids].concat()).success();
        }
    }
}

/// What an engine without containers must not keep on disk.
fn files_left(dir: &Path) -> Vec<String> {
    let folders = ["exec/shim/moby", "exec/runtime/moby", "exec/s", "data/containers"];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(dir.join(folder)).into_iter().flatten().flatten());
    entries
        .map(|entry| format!("file {}", entry.path().display()))
        .collect()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What failed is said already; the place sweeps what is left.
            println!("{}", self.logs());
            self.kill_daemon();
            self.kill_supervisor();
            return;
        }
        self.remove_containers();
        if let Some(mut daemon) = self.daemon.lock().expect("the daemon").take() {
            let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
            let status = daemon.wait().expect("wait for the daemon");
            assert!(
                status.success(),
                "the daemon ended with {status}\n{}",
                self.logs()
            );
        }
        let supervisor = self.supervisor();
        let another = self.flags.iter().any(|flag| flag.starts_with("--containerd"));
        assert!(
            supervisor.is_some() || another,
            "the supervisor lives on without the daemon\n{}",
            self.logs()
        );
        if let Some(pid) = supervisor {
            let _ = kill(pid, Signal::SIGTERM);
            self.wait_until(|| !kernel::alive(pid.as_raw()), "the supervisor to end");
        }
        // Named by us, it is ours to remove; with a container in it, it stays and is told of.
        for path in kernel::cgroups(self.place.cgroup()) {
            let _ = fs::remove_dir(path);
        }
        let mut left = Vec::new();
        for _ in 0..100 {
            left = kernel::left(self.dir(), self.place.cgroup());
            left.extend(files_left(self.dir()));
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(left.is_empty(), "left behind: {left:#?}\n{}", self.logs());
    }
}
