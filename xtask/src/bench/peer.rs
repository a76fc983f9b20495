//! Debian's dockerd with its own containerd, on private roots.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::scratch::{IMAGE, Scratch};

/// A running dockerd; ended when dropped.
pub(crate) struct Docker {
    dir: PathBuf,
    daemon: Child,
}

impl Docker {
    pub(crate) fn start(scratch: &Scratch) -> Result<Self> {
        let dir = scratch.path("docker");
        fs::create_dir_all(&dir)?;
        let log = fs::File::create(dir.join("log"))?;
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("-H")
            .arg(format!("unix://{}", dir.join("sock").display()))
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                "--storage-driver=overlay2",
            ])
            .arg("--cgroup-parent")
            .arg(cgroup_parent())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd: install docker.io")?;
        let docker = Self { dir, daemon };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !docker
            .docker()
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success())
        {
            if Instant::now() > deadline {
                let log = fs::read_to_string(docker.dir.join("log")).unwrap_or_default();
                bail!("dockerd did not come up:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(docker)
    }

    /// `docker` on this daemon.
    pub(crate) fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.dir.join("sock").display()));
        command
    }

    /// Imports the bench image.
    pub(crate) fn import(&self, scratch: &Scratch) -> Result<()> {
        let mut import = self
            .docker()
            .args(["import", "-", IMAGE])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        import
            .stdin
            .take()
            .context("stdin of docker import")?
            .write_all(&scratch.tar()?)?;
        let status = import.wait()?;
        if !status.success() {
            bail!("docker import: {status}");
        }
        Ok(())
    }

    /// What dockerd's shim is given for a container of the image with these flags.
    pub(crate) fn config(&self, flags: &[String]) -> Result<serde_json::Value> {
        let name = "configured";
        let run = ["run", "--detach", "--network=none", "--name", name];
        let mut command = self.docker();
        let output = command
            .args(run)
            .args(flags)
            .args([IMAGE, "sleep", "1000"])
            .output()?;
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            bail!("docker run: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let tasks = "exec/containerd/daemon/io.containerd.runtime.v2.task/moby";
        let config = fs::read(self.dir.join(tasks).join(id).join("config.json"))?;
        super::measure::once(template(&self.docker()).command(&["rm", "--force", name]))?;
        Ok(serde_json::from_slice(&config)?)
    }

    /// The process ids of dockerd and of its containerd.
    pub(crate) fn pids(&self) -> Result<(u32, u32)> {
        let containerd = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid"))?;
        Ok((self.daemon.id(), containerd.trim().parse()?))
    }

    /// Ends it and waits until it is gone.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.daemon.try_wait()?.is_none() {
            let ended = Command::new("kill").arg(self.daemon.id().to_string()).status()?;
            if !ended.success() {
                bail!("kill dockerd: {ended}");
            }
            self.daemon.wait()?;
            crate::leaks::remove_cgroup(&cgroup_parent())?;
        }
        Ok(())
    }
}

/// The cgroup that its containers are below.
fn cgroup_parent() -> String {
    format!("/gantry-bench-docker-{}", std::process::id())
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// A command's program and arguments, to which others are added.
pub(crate) struct Template(Vec<std::ffi::OsString>);

/// Keeps what a command is made of.
pub(crate) fn template(command: &Command) -> Template {
    Template(
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(ToOwned::to_owned)
            .collect(),
    )
}

impl Template {
    /// The command with more arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut words = self.0.iter();
        let mut command = Command::new(words.next().map(|w| w.as_os_str()).unwrap_or_default());
        command.args(words).args(args);
        command
    }
}
