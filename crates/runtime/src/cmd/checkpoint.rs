//! `checkpoint` and `restore`.

use gantry_runtime_core::checkpoint::{self as core, CgroupsMode, Options, Switch};
use gantry_runtime_core::config::Config;
use gantry_runtime_core::log::Log;
use gantry_runtime_core::state::Container;
use gantry_runtime_core::{exe, foreground, host, lifecycle};

use super::create::{Flags, absolute, check_terminal, failed, prepare_options};
use super::{Outcome, sentence};
use crate::args::{Args, Flag, Global, unknown};

/// Switches that only pass through here.
const SWITCHES: &[(&str, Switch)] = &[
    ("tcp-established", Switch::EstablishedTcp),
    ("tcp-skip-in-flight", Switch::SkipTcpInFlight),
    ("link-remap", Switch::LinkRemap),
    ("ext-unix-sk", Switch::ExternalUnixSockets),
    ("shell-job", Switch::ShellJob),
    ("lazy-pages", Switch::LazyPages),
    ("file-locks", Switch::FileLocks),
    ("auto-dedup", Switch::AutoDedup),
];

/// Takes a flag that both commands have. None: it is none of these.
fn common(options: &mut Options, args: &mut Args, flag: Flag) -> Result<Option<Flag>, String> {
    if let Some((_, switch)) = SWITCHES.iter().find(|(name, _)| *name == flag.name) {
        if flag.on()? {
            options.switches.push(*switch);
        }
        return Ok(None);
    }
    match flag.name.as_str() {
        "image-path" => options.image_path = absolute(&args.value(flag)?)?,
        "work-path" => options.work_path = Some(absolute(&args.value(flag)?)?),
        // The network is left out in any case, as the caller makes it.
        "empty-ns" => match args.value(flag)?.as_str() {
            "network" => {}
            other => return Err(format!("namespace {other:?} is not supported")),
        },
        "manage-cgroups-mode" => {
            options.cgroups = match args.value(flag)?.as_str() {
                "" => None,
                "soft" => Some(CgroupsMode::Soft),
                "full" => Some(CgroupsMode::Full),
                "strict" => Some(CgroupsMode::Strict),
                "ignore" => Some(CgroupsMode::Ignore),
                _ => return Err("Invalid manage-cgroups-mode value".to_owned()),
            }
        }
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

pub(super) fn checkpoint(global: &Global, mut args: Args) -> Outcome {
    let mut options = defaults()?;
    while let Some(flag) = args.flag() {
        let Some(flag) = common(&mut options, &mut args, flag)? else {
            continue;
        };
        match flag.name.as_str() {
            "parent-path" => options.parent_path = Some(args.value(flag)?.into()),
            "leave-running" if flag.on()? => options.switches.push(Switch::LeaveRunning),
            "leave-running" => {}
            "pre-dump" => options.pre_dump = flag.on()?,
            "status-fd" => options.status = status(&args.value(flag)?)?,
            "page-server" => options.page_server = page_server(&args.value(flag)?)?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("checkpoint")?;
    args.end("checkpoint")?;
    let log = global.open_log()?;
    warn_users(&log);
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    core::checkpoint(&container, &options, &log)
        .map(|()| 0)
        .map_err(sentence)
}

/// criu wants root.
fn warn_users(log: &Log) {
    if !host::is_root() {
        log.warn("runc checkpoint is untested with rootless containers");
    }
}

/// None: there is none.
fn status(text: &str) -> Result<Option<i32>, String> {
    let number: i32 = text
        .parse()
        .map_err(|_| format!("invalid value {text:?} for flag -status-fd: a number is needed"))?;
    Ok(Some(number).filter(|number| *number != -1))
}

fn page_server(text: &str) -> Result<Option<(String, u16)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (address, port) = text
        .rsplit_once(':')
        .filter(|(address, port)| !address.is_empty() && !port.is_empty())
        .ok_or_else(|| "Use --page-server ADDRESS:PORT to specify page server".to_owned())?;
    let port = port.parse().map_err(|_| "Invalid port number".to_owned())?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Ok(Some((address.to_owned(), port)))
}

pub(super) fn restore(global: &Global, mut args: Args) -> Outcome {
    let mut options = defaults()?;
    let mut flags = Flags::default();
    while let Some(flag) = args.flag() {
        let Some(flag) = common(&mut options, &mut args, flag)? else {
            continue;
        };
        match flag.name.as_str() {
            "lsm-profile" => options.lsm_profile = Some(args.value(flag)?),
            "lsm-mount-context" => options.lsm_mount_context = Some(args.value(flag)?),
            _ => flags.take(&mut args, flag, true)?,
        }
    }
    let id = args.id("restore")?;
    args.end("restore")?;
    let failed = failed("restore");
    if flags.subreaper && !flags.detach {
        host::become_subreaper().map_err(sentence)?;
    }
    let signals = match flags.detach {
        true => None,
        false => Some(foreground::hold_signals().map_err(sentence)?),
    };
    exe::protect().map_err(|error| failed(error.into()))?;
    let config = Config::load(&flags.bundle).map_err(&failed)?;
    let create = prepare_options(global, &mut flags)?;
    warn_users(&create.log);
    let process = config.spec.process.as_ref();
    let terminal = process.is_some_and(|process| process.terminal);
    check_terminal(flags.detach, terminal, create.console_socket.is_some())
        .map_err(|why| format!("{} restore failed: {why}", crate::help::called()))?;
    let created = core::restore(&global.root, &id, &config, &create, &options).map_err(&failed)?;
    let Some(signals) = signals else { return Ok(0) };
    let code = foreground::attend(created.pid, &created.pidfd, &signals, created.console.as_ref())
        .map_err(sentence)?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    lifecycle::delete(&container, true, &create.log).map_err(sentence)?;
    Ok(u8::try_from(code).unwrap_or(255))
}
