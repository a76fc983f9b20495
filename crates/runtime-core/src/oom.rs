//! How readily the kernel kills a process when memory runs out. Must not know whether it is a container's first.

use std::fs;

use gantry_oci::runtime::Process;
use gantry_sys::process::{self, Pid};

use crate::error::{Error, Result};

/// Sets it as is asked for. Written by us: the process may not be allowed to lower its own.
pub(crate) fn set(pid: Pid, process: &Process) -> Result<()> {
    let Some(score) = process.oom_score_adj else {
        return Ok(());
    };
    let path = format!("/proc/{pid}/oom_score_adj");
    match fs::write(&path, score.to_string()) {
        // An ordinary user may not make a kill less likely.
        Err(_) if process::euid() != 0 => Ok(()),
        other => other.map_err(Error::file("failed to write", path)),
    }
}
