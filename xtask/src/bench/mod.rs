//! `bench`: the same work done by Gantry and by Debian's peers in one run, alternating, so that a busy machine is busy
//! for both. Only ratios of one run mean anything.

mod cover;
mod measure;
mod memory;
mod peer;
mod report;
mod runtime;
mod scratch;
mod steps;
mod supervisor;
mod virtually;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::binaries::{self, Profile};
use crate::engine::Engine;
use crate::leaks;
use measure::Contender;
use peer::Docker;
use report::Report;
use scratch::{IMAGE, Scratch};

/// What is measured, and beside whom.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each command is run
    #[arg(long, default_value_t = 30)]
    pub(crate) runs: usize,
    /// Only the benches whose name contains this: runtime, supervisor, engine, memory
    #[arg(long)]
    only: Option<String>,
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Another runtime to measure beside those that are installed, NAME=PATH; several times for several
    #[arg(long = "peer", value_parser = runtime::peer)]
    pub(crate) peers: Vec<(String, PathBuf)>,
    /// How many containers the supervisors hold at the end: 500 need some gigabytes and a while
    #[arg(long, default_value_t = 50)]
    pub(crate) many: usize,
    /// Measure the runtime in the machine of `vm`, with cgroups of version 2; prints the table alone
    #[arg(long)]
    vm: bool,
    /// A folder that a run with --vm made: what is measured in the machine, and on what
    #[arg(long, hide = true)]
    prepared: Option<PathBuf>,
}

/// Runs what was asked for and prints what came out; fails when something is left behind.
pub(crate) fn run(options: &Options) -> Result<()> {
    if cover::is_needed() {
        return cover::again();
    }
    if let Some(folder) = &options.prepared {
        return virtually::measure(folder, options);
    }
    let binaries = binaries::build(Profile::Release)?;
    let before = leaks::Snapshot::take();
    let mut report = Report::default();
    let wanted = |name: &str| options.only.as_deref().is_none_or(|part| name.contains(part));

    let scratch = Scratch::new()?;
    if wanted("runtime") || options.vm {
        let docker = Docker::start(&scratch)?;
        docker.import(&scratch)?;
        let config = scratch.config_of(&docker)?;
        docker.stop()?;
        if options.vm {
            return virtually::prepare_and_run(&binaries, &scratch, &config, options);
        }
        let bundle = scratch.bundle_of(config)?;
        runtime::compare(&binaries, &scratch, &bundle, options, &mut report)?;
        cover::sweep()?;
    }
    if wanted("supervisor") {
        supervisor::compare(&binaries, &scratch, options, &mut report)?;
    }
    if wanted("engine") || wanted("memory") {
        let ours = Engine::start(&binaries)?;
        let theirs = Docker::start(&scratch)?;
        scratch.load(ours.gantry())?;
        theirs.import(&scratch)?;
        if wanted("engine") {
            engine(&ours, &theirs, options.runs, &mut report)?;
        }
        if wanted("memory") {
            memory::compare(&ours, &theirs, &mut report)?;
        }
        theirs.stop()?;
        ours.stop()?;
    }
    drop(scratch);

    report.print();
    report.write(&options.json)?;
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
