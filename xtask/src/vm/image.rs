//! The machine itself: kernel, initial ramdisk and root file system, made from Debian's packages once and kept under the
//! digest of everything that went into them. Knows nothing of what will run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{disk, initramfs, quietly, tool};

/// Debian's release.
const SUITE: &str = "bookworm";

/// What the root file system has beside the essential packages. The kernel comes by the script, without the tools that
/// would make an initial ramdisk of their own.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "criu",
    "crun",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "libpam-systemd",
    "mount",
    "passwd",
    "procps",
    "runc",
    "strace",
    "systemd",
    "systemd-sysv",
    "time",
    "uidmap",
    "util-linux",
];

/// Folders that nobody reads in a machine that lives for a minute.
const LEFT_OUT: &[&str] = &["doc", "man", "locale", "info", "zoneinfo"];

/// Fetches the kernel and sets the system up: `$1` is the root file system.
const CUSTOMIZE: &str = include_str!("customize.sh");

/// Runs the payload.
const UNIT: &str = include_str!("payload.service");

/// Megabytes of the disk; a file with holes.
const SIZE: u64 = 1024;

/// What is booted.
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) root: PathBuf,
}

/// The image, made if it is not there.
pub(crate) fn ready(cache: &Path) -> Result<Image> {
    let folder = cache.join(key());
    if !folder.is_dir() {
        let begun = Instant::now();
        println!("making the machine's image (once)");
        fs::create_dir_all(cache)?;
        // Made beside it and renamed: there whole or not at all.
        let making = cache.join(format!("making-{}", std::process::id()));
        let made = make(&making).and_then(|()| Ok(fs::rename(&making, &folder)?));
        let _ = fs::remove_dir_all(&making);
        made.or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })?;
        println!("made in {:.0} s", begun.elapsed().as_secs_f64());
    }
    Ok(Image {
        kernel: folder.join("vmlinuz"),
        initramfs: folder.join("initramfs"),
        root: folder.join("root.ext4"),
    })
}

/// Whatever changes the image changes this.
fn key() -> String {
    let mut all = Sha256::new();
    for part in PACKAGES.iter().chain(LEFT_OUT).chain(initramfs::MODULES).chain(&[
        SUITE,
        CUSTOMIZE,
        UNIT,
        initramfs::INIT,
    ]) {
        all.update(part.as_bytes());
        all.update([0]);
    }
    let digest = all.finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let script = folder.join("customize.sh");
    fs::write(&script, CUSTOMIZE)?;
    fs::write(folder.join("payload.service"), UNIT)?;
    let root = folder.join("root");
    quietly(bootstrap(&script, &root).env("TMPDIR", folder))?;
    let kernel = kernel(&root)?;
    fs::copy(
        root.join("boot").join(format!("vmlinuz-{kernel}")),
        folder.join("vmlinuz"),
    )?;
    let modules = root.join("lib/modules").join(&kernel);
    fs::write(folder.join("initramfs"), initramfs::pack(&modules)?)?;
    disk(&root, &folder.join("root.ext4"), SIZE)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// The command that fills `root`.
fn bootstrap(script: &Path, root: &Path) -> Command {
    let mut command = tool("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase"]);
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command.arg("--aptopt=Acquire::Languages \"none\"");
    for name in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{name}/*"));
    }
    command.arg(format!("--customize-hook=sh {} \"$1\"", script.display()));
    command.arg(SUITE).arg(root);
    command
}

/// The version of the kernel that is in `root`.
fn kernel(root: &Path) -> Result<String> {
    let found = fs::read_dir(root.join("lib/modules")).context("the kernel's modules")?;
    let mut versions: Vec<String> = found
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    match (versions.pop(), versions.is_empty()) {
        (Some(version), true) => Ok(version),
        (last, _) => bail!("expected one kernel in the image: {versions:?} {last:?}"),
    }
}
