//! The runtime alone beside crun, runc and, where there is one, youki: on the bundle that `runc spec` makes and on one that dockerd
//! made, with its system-call filter, twenty mounts and limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::measure::{self, Contender, Times};
use super::peer::template;
use super::report::Report;
use super::scratch::Scratch;
use super::{Options, steps};

/// How many containers are run at once, and how many in all.
const AT_ONCE: usize = 8;
const MANY: usize = 100;

/// A runtime, with a root of its own.
#[derive(Clone)]
struct Runtime {
    name: String,
    program: PathBuf,
    root: PathBuf,
}

impl Runtime {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(args);
        command
    }
}

/// A runtime of the command line: `NAME=PATH`.
pub(crate) fn peer(text: &str) -> Result<(String, PathBuf)> {
    let (name, path) = text
        .split_once('=')
        .context("a runtime is given as NAME=PATH, for example crun-new=/tmp/crun")?;
    let path = std::path::absolute(path)?;
    if !path.is_file() {
        bail!("{} is no file", path.display());
    }
    Ok((name.to_owned(), path))
}

/// All that are installed or were named, ours first.
fn all(binaries: &Path, scratch: &Scratch, named: &[(String, PathBuf)]) -> Vec<Runtime> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let runtime = |name: &str, program: &Path| Runtime {
        name: name.to_owned(),
        program: program.to_owned(),
        root: scratch.path(&format!("state-{name}")),
    };
    let peers = ["crun", "runc", "youki"].into_iter().filter(installed);
    std::iter::once(runtime("gantry-runtime", &binaries.join("gantry-runtime")))
        .chain(peers.map(|name| runtime(name, Path::new(name))))
        .chain(named.iter().map(|(name, path)| runtime(name, path)))
        .collect()
}

/// Everything, on both bundles.
pub(crate) fn compare(
    binaries: &Path,
    scratch: &Scratch,
    of_docker: &Path,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let runtimes = all(binaries, scratch, &options.peers);
    let of_spec = scratch.bundle()?;
    for (title, bundle) in [("runc spec", of_spec.as_path()), ("of dockerd", of_docker)] {
        one(title, bundle, &runtimes, scratch, options.runs, report)?;
    }
    many(&of_spec, &runtimes, report)?;
    match steps::can() {
        true => step_by_step(&of_spec, &runtimes, scratch, options.runs, report)?,
        false => {
            println!("no table of steps: there is no perf here, or it may not watch (install linux-perf)")
        }
    }
    if let Some(ours) = runtimes.first() {
        let size = fs::metadata(&ours.program)?.len();
        report.sizes("runtime: size of the binary", &[(&ours.name, size)]);
    }
    Ok(())
}

/// Where the time of a run goes, for each runtime that can be watched.
fn step_by_step(
    bundle: &Path,
    runtimes: &[Runtime],
    scratch: &Scratch,
    runs: usize,
    report: &mut Report,
) -> Result<()> {
    let folder = bundle.to_string_lossy();
    for runtime in runtimes {
        let run = |turn: usize| runtime.command(&["run", "--bundle", &folder, &format!("s{turn}")]);
        let steps = steps::measure(run, runs, &scratch.path("watched"))?;
        report.steps(
            &format!("runtime: run of true, steps of {}", runtime.name),
            &steps,
        );
    }
    Ok(())
}

