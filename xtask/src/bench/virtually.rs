//! The runtime's bench in the machine of `vm`: the machine that has the engines makes what is worked on, the virtual one measures.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::Report;
use super::scratch::Scratch;
use super::{Options, runtime};
use crate::vm;

/// What dockerd made, in the folder.
const CONFIG: &str = "docker.json";
/// This program in the folder.
const PROGRAM: &str = "xtask";

/// Puts everything into a folder and has the machine measure it.
pub(crate) fn prepare_and_run(
    binaries: &Path,
    scratch: &Scratch,
    config: &Value,
    options: &Options,
) -> Result<()> {
    let folder = scratch.path("prepared");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(CONFIG), serde_json::to_vec(config)?)?;
    let copy = |from: &Path, name: &str| {
        fs::copy(from, folder.join(name)).with_context(|| format!("copy {}", from.display()))
    };
    copy(&std::env::current_exe()?, PROGRAM)?;
    copy(&binaries.join("gantry-runtime"), "gantry-runtime")?;
    let mut script = format!(
        "cd /payload/with && ./{PROGRAM} bench --prepared . --json /tmp/bench.json --runs {}",
        options.runs
    );
    for (name, path) in &options.peers {
        copy(path, &format!("peer-{name}"))?;
        script += &format!(" --peer {name}=peer-{name}");
    }
    vm::run(vm::Task::Run {
        script,
        how: vm::How::with(&folder),
    })
}

/// Measures what is in the folder, here.
pub(crate) fn measure(folder: &Path, options: &Options) -> Result<()> {
    let config = fs::read(folder.join(CONFIG)).context("read what dockerd made")?;
    let scratch = Scratch::new()?;
    let bundle = scratch.bundle_of(serde_json::from_slice(&config)?)?;
    let mut report = Report::default();
    let folder = std::path::absolute(folder)?;
    runtime::compare(&folder, &scratch, &bundle, options, &mut report)?;
    report.print();
    Ok(())
}
