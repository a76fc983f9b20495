//! Proportional set size of the servers and of the shim of one idle container.

use std::fs;

use anyhow::{Context, Result};

use super::measure::once;
use super::peer::{Docker, template};
use super::report::Report;
use super::scratch::IMAGE;
use crate::engine::Engine;

/// Starts one idle container on each engine and compares.
pub(crate) fn compare(ours: &Engine, theirs: &Docker, report: &mut Report) -> Result<()> {
    let engines = [template(&ours.gantry()), template(&theirs.docker())];
    for engine in &engines {
        once(engine.command(&[
            "run",
            "-d",
            "--name",
            "idle",
            "--network",
            "none",
            IMAGE,
            "sleep",
            "1000",
        ]))?;
    }
    // What was needed for the start is given back, if it ever is.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let parent = |engine: usize| -> Result<u32> {
        let pid = engines[engine]
            .command(&["inspect", "--format", "{{.State.Pid}}", "idle"])
            .output()?;
        let pid: u32 = String::from_utf8_lossy(&pid.stdout)
            .trim()
            .parse()
            .context("read the container's pid")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let ppid = stat
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .context("find the shim")?;
        Ok(ppid.trim().parse()?)
    };
    let (gantryd, supervisor) = ours.pids()?;
    let (dockerd, containerd) = theirs.pids()?;
    report.sizes(
        "memory: daemon",
        &[("gantryd", pss(gantryd)?), ("dockerd", pss(dockerd)?)],
    );
    report.sizes(
        "memory: supervisor",
        &[
            ("gantry-supervisor", pss(supervisor)?),
            ("containerd", pss(containerd)?),
        ],
    );
    report.sizes(
        "memory: shim of one idle container",
        &[
            ("gantry-shim", pss(parent(0)?)?),
            ("containerd-shim-runc-v2", pss(parent(1)?)?),
        ],
    );
    for engine in &engines {
        once(engine.command(&["rm", "-f", "idle"]))?;
    }
    Ok(())
}

/// In bytes.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("no Pss")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
