//! What the benches work on: a root file system of busybox, a bundle of it, and an image archive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::peer::Docker;
use crate::image;

/// The image of busybox in both engines.
pub(crate) const IMAGE: &str = "bench/busybox:latest";

/// Where volumes are in a container, followed by a number.
const BOUND: &str = "/bound";

/// A folder of our own, removed when dropped.
pub(crate) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        let scratch = Self { dir };
        let bin = scratch.path("rootfs/bin");
        fs::create_dir_all(&bin).with_context(|| format!("make {}", bin.display()))?;
        fs::copy("/bin/busybox", bin.join("busybox")).context("copy /bin/busybox: install busybox-static")?;
        for applet in ["sh", "true", "sleep", "cat", "echo", "seq", "yes", "head"] {
            symlink("busybox", bin.join(applet))?;
        }
        for folder in ["proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(scratch.path("rootfs").join(folder))?;
        }
        Ok(scratch)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The bundle that `runc spec` makes, with `true` for its process and no terminal.
    pub(crate) fn bundle(&self) -> Result<PathBuf> {
        let bundle = self.path("bundle");
        fs::create_dir_all(&bundle)?;
        let made = Command::new("runc")
            .args(["spec", "--bundle"])
            .arg(&bundle)
            .status()
            .context("run runc spec")?;
        if !made.success() {
            bail!("runc spec: {made}");
        }
        let path = bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        // One that older contenders know too.
        config["ociVersion"] = json!("1.0.2");
        config["process"]["args"] = json!(["true"]);
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(self.path("rootfs"));
        fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(bundle)
    }

    /// What dockerd makes of a container with its system-call filter, twenty mounts and limits.
    pub(crate) fn config_of(&self, docker: &Docker) -> Result<Value> {
        let bound = self.path("bound");
        fs::create_dir_all(&bound)?;
        let volumes = (0..10).map(|number| format!("--volume={}:{BOUND}{number}", bound.display()));
        let limits = [
            "--memory=64m",
            "--cpus=1",
            "--pids-limit=100",
            "--ulimit=nofile=1000",
        ];
        let args: Vec<String> = volumes.chain(limits.map(str::to_owned)).collect();
        docker.config(&args)
    }

    /// The bundle of such a container. What belongs to that one alone is taken out: its network, its hooks, its files.
    pub(crate) fn bundle_of(&self, mut config: Value) -> Result<PathBuf> {
        let (bound, empty) = (self.path("bound"), self.path("empty"));
        fs::create_dir_all(&bound)?;
        fs::write(&empty, "")?;
        config["process"]["args"] = json!(["true"]);
        config["root"]["path"] = json!(self.path("rootfs"));
        // Each contender's container has one of its own, by its name.
        config["linux"]["cgroupsPath"] = Value::Null;
        config["hooks"] = json!({});
        for mount in config["mounts"]
            .as_array_mut()
            .context("the mounts of dockerd's bundle")?
        {
            let names =
                |field: &str, part: &str| mount[field].as_str().is_some_and(|text| text.contains(part));
            if names("source", "/containers/") {
                mount["source"] = json!(empty);
            } else if names("destination", BOUND) {
                mount["source"] = json!(bound);
            }
        }
        self.write_bundle("bundle-of-docker", &config)
    }

    fn write_bundle(&self, name: &str, config: &Value) -> Result<PathBuf> {
        let bundle = self.path(name);
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("config.json"), serde_json::to_vec(config)?)?;
        Ok(bundle)
    }

    /// A bundle like another, with another command.
    pub(crate) fn with_args(&self, bundle: &Path, args: &[&str]) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
        config["process"]["args"] = json!(args);
        self.write_bundle("bundle-with-args", &config)
    }

    /// The least that a container costs: its namespaces and its program, made by util-linux.
    pub(crate) fn floor(&self) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup",
            ])
            .args(["--propagation", "unchanged"])
            .arg(self.path("rootfs/bin/busybox"))
            .arg("true");
        command
    }

    /// The root file system as a tar archive.
    pub(crate) fn tar(&self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        tar.append_dir_all(".", self.path("rootfs"))?;
        Ok(tar.into_inner()?)
    }

    /// Loads the image into our engine.
    pub(crate) fn load(&self, mut gantry: Command) -> Result<()> {
        let archive = self.path("image.tar");
        image::pack_layer(&self.tar()?, &["sh"], IMAGE, &archive)?;
        run(gantry.args(["load", "-q", "-i"]).arg(&archive))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs a command that must succeed.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?}: {}",
            Path::new(command.get_program()),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
