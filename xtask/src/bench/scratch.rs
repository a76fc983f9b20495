//! What the benches work on: a root file system of busybox, a bundle of it, and an image archive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::image;

/// The image of busybox in both engines.
pub(crate) const IMAGE: &str = "bench/busybox:latest";

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
        config["process"]["args"] = json!(["true"]);
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(self.path("rootfs"));
        fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(bundle)
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
