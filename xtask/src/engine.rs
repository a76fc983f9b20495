//! A private engine: `gantryd` on roots and sockets of its own, in one temporary directory, gone afterwards.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running private engine. Dropping it stops it and removes its directory.
pub(crate) struct Engine {
    binaries: PathBuf,
    dir: PathBuf,
    daemon: Option<Child>,
}

impl Engine {
    /// Starts one with the binaries of a folder and waits until it answers.
    pub(crate) fn start(binaries: &Path) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("gantry-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let mut engine = Self {
            binaries: binaries.to_path_buf(),
            dir,
            daemon: None,
        };
        let log = fs::File::create(engine.dir.join("gantryd.log"))?;
        let daemon = Command::new(engine.binaries.join("gantryd"))
            .arg("--data-root")
            .arg(engine.dir.join("data"))
            .arg("--exec-root")
            .arg(engine.dir.join("exec"))
            .arg("--pidfile")
            .arg(engine.dir.join("gantryd.pid"))
            .arg("--cgroup-parent")
            .arg(cgroup_parent())
            .arg("-H")
            .arg(engine.host())
            .env("GANTRY_TRACE", engine.trace())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start gantryd")?;
        engine.daemon = Some(daemon);
        engine.wait_until_ready()?;
        Ok(engine)
    }

    /// The value of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The process ids of the daemon and of its supervisor.
    pub(crate) fn pids(&self) -> Result<(u32, u32)> {
        let daemon = self.daemon.as_ref().context("the daemon was stopped")?.id();
        let supervisor =
            fs::read_to_string(self.dir.join("exec/supervisor.pid")).context("read supervisor.pid")?;
        Ok((daemon, supervisor.trim().parse().context("read supervisor.pid")?))
    }

    /// Where every layer writes what it did.
    pub(crate) fn trace(&self) -> PathBuf {
        self.dir.join("trace")
    }

    /// `gantry` on this engine.
    pub(crate) fn gantry(&self) -> Command {
        let mut command = Command::new(self.binaries.join("gantry"));
        command.arg("--host").arg(self.host());
        command
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("gantryd.sock")
    }

    /// Whether the daemon answers a ping. It listens before it has recovered, and answers afterwards.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: gantry\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        ask().unwrap_or(false)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if self.answers() {
                return Ok(());
            }
            let exited = self
                .daemon
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if exited.is_some() || Instant::now() > deadline {
                let mut log = String::new();
                fs::File::open(self.dir.join("gantryd.log"))?.read_to_string(&mut log)?;
                bail!("gantryd did not come up:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes the containers, ends the daemon and its supervisor, and takes the directory away.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(());
        };
        if let Ok(listed) = self
            .gantry()
            .args(["ps", "-aq"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
        {
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            if !ids.trim().is_empty() {
                let mut remove = self.gantry();
                remove
                    .args(["rm", "-f"])
                    .args(ids.split_whitespace())
                    .stdout(Stdio::null())
                    .status()?;
            }
        }
        terminate(daemon.id() as i32);
        daemon.wait()?;
        let pid = fs::read_to_string(self.dir.join("exec/supervisor.pid")).ok();
        if let Some(pid) = pid.and_then(|text| text.trim().parse::<i32>().ok()) {
            terminate(pid);
            wait_gone(pid);
        }
        crate::leaks::remove_cgroup(&cgroup_parent())?;
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

/// The cgroup that the engine's containers are below. It is ours to remove: the engine was only told of it.
fn cgroup_parent() -> String {
    format!("/gantry-{}", std::process::id())
}

impl Drop for Engine {
    #[allow(clippy::print_stderr)] // a drop has nobody to return its error to
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Asks a process to end.
#[allow(unsafe_code)]
fn terminate(pid: i32) {
    if pid > 1 {
        // SAFETY: kill takes two integers and touches no memory of ours.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

fn wait_gone(pid: i32) {
    for _ in 0..400 {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
