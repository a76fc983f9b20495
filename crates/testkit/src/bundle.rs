//! Root file systems of busybox, and bundles around them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cmd::run;
use crate::image::APPLETS;

/// Makes a root file system of Debian's static busybox in `dir`.
pub fn busybox(dir: &Path) {
    for (name, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
    ] {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).expect("a folder of the root file system");
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("set its mode");
    }
    let program = dir.join("bin/busybox");
    crate::cmd::install("/bin/busybox", &program);
    for applet in APPLETS {
        fs::hard_link(&program, dir.join("bin").join(applet)).expect("an applet");
    }
    fs::write(dir.join("etc/passwd"), crate::image::PASSWD).expect("etc/passwd");
    fs::write(dir.join("etc/group"), crate::image::GROUP).expect("etc/group");
}

/// A bundle: a folder with `config.json` and `rootfs`.
#[derive(Clone, Debug)]
pub struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// Makes one in `dir` with busybox and what `runc spec` writes, but without a terminal and for `args`; its container's
    /// cgroup is `cgroup`.
    pub fn new(dir: &Path, cgroup: &str, args: &[&str]) -> Self {
        fs::create_dir_all(dir).expect("the bundle's folder");
        busybox(&dir.join("rootfs"));
        run(Command::new("runc").args(["spec", "--bundle"]).arg(dir)).success();
        let bundle = Self { dir: dir.to_owned() };
        bundle.change(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(args);
            config["root"]["readonly"] = json!(false);
            // Debian's runc asks for what cannot be had, and a newer one warns of it.
            config["process"]["capabilities"]["ambient"] = json!([]);
            config["linux"]["cgroupsPath"] = json!(cgroup);
        });
        bundle
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The configuration.
    pub fn config(&self) -> Value {
        let text = fs::read(self.dir.join("config.json")).expect("config.json");
        serde_json::from_slice(&text).expect("config.json")
    }

    /// Changes the configuration.
    pub fn change(&self, change: impl FnOnce(&mut Value)) -> &Self {
        let mut config = self.config();
        change(&mut config);
        let text = serde_json::to_vec_pretty(&config).expect("config.json");
        fs::write(self.dir.join("config.json"), text).expect("write config.json");
        self
    }

    /// Sets what is run.
    pub fn args(&self, args: &[&str]) -> &Self {
        self.change(|config| config["process"]["args"] = json!(args))
    }

    /// Sets what is run by a shell.
    pub fn shell(&self, script: &str) -> &Self {
        self.args(&["sh", "-c", script])
    }
}
