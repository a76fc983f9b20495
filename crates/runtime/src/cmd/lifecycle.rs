//! `start`, `kill`, `delete`, `pause`, `resume`.

use gantry_runtime_core::lifecycle as core;
use gantry_runtime_core::signal;
use gantry_runtime_core::state::Container;

use super::{Outcome, sentence};
use crate::args::{Args, Global, unknown};

/// A command that has no flags.
fn only_id(global: &Global, mut args: Args, command: &str) -> Result<Container, String> {
    if let Some(flag) = args.flag() {
        return Err(unknown(&flag));
    }
    let id = args.id(command)?;
    args.end(command)?;
    Container::load(&global.root, &id).map_err(sentence)
}

pub(super) fn start(global: &Global, args: Args) -> Outcome {
    core::start(&only_id(global, args, "start")?, &global.open_log()?)
        .map(|()| 0)
        .map_err(sentence)
}

pub(super) fn pause(global: &Global, args: Args) -> Outcome {
    core::pause(&only_id(global, args, "pause")?)
        .map(|()| 0)
        .map_err(sentence)
}

pub(super) fn resume(global: &Global, args: Args) -> Outcome {
    core::resume(&only_id(global, args, "resume")?)
        .map(|()| 0)
        .map_err(sentence)
}

pub(super) fn kill(global: &Global, mut args: Args) -> Outcome {
    let mut all = false;
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "all" | "a" => all = flag.on()?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("kill")?;
    let name = args.word().unwrap_or_else(|| "SIGTERM".to_owned());
    args.end("kill")?;
    let number = signal::parse(&name).ok_or_else(|| format!("unknown signal {name:?}"))?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    core::kill(&container, number, all).map(|()| 0).map_err(sentence)
}

pub(super) fn delete(global: &Global, mut args: Args) -> Outcome {
    let mut force = false;
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "force" | "f" => force = flag.on()?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("delete")?;
    args.end("delete")?;
    core::delete_id(&global.root, &id, force, &global.open_log()?)
        .map(|()| 0)
        .map_err(sentence)
}
