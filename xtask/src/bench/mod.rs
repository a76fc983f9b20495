//! `bench`: the same work done by Gantry and by Debian's peers in one run, alternating, so that a busy machine is busy
//! for both. Only ratios of one run mean anything.

mod cover;
mod measure;
mod memory;
mod peer;
mod report;
mod runtime;
mod scratch;

use std::path::Path;

use anyhow::{Result, bail};

use crate::binaries::{self, Profile};
use crate::engine::Engine;
use crate::leaks;
use measure::Contender;
use peer::Docker;
use report::Report;
use scratch::{IMAGE, Scratch};

/// Runs the benches whose name contains `only` and prints what came out; fails when something is left behind.
pub(crate) fn run(runs: usize, only: Option<&str>, json: &Path) -> Result<()> {
    if cover::is_needed() {
        return cover::again();
    }
    let binaries = binaries::build(Profile::Release)?;
    let before = leaks::Snapshot::take();
    let mut report = Report::default();
    let wanted = |name: &str| only.is_none_or(|part| name.contains(part));

    let scratch = Scratch::new()?;
    if wanted("runtime") {
        let docker = Docker::start(&scratch)?;
        docker.import(&scratch)?;
        let of_docker = scratch.bundle_of(&docker)?;
        docker.stop()?;
        runtime::compare(&binaries, &scratch, &of_docker, runs, &mut report)?;
        cover::sweep()?;
    }
    if wanted("engine") || wanted("memory") {
        let ours = Engine::start(&binaries)?;
        let theirs = Docker::start(&scratch)?;
        scratch.load(ours.gantry())?;
        theirs.import(&scratch)?;
        if wanted("engine") {
            engine(&ours, &theirs, runs, &mut report)?;
        }
        if wanted("memory") {
            memory::compare(&ours, &theirs, &mut report)?;
        }
        theirs.stop()?;
        ours.stop()?;
    }
    drop(scratch);

    report.print();
    report.write(json)?;
    let left = leaks::settle(&before);
    if !left.is_empty() {
        bail!("left behind:\n  {}", left.join("\n  "));
    }
    Ok(())
}

/// `run --rm --network none` of `true`, and `exec` of it.
fn engine(ours: &Engine, theirs: &Docker, runs: usize, report: &mut Report) -> Result<()> {
    let both = |args: &'static [&'static str]| {
        let (gantry, docker) = (peer::template(&ours.gantry()), peer::template(&theirs.docker()));
        vec![
            Contender::new("gantry", move |_| vec![gantry.command(args)]),
            Contender::new("docker", move |_| vec![docker.command(args)]),
        ]
    };
    let run: &[&str] = &["run", "--rm", "--network", "none", IMAGE, "true"];
    report.times(
        "engine: run --rm of true, no network",
        measure::alternate(&both(run), runs)?,
    );

    let start: &[&str] = &[
        "run",
        "-d",
        "--name",
        "bench",
        "--network",
        "none",
        IMAGE,
        "sleep",
        "1000",
    ];
    for command in both(start) {
        command.turn(0)?;
    }
    report.times(
        "engine: exec of true",
        measure::alternate(&both(&["exec", "bench", "true"]), runs)?,
    );
    report.times(
        "engine: inspect",
        measure::alternate(&both(&["inspect", "bench"]), runs)?,
    );
    report.times(
        "engine: version (a client's round trip)",
        measure::alternate(&both(&["version"]), runs)?,
    );
    for command in both(&["rm", "-f", "bench"]) {
        command.turn(0)?;
    }
    Ok(())
}
