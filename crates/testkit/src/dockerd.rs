//! Debian's dockerd with its own containerd, on private roots: what Docker does with the same input, or with our pieces below.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cmd::{Said, run, wait_until};
use crate::kernel;
use crate::place::Place;

/// The daemon. Dropped, its containers are removed and it ends.
pub struct Dockerd {
    child: Option<Child>,
    dir: PathBuf,
    cgroup: String,
    flags: Vec<String>,
    path: OsString,
}

impl Dockerd {
    /// Starts one below `place`, and waits until it answers.
    pub fn start(place: &Place) -> Self {
        Self::with(place, &[], &[])
    }

    /// Starts one with further flags, whose containerd looks for shims in `programs` before the rest of PATH.
    pub fn with(place: &Place, flags: &[&str], programs: &[PathBuf]) -> Self {
        let dir = place.join("dockerd");
        fs::create_dir(&dir).expect("a folder for dockerd");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = programs.iter().cloned().chain(std::env::split_paths(&path));
        let mut dockerd = Self {
            child: None,
            dir,
            cgroup: place.cgroup().to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            path: std::env::join_paths(path).expect("a PATH"),
        };
        dockerd.start_daemon();
        dockerd
    }

    fn host(&self) -> String {
        format!("--host=unix://{}", self.dir.join("sock").display())
    }

    /// Starts the daemon, which must not run, and waits until it answers.
    pub fn start_daemon(&mut self) {
        assert!(self.child.is_none(), "dockerd runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .expect("dockerd's log");
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(self.dir.join("data"))
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(self.dir.join("pid"))
            .arg(self.host())
            .arg(format!("--cgroup-parent={}", self.cgroup))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args([
                "--storage-driver=overlay2",
                "--exec-opt=native.cgroupdriver=cgroupfs",
            ])
            .args(&self.flags)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("dockerd's log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd: {error}"));
        self.child = Some(child);
        wait_until("dockerd to answer", || self.docker(&["version"]).code == 0);
    }

    /// SIGKILL. Its containerd is killed by the kernel with it; shims and containers live on.
    pub fn kill_daemon(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            // Nobody is there to remove them, and a new one believes whoever has the number now, be it a zombie.
            let containerd = self.dir.join("exec/containerd/containerd.pid");
            let pid = fs::read_to_string(&containerd).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                wait_until("containerd to be gone", || !kernel::alive(pid));
            }
            let _ = fs::remove_file(containerd);
            let _ = fs::remove_file(self.dir.join("pid"));
        }
    }

    /// A command of `docker` on it.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        // Its configuration is not that of whoever runs the tests.
        command
            .arg("--config")
            .arg(self.dir.join("config"))
            .arg(self.host())
            .args(args);
        command
    }

    /// Runs `docker` on it.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Said {
        run(&mut self.command(args))
    }

    /// What the daemon logged last.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        if let Ok(left) = self.command(["ps", "-aq"]).output() {
            for id in String::from_utf8_lossy(&left.stdout).lines() {
                let _ = self.command(["rm", "-f", id]).output();
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = gantry_sys::process::kill(child.id() as i32, 15);
            let _ = child.wait();
        }
        // It keeps the machine's own namespace there for containers with `--network host`, and leaves it; and one that was killed
        // leaves its folder mounted on itself, which the next believes to be the machine's doing.
        for mount in ["exec/netns/default", "data"] {
            let _ = Command::new("umount")
                .arg("--quiet")
                .arg(self.dir.join(mount))
                .output();
        }
    }
}
