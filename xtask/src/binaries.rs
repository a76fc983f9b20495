//! Builds the binaries: the small three statically, the servers and the CLI as usual, and the embedded image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{image, root};

/// Linked statically (glibc's crt-static): they run in foreign mount namespaces and cost no dynamic loading.
const STATIC: &[(&str, &str)] = &[
    ("gantry-runtime", "gantry-runtime"),
    ("gantry-shim", "gantry-shim"),
    ("gantry-hello", "gantry-hello"),
];

const DYNAMIC: &[&str] = &["gantry-supervisord", "gantry-daemon", "gantry-cli"];

/// Which of cargo's profiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `target/debug`: what the tests run.
    Dev,
    /// `target/release`: what users run.
    Release,
}

/// Builds everything and returns the folder of the binaries.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let mut dynamic = cargo("build", profile);
    for package in DYNAMIC {
        dynamic.args(["--package", package]);
    }
    run(dynamic)?;
    for (package, bin) in STATIC {
        let mut one = cargo("rustc", profile);
        // Given to the last crate alone: proc macros and build scripts stay dynamic, and no --target changes the folder.
        one.args([
            "--package",
            package,
            "--bin",
            bin,
            "--",
            "-C",
            "target-feature=+crt-static",
        ]);
        if profile == Profile::Release {
            // There is one of them for every container: a fifth smaller is worth the time.
            one.args(["-C", "lto=fat", "-C", "codegen-units=1"]);
        }
        run(one)?;
    }
    let folder = folder(profile)?;
    image::pack(&folder.join("gantry-hello"), &folder.join(image::ARCHIVE))?;
    Ok(folder)
}

/// Where cargo puts the binaries of a profile.
pub(crate) fn folder(profile: Profile) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(dir).context("CARGO_TARGET_DIR")?,
        None => root().join("target"),
    };
    Ok(target.join(if profile == Profile::Release {
        "release"
    } else {
        "debug"
    }))
}

/// cargo with its subcommand, in the workspace, at a profile.
pub(crate) fn cargo(subcommand: &str, profile: Profile) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    // What cargo told this program of its own package: build scripts that look at it (ring's does) would run once more.
    for (name, _) in std::env::vars_os() {
        let of_ours = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if of_ours
            .iter()
            .any(|part| name.to_string_lossy().starts_with(part))
        {
            command.env_remove(name);
        }
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    command
}

/// Runs to the end; a failure names the command.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("run {}", describe(&command)))?;
    if !status.success() {
        bail!("{} failed: {status}", describe(&command));
    }
    Ok(())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            let text = word.to_string_lossy();
            Path::new(&*text)
                .file_name()
                .filter(|_| text.starts_with('/'))
                .map_or(text.to_string(), |n| n.to_string_lossy().into_owned())
        })
        .collect::<Vec<_>>()
        .join(" ")
}
