//! crun refuses a machine whose unified hierarchy beside those of version 1 has controllers. There the whole bench is run
//! where that hierarchy is covered, so that all contenders have the same machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

const UNIFIED: &str = "/sys/fs/cgroup/unified";

fn controllers() -> std::io::Result<String> {
    fs::read_to_string(Path::new(UNIFIED).join("cgroup.controllers"))
}

/// Whether crun would refuse.
pub(crate) fn is_needed() -> bool {
    Path::new("/sys/fs/cgroup/memory").is_dir() && controllers().is_ok_and(|names| !names.trim().is_empty())
}

/// Runs this program once more under a cover and ends as that does.
pub(crate) fn again() -> Result<()> {
    let script = format!(r#"mount -t tmpfs cover {UNIFIED} && exec "$@""#);
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .status()
        .context("run unshare")?;
    match status.success() {
        true => Ok(()),
        false => std::process::exit(status.code().unwrap_or(1)),
    }
}

/// Removes what crun made on the cover in place of cgroups.
pub(crate) fn sweep() -> Result<()> {
    if controllers().is_ok() {
        return Ok(());
    }
    for entry in fs::read_dir(UNIFIED).into_iter().flatten() {
        let path = entry?.path();
        fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
