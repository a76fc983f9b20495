//! `exec`.

use gantry_runtime_core::exec::{self as core, Options};
use gantry_runtime_core::oci::{LinuxCapabilities, Process};
use gantry_runtime_core::state::Container;
use gantry_runtime_core::{Error, exe, foreground};

use super::create::{absolute, check_descriptors, check_terminal, number};
use super::{Outcome, sentence};
use crate::args::{Args, Global, unknown};

#[derive(Default)]
struct Flags {
    options: Options,
    process: Option<String>,
    cwd: Option<String>,
    env: Vec<String>,
    tty: bool,
    user: Option<String>,
    groups: Vec<u32>,
    detach: bool,
    no_new_privs: Option<bool>,
    caps: Vec<String>,
    apparmor: Option<String>,
    label: Option<String>,
}

fn flags(args: &mut Args) -> Result<Flags, String> {
    let mut flags = Flags::default();
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "console-socket" => flags.options.console_socket = Some(absolute(&args.value(flag)?)?),
            "pidfd-socket" => flags.options.pidfd_socket = Some(absolute(&args.value(flag)?)?),
            "pid-file" => flags.options.pid_file = Some(absolute(&args.value(flag)?)?),
            "preserve-fds" => flags.options.preserve_fds = number(&args.value(flag)?)?,
            "cgroup" => flags.options.cgroups.push(args.value(flag)?),
            "ignore-paused" => flags.options.ignore_paused = flag.on()?,
            "process" | "p" => flags.process = Some(args.value(flag)?),
            "cwd" => flags.cwd = Some(args.value(flag)?),
            "env" | "e" => flags.env.push(args.value(flag)?),
            "tty" | "t" => flags.tty = flag.on()?,
            "user" | "u" => flags.user = Some(args.value(flag)?),
            "additional-gids" | "g" => flags.groups.push(number(&args.value(flag)?)?),
            "detach" | "d" => flags.detach = flag.on()?,
            "no-new-privs" => flags.no_new_privs = Some(flag.on()?),
            "cap" | "c" => flags.caps.push(args.value(flag)?),
            "apparmor" => flags.apparmor = Some(args.value(flag)?),
            "process-label" => flags.label = Some(args.value(flag)?),
            _ => return Err(unknown(&flag)),
        }
    }
    Ok(flags)
}

pub(super) fn exec(global: &Global, mut args: Args) -> Outcome {
    let mut flags = flags(&mut args)?;
    flags.options.log = global.open_log()?;
    let id = args.id("exec")?;
    exe::protect().map_err(|error| sentence(error.into()))?;
    let container = Container::load(&global.root, &id).map_err(failed)?;
    let command = args.rest();
    let process = match &flags.process {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("failed to read {path:?}: {error}"))?;
            serde_json::from_str(&text).map_err(|error| format!("failed to read {path:?}: {error}"))?
        }
        None if command.is_empty() => return Err("exec failed: exec args cannot be empty".to_owned()),
        None => adapted(core::like_init(&container, command).map_err(failed)?, &flags)?,
    };
    let signals = match flags.detach {
        true => None,
        false => Some(foreground::hold_signals().map_err(sentence)?),
    };
    check_terminal(
        flags.detach,
        process.terminal,
        flags.options.console_socket.is_some(),
    )
    .and_then(|()| check_descriptors((3, flags.options.preserve_fds)))
    .map_err(|why| format!("exec failed: {why}"))?;
    let running = core::exec(&container, &process, &flags.options).map_err(failed)?;
    let Some(signals) = signals else { return Ok(0) };
    let code = foreground::attend(running.pid, &running.pidfd, &signals, running.console.as_ref())
        .map_err(sentence)?;
    Ok(u8::try_from(code).unwrap_or(255))
}

fn failed(error: Error) -> String {
    match error {
        Error::Init(why) => format!("exec failed: unable to start container process: {why}"),
        other => format!("exec failed: {}", sentence(other)),
    }
}

/// The container's own process with what the flags change.
fn adapted(mut process: Process, flags: &Flags) -> Result<Process, String> {
    if let Some(cwd) = &flags.cwd {
        process.cwd.clone_from(cwd);
    }
    process.env.extend(flags.env.iter().cloned());
    process.terminal = flags.tty;
    process.no_new_privileges = flags.no_new_privs.unwrap_or(process.no_new_privileges);
    if let Some(user) = &flags.user {
        let (uid, gid) = match user.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (user.as_str(), None),
        };
        if let Some(gid) = gid {
            process.user.gid = gid.parse().map_err(|_| format!("bad gid: {gid:?}"))?;
        }
        process.user.uid = uid.parse().map_err(|_| format!("bad uid: {uid:?}"))?;
    }
    process.user.additional_gids.extend(&flags.groups);
    if !flags.caps.is_empty() {
        let sets = process
            .capabilities
            .get_or_insert_with(LinuxCapabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(flags.caps.iter().cloned());
        }
        // What is not inheritable cannot be ambient, and this flag makes nothing inheritable.
        if !sets.inheritable.is_empty() {
            sets.ambient.extend(flags.caps.iter().cloned());
        }
    }
    if let Some(profile) = &flags.apparmor {
        process.apparmor_profile.clone_from(profile);
    }
    if let Some(label) = &flags.label {
        process.selinux_label.clone_from(label);
    }
    Ok(process)
}
