//! Where the time of one `run` goes, from one call of the kernel that every runtime makes to the next. perf tells the moments of
//! these few calls; everything else runs as it does unwatched.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

/// The calls that are watched: the program's first, and those between two steps.
const CALLS: &str = "brk,clone,clone3,pivot_root,execve,exit_group";

/// What lies between them, in order. The namespaces, the program's execution and the program itself are the floor: every
/// container has them.
const STEPS: [&str; 7] = [
    "configuration read, checked",
    "namespaces: clone3 (floor)",
    "mounts, devices, cgroup",
    "root changed, restrictions",
    "program executed (floor)",
    "program runs (floor)",
    "end noticed, all removed",
];

/// Whether perf is here and may watch.
pub(crate) fn can() -> bool {
    let watched = Command::new("perf")
        .args(["trace", "-o", "/dev/null", "-e", "brk", "true"])
        .output();
    watched.is_ok_and(|output| output.status.success())
}

/// Runs the command of each turn under watch; how long each step took, a value for each turn. A runtime that makes its containers
/// in another way has none.
pub(crate) fn measure(
    command: impl Fn(usize) -> Command,
    runs: usize,
    scratch: &Path,
) -> Result<Vec<(&'static str, Vec<Duration>)>> {
    let mut steps: Vec<(&'static str, Vec<Duration>)> = STEPS.map(|name| (name, Vec::new())).into();
    for turn in 0..runs {
        let work = command(turn);
        let mut perf = Command::new("perf");
        perf.args(["trace", "-T", "-e", CALLS, "-o"]).arg(scratch);
        perf.arg(work.get_program()).args(work.get_args());
        super::measure::once(perf)?;
        let said = fs::read_to_string(scratch).context("read what perf wrote")?;
        let Some(took) = between(&events(&said)) else {
            continue;
        };
        for ((_, times), took) in steps.iter_mut().zip(took) {
            times.push(took);
        }
    }
    steps.retain(|(_, times)| !times.is_empty());
    Ok(steps)
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    thread: u64,
    call: String,
    /// Milliseconds from the machine's start.
    begun: f64,
    /// The same; of a call that never returns when it began.
    ended: f64,
    returned: Option<u64>,
}

/// perf's lines: `BEGUN ( TOOK ms): COMM/THREAD CALL(ARGUMENTS) = RETURNED`, where a call that others interrupt has two, the second
/// with the time it took.
fn events(said: &str) -> Vec<Event> {
    let mut calls: BTreeMap<(u64, u64), Event> = BTreeMap::new();
    for line in said.lines() {
        let Some((begun, rest)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let Some((took, rest)) = rest.trim_start_matches([' ', '(']).split_once("): ") else {
            continue;
        };
        // The first word of a command may be anything, so the thread is what stands between the last slash and a space.
        let Some((who, what)) = rest.split_once(' ') else {
            continue;
        };
        let thread = who.rsplit('/').next().and_then(|thread| thread.parse().ok());
        let (Ok(begun), Some(thread)) = (begun.parse::<f64>(), thread) else {
            continue;
        };
        let took = took.trim_end_matches("ms").trim().parse::<f64>().unwrap_or(0.0);
        let what = what.trim_start().trim_start_matches("... [continued]: ");
        let call = what.split('(').next().unwrap_or_default().to_owned();
        let returned = what.rsplit('=').next().and_then(|word| {
            let number = word.split_whitespace().next()?;
            number.parse().ok()
        });
        let event = Event {
            thread,
            call,
            begun,
            ended: begun + took,
            returned,
        };
        // Of two lines of one call the later one is whole.
        calls.insert(((begun * 1000.0) as u64, thread), event);
    }
    calls.into_values().collect()
}

/// How long each of [`STEPS`] took; none when the calls are not those of a runtime that clones what becomes the container.
fn between(events: &[Event]) -> Option<[Duration; 7]> {
    let first = events.first()?;
    let pivot = events.iter().find(|event| event.call == "pivot_root")?;
    let clone = events
        .iter()
        .find(|event| event.call.starts_with("clone") && event.returned == Some(pivot.thread))?;
    let of = |thread: u64, call: &str, from: f64| {
        events
            .iter()
            .find(|event| event.thread == thread && event.call == call && event.begun >= from)
    };
    let execve = of(pivot.thread, "execve", pivot.begun)?;
    let exit = of(pivot.thread, "exit_group", execve.begun)?;
    let end = of(first.thread, "exit_group", exit.begun)?;
    let moments = [
        first.begun,
        clone.begun,
        clone.ended,
        pivot.begun,
        execve.begun,
        execve.ended,
        exit.begun,
        end.begun,
    ];
    let mut took = [Duration::ZERO; 7];
    for (took, pair) in took.iter_mut().zip(moments.windows(2)) {
        *took = Duration::from_secs_f64((pair[1] - pair[0]).max(0.0) / 1000.0);
    }
    Some(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
         ? (         ): gantry-runtime/10  ... [continued]: execve())                            = 0
 100.000 ( 0.001 ms): gantry-runtime/10 brk()                                             = 0x5555
 101.000 ( 0.700 ms): gantry-runtime/10 clone3(uargs: 0x7fff33121230, size: 88)           = 11
 103.000 ( 0.060 ms): gantry-runtime/11 pivot_root(new_root: 0x7e, put_old: 0x7e)         = 0
 104.000 (         ): gantry-runtime/11 execve(filename: 0x6f, argv: 0x55, envp: 0x55)    ...
 104.000 ( 0.200 ms): true/11  ... [continued]: execve())                                 = 0
 104.500 (         ): true/11 exit_group()                                                = ?
 106.000 (         ): gantry-runtime/10 exit_group()                                      = ?
";

    #[test]
    fn steps_lie_between_calls() {
        let milliseconds: Vec<f64> = between(&events(SAID))
            .expect("the steps")
            .map(|took| (took.as_secs_f64() * 1e4).round() / 10.0)
            .into();
        assert_eq!(milliseconds, [1.0, 0.7, 1.3, 1.0, 0.2, 0.3, 1.5]);
    }

    #[test]
    fn who_makes_containers_in_another_way_has_no_steps() {
        assert_eq!(between(&events(&SAID.replace("= 11", "= 12"))), None);
        assert_eq!(between(&events("")), None);
    }
}
