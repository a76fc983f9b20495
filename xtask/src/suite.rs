//! `test`: installs what the suites need, builds the binaries they drive, runs everything, tells what was skipped, and looks
//! for leaks.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::binaries::{self, Profile};
use crate::leaks;

/// Debian packages: the real peers, and the tools with which tests look at what we did.
const PACKAGES: &[&str] = &[
    "attr",
    "busybox-static",
    "ca-certificates",
    "containerd",
    "criu",
    "crun",
    "dbus-daemon",
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "gcc",
    "iproute2",
    "jq",
    "libc6-dev",
    "libcap2-bin",
    "mmdebstrap",
    "mount",
    "podman",
    "procps",
    "runc",
    "skopeo",
    "strace",
    "time",
    "tini",
    "uidmap",
    "umoci",
    "util-linux",
    "zstd",
];

/// Runs `cargo test` over the workspace with `args`; fails when a test does or when anything is left behind.
pub(crate) fn run(args: &[String], install: bool) -> Result<()> {
    if install {
        install_packages()?;
    }
    let binaries = binaries::build(Profile::Dev)?;
    let before = leaks::Snapshot::take();
    let mut test = binaries::cargo("test", Profile::Dev);
    if !args
        .iter()
        .any(|arg| arg == "-p" || arg == "--package" || arg.starts_with("--package="))
    {
        test.arg("--workspace");
    }
    let skipped = binaries.join(format!("skipped-{}", std::process::id()));
    test.args(args)
        .env("GANTRY_BIN_DIR", &binaries)
        .env("GANTRY_SKIPPED", &skipped);
    let ended = binaries::run(test);
    tell_skipped(&skipped)?;
    ended?;
    let left = leaks::settle(&before);
    if !left.is_empty() {
        bail!("the tests left behind:\n  {}", left.join("\n  "));
    }
    println!("nothing left behind");
    Ok(())
}

/// Repeats what the tests left out, which they said somewhere in the middle of their output.
fn tell_skipped(file: &Path) -> Result<()> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    let _ = fs::remove_file(file);
    println!("{text}{} checks skipped", text.lines().count());
    Ok(())
}

fn install_packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect();
    install(&missing)
}

/// Installs Debian packages.
pub(crate) fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    apt(&["update", "-qq"])?;
    let mut install = vec![
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "-o",
        "Dpkg::Use-Pty=0",
    ];
    install.extend(missing.iter().copied());
    apt(&install)
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn apt(args: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    let status = apt.status().context(
        "run apt-get (the tests are made for Debian; install the packages by hand and use --no-install)",
    )?;
    if !status.success() {
        bail!("apt-get {} failed: {status}", args[0]);
    }
    Ok(())
}
