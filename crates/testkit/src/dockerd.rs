//! Debian's dockerd with its own containerd, on private roots: what Docker does with the same input.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cmd::{Said, run, wait_until};
use crate::place::Place;

/// The daemon. Dropped, its containers are removed and it ends.
pub struct Dockerd {
    child: Child,
    dir: PathBuf,
}

impl Dockerd {
    /// Starts one below `place`, and waits until it answers.
    pub fn start(place: &Place) -> Self {
        let dir = place.join("dockerd");
        fs::create_dir(&dir).expect("a folder for dockerd");
        let log = fs::File::create(dir.join("log")).expect("dockerd's log");
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg(format!("--host=unix://{}", dir.join("sock").display()))
            .arg(format!("--cgroup-parent={}", place.cgroup()))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .arg("--storage-driver=overlay2")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("dockerd's log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd: {error}"));
        let dockerd = Self { child, dir };
        wait_until("dockerd to answer", || dockerd.docker(&["version"]).code == 0);
        dockerd
    }

    /// Runs `docker` on it.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Said {
        run(Command::new("docker")
            .arg(format!("--host=unix://{}", self.dir.join("sock").display()))
            .args(args))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let docker = |args: &[&str]| {
            let host = format!("--host=unix://{}", self.dir.join("sock").display());
            Command::new("docker").arg(host).args(args).output()
        };
        if let Ok(left) = docker(&["ps", "-aq"]) {
            for id in String::from_utf8_lossy(&left.stdout).lines() {
                let _ = docker(&["rm", "-f", id]);
            }
        }
        let _ = gantry_sys::process::kill(self.child.id() as i32, 15);
        let _ = self.child.wait();
    }
}
