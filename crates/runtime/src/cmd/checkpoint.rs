//! `checkpoint` and `restore`.

use gantry_runtime_core::checkpoint::{self as core, Options};
use gantry_runtime_core::config::Config;
use gantry_runtime_core::state::Container;
use gantry_runtime_core::{exe, foreground, lifecycle};

use super::create::{Flags, absolute, failed, prepare_options};
use super::{Outcome, sentence};
use crate::args::{Args, Flag, Global, unknown};

/// Switches and values that are criu's own, which only pass through here.
const SWITCHES: &[&str] = &[
    "tcp-established",
    "skip-in-flight",
    "link-remap",
    "ext-unix-sk",
    "shell-job",
    "lazy-pages",
    "file-locks",
    "auto-dedup",
];

/// Takes a flag that both commands have. None: it is none of these.
fn common(options: &mut Options, args: &mut Args, flag: Flag) -> Result<Option<Flag>, String> {
    let name = match flag.name.as_str() {
        // Here it says of what.
        "tcp-skip-in-flight" => "skip-in-flight",
        other => other,
    };
    if let Some(switch) = SWITCHES.iter().find(|switch| **switch == name) {
        if flag.on()? {
            options.switches.push(switch);
        }
        return Ok(None);
    }
    match name {
        "image-path" => options.image_path = absolute(&args.value(flag)?)?,
        "work-path" => options.work_path = Some(absolute(&args.value(flag)?)?),
        "empty-ns" => match args.value(flag)?.as_str() {
            "network" => options.values.push(("empty-ns", "net".to_owned())),
            other => return Err(format!("namespace {other:?} is not supported")),
        },
        "manage-cgroups-mode" => match args.value(flag)?.as_str() {
            "" => {}
            mode @ ("soft" | "full" | "strict" | "ignore") => {
                options.values.push(("manage-cgroups", mode.to_owned()));
            }
            _ => return Err("Invalid manage-cgroups-mode value".to_owned()),
        },
        _ => return Ok(Some(flag)),
    }
    Ok(None)
}

fn defaults() -> Result<Options, String> {
    Ok(Options {
        image_path: absolute("checkpoint")?,
        ..Options::default()
    })
}

/// What criu is told of cgroups if nobody says anything.
fn finish(options: &mut Options, mode: &str) {
    if !options.values.iter().any(|(name, _)| *name == "manage-cgroups") {
        options.values.push(("manage-cgroups", mode.to_owned()));
    }
}

pub(super) fn checkpoint(global: &Global, mut args: Args) -> Outcome {
    let mut options = defaults()?;
    while let Some(flag) = args.flag() {
        let Some(flag) = common(&mut options, &mut args, flag)? else {
            continue;
        };
        match flag.name.as_str() {
            "parent-path" => options.parent_path = Some(args.value(flag)?.into()),
            "leave-running" => options.leave_running = flag.on()?,
            "pre-dump" => options.pre_dump = flag.on()?,
            "status-fd" => options.values.push(("status-fd", args.value(flag)?)),
            "page-server" => page_server(&mut options, &args.value(flag)?)?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("checkpoint")?;
    args.end("checkpoint")?;
    finish(&mut options, "soft");
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    core::checkpoint(&container, &options, &global.open_log()?)
        .map(|()| 0)
        .map_err(sentence)
}

fn page_server(options: &mut Options, text: &str) -> Result<(), String> {
    let (address, port) = text
        .rsplit_once(':')
        .filter(|(address, port)| !address.is_empty() && port.parse::<u16>().is_ok())
        .ok_or_else(|| "Use --page-server ADDRESS:PORT to specify page server".to_owned())?;
    options.switches.push("page-server");
    options.values.push(("address", address.to_owned()));
    options.values.push(("port", port.to_owned()));
    Ok(())
}

pub(super) fn restore(global: &Global, mut args: Args) -> Outcome {
    let mut options = defaults()?;
    let mut flags = Flags::default();
    while let Some(flag) = args.flag() {
        let Some(flag) = common(&mut options, &mut args, flag)? else {
            continue;
        };
        match flag.name.as_str() {
            "lsm-profile" => options.values.push(("lsm-profile", args.value(flag)?)),
            "lsm-mount-context" => options.values.push(("lsm-mount-context", args.value(flag)?)),
            _ => flags.take(&mut args, flag, true)?,
        }
    }
    let id = args.id("restore")?;
    args.end("restore")?;
    // It is in the cgroup already, and stays there with all that it makes.
    finish(&mut options, "ignore");
    let failed = failed("restore");
    if flags.subreaper && !flags.detach {
        gantry_runtime_core::host::become_subreaper().map_err(sentence)?;
    }
    let signals = match flags.detach {
        true => None,
        false => Some(foreground::hold_signals().map_err(sentence)?),
    };
    exe::protect().map_err(|error| failed(error.into()))?;
    let config = Config::load(&flags.bundle).map_err(&failed)?;
    let create = prepare_options(global, &mut flags)?;
    let created = core::restore(&global.root, &id, &config, &create, &options).map_err(&failed)?;
    let Some(signals) = signals else { return Ok(0) };
    let code = foreground::attend(created.pid, &created.pidfd, &signals, None).map_err(sentence)?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    lifecycle::delete(&container, true, &create.log).map_err(sentence)?;
    Ok(u8::try_from(code).unwrap_or(255))
}