/// One container at a time.
fn one(
    title: &str,
    bundle: &Path,
    runtimes: &[Runtime],
    scratch: &Scratch,
    runs: usize,
    report: &mut Report,
) -> Result<()> {
    let folder = bundle.to_string_lossy().into_owned();
    let contenders = |work: fn(&Runtime, &str, usize) -> Vec<Command>| -> Vec<Contender> {
        let of = |runtime: &Runtime| {
            let (runtime, folder) = (runtime.clone(), folder.clone());
            Contender::new(&runtime.name.clone(), move |turn| work(&runtime, &folder, turn))
        };
        runtimes.iter().map(of).collect()
    };
    let run: fn(&Runtime, &str, usize) -> Vec<Command> =
        |runtime, folder, turn| vec![runtime.command(&["run", "--bundle", folder, &format!("b{turn}")])];
    let mut runs_of_true = contenders(run);
    let floor = template(&scratch.floor());
    runs_of_true.push(Contender::new("floor: unshare", move |_| {
        vec![floor.command(&[])]
    }));
    report.times(
        &format!("runtime: run of true ({title})"),
        measure::alternate(&runs_of_true, runs)?,
    );
    let lives = measure::alternate(
        &contenders(|runtime, folder, turn| {
            let id = format!("l{turn}");
            vec![
                runtime.command(&["create", "--bundle", folder, &id]),
                runtime.command(&["start", &id]),
                runtime.command(&["delete", "--force", &id]),
            ]
        }),
        runs,
    )?;
    report.times(&format!("runtime: create, start, delete ({title})"), lives);
    let peaks = runtimes
        .iter()
        .map(|runtime| Ok((runtime.name.as_str(), peak(runtime, &folder, scratch)?)));
    report.sizes(
        &format!("runtime: peak memory of create ({title})"),
        &peaks.collect::<Result<Vec<_>>>()?,
    );

    let sleeping = scratch.with_args(bundle, &["sleep", "1000"])?;
    let sleeping = sleeping.to_string_lossy();
    for runtime in runtimes {
        measure::once(runtime.command(&["run", "--detach", "--bundle", &sleeping, &sleeper(runtime)]))?;
    }
    report.times(
        &format!("runtime: exec of true ({title})"),
        measure::alternate(
            &contenders(|runtime, _, _| vec![runtime.command(&["exec", &sleeper(runtime), "true"])]),
            runs,
        )?,
    );
    for runtime in runtimes {
        measure::once(runtime.command(&["delete", "--force", &sleeper(runtime)]))?;
    }
    Ok(())
}

/// The container that a runtime's execs are in: all of them are there at once.
fn sleeper(runtime: &Runtime) -> String {
    format!("sleeps-{}", runtime.name)
}

/// How large a runtime is at most while it creates, in bytes. Asked of `time`, as what we start has our own size at first.
fn peak(runtime: &Runtime, folder: &str, scratch: &Scratch) -> Result<u64> {
    let said = scratch.path("peak");
    let create = runtime.command(&["create", "--bundle", folder, "peak"]);
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%M", "--output"]).arg(&said);
    command.arg(create.get_program()).args(create.get_args());
    measure::once(command).context("measure the memory: install time")?;
    measure::once(runtime.command(&["delete", "--force", "peak"]))?;
    let kilobytes: u64 = fs::read_to_string(&said)?.trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Many, several at once.
fn many(bundle: &Path, runtimes: &[Runtime], report: &mut Report) -> Result<()> {
    let folder = bundle.to_string_lossy();
    let mut all: Vec<Times> = runtimes
        .iter()
        .map(|runtime| measure::times(&runtime.name))
        .collect();
    for round in 0..3 {
        for (runtime, times) in runtimes.iter().zip(&mut all) {
            let (next, begun) = (AtomicUsize::new(0), Instant::now());
            let worker = || -> Result<Duration> {
                let mut used = Duration::ZERO;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MANY {
                        return Ok(used);
                    }
                    let id = format!("m{round}-{number}");
                    used += measure::once(runtime.command(&["run", "--bundle", &folder, &id]))?;
                }
            };
            let used = std::thread::scope(|scope| -> Result<Duration> {
                let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
                let mut used = Duration::ZERO;
                for worker in workers {
                    used += worker.join().map_err(|_| anyhow!("a worker panicked"))??;
                }
                Ok(used)
            })?;
            times.push(begun, used);
        }
    }
    report.times(&format!("runtime: {MANY} containers, {AT_ONCE} at a time"), all);
    Ok(())
}
