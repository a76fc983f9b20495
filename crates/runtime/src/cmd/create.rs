//! `create` and `run`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gantry_runtime_core::config::Config;
use gantry_runtime_core::create::{Created, Options};
use gantry_runtime_core::error::Error;
use gantry_runtime_core::state::Container;
use gantry_runtime_core::{create as core, exe, foreground, lifecycle};

use super::{Outcome, sentence};
use crate::args::{Args, Flag, Global, unknown};

/// What is said of the container that is to be made.
pub(super) struct Flags {
    pub(super) bundle: PathBuf,
    options: Options,
    pub(super) detach: bool,
    keep: bool,
    pub(super) subreaper: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            bundle: PathBuf::from("."),
            options: Options::default(),
            detach: false,
            keep: false,
            subreaper: true,
        }
    }
}

impl Flags {
    /// Takes one; `run`: also those for a process that is stayed with.
    pub(super) fn take(&mut self, args: &mut Args, flag: Flag, run: bool) -> Result<(), String> {
        match flag.name.as_str() {
            "bundle" | "b" => self.bundle = args.value(flag)?.into(),
            "console-socket" => self.options.console_socket = Some(absolute(&args.value(flag)?)?),
            "pidfd-socket" => self.options.pidfd_socket = Some(absolute(&args.value(flag)?)?),
            "pid-file" => self.options.pid_file = Some(absolute(&args.value(flag)?)?),
            "no-pivot" => self.options.no_pivot = flag.on()?,
            "no-new-keyring" => self.options.no_new_keyring = flag.on()?,
            "preserve-fds" => self.options.preserve_fds = number(&args.value(flag)?)?,
            "detach" | "d" if run => self.detach = flag.on()?,
            "keep" if run => self.keep = flag.on()?,
            "no-subreaper" if run => self.subreaper = !flag.on()?,
            _ => return Err(unknown(&flag)),
        }
        Ok(())
    }
}

fn flags(args: &mut Args, run: bool) -> Result<Flags, String> {
    let mut flags = Flags::default();
    while let Some(flag) = args.flag() {
        flags.take(args, flag, run)?;
    }
    Ok(flags)
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("invalid value {text:?}: a number is needed"))
}

/// A path that stays right when the working directory changes.
pub(super) fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("invalid path {path:?}: {error}"))
}

/// What every failure of the two begins with, in runc's shape.
pub(super) fn failed(command: &str) -> impl Fn(Error) -> String {
    let (name, command) = (crate::help::called(), command.to_owned());
    move |error| match error {
        Error::Init(why) => {
            format!("{name} {command} failed: unable to start container process: {why}")
        }
        other => format!("{name} {command} failed: {}", sentence(other)),
    }
}

/// The options of a command with those that stand before it.
pub(super) fn prepare_options(global: &Global, flags: &mut Flags) -> Result<Options, String> {
    let mut options = std::mem::take(&mut flags.options);
    options.listen_fds = passed_by_socket_activation();
    options.rootless = global.rootless;
    options.systemd_cgroup = global.systemd_cgroup;
    options.log = global.open_log()?;
    Ok(options)
}

fn make(global: &Global, id: &str, flags: &mut Flags, command: &str) -> Result<Created, String> {
    let failed = failed(command);
    let begun = Instant::now();
    exe::protect().map_err(|error| failed(error.into()))?;
    let config = Config::load(&flags.bundle).map_err(&failed)?;
    let options = prepare_options(global, flags)?;
    let terminal = config
        .spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let kept = (options.listen_fds.saturating_add(3), options.preserve_fds);
    check_terminal(
        flags.detach || command == "create",
        terminal,
        options.console_socket.is_some(),
    )
    .and_then(|()| check_descriptors(kept))
    .map_err(|why| format!("{} {command} failed: {why}", crate::help::called()))?;
    let created = core::create(&global.root, id, &config, &options).map_err(failed)?;
    gantry_runtime_core::host::trace(
        &format!("{command} {id}: {}", config.summary(id)),
        begun.elapsed(),
    );
    Ok(created)
}

/// Whether somebody will hold the terminal, and nobody waits for one in vain.
pub(super) fn check_terminal(detach: bool, terminal: bool, socket: bool) -> Result<(), String> {
    match (detach, terminal, socket) {
        (true, true, false) => {
            Err("cannot allocate tty if runc will detach without setting console socket".to_owned())
        }
        (false, _, true) | (_, false, true) => {
            Err("cannot use console socket if runc will not detach or allocate tty".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether the descriptors are there that are to be passed: so many from the first.
pub(super) fn check_descriptors((first, count): (u32, u32)) -> Result<(), String> {
    let there = |number: &u32| {
        Path::new(&format!("/proc/self/fd/{number}"))
            .symlink_metadata()
            .is_ok()
    };
    let end = first
        .checked_add(count)
        .filter(|end| i32::try_from(*end).is_ok())
        .ok_or_else(|| format!("{count} descriptors from {first} on are more than there can be"))?;
    match (first..end).find(|number| !there(number)) {
        None => Ok(()),
        Some(number) => Err(format!(
            "unable to stat preserved-fd {} (of {count}): no such file or directory",
            number - first
        )),
    }
}

/// `LISTEN_FDS`: descriptors that systemd's protocol passes on, if it is us that they are passed to.
fn passed_by_socket_activation() -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn create(global: &Global, mut args: Args) -> Outcome {
    let mut flags = flags(&mut args, false)?;
    let id = args.id("create")?;
    args.end("create")?;
    make(global, &id, &mut flags, "create").map(|_| 0)
}

pub(super) fn run(global: &Global, mut args: Args) -> Outcome {
    let mut flags = flags(&mut args, true)?;
    let id = args.id("run")?;
    args.end("run")?;
    if flags.subreaper && !flags.detach {
        gantry_runtime_core::host::become_subreaper().map_err(sentence)?;
    }
    let signals = match flags.detach {
        true => None,
        false => Some(foreground::hold_signals().map_err(sentence)?),
    };
    let created = make(global, &id, &mut flags, "run")?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    if let Err(error) = lifecycle::start(&container, &global.open_log()?) {
        // Unless it is deleted already, as a failing hook has it.
        let _ = lifecycle::delete(&container, true, &global.open_log()?);
        return Err(failed("run")(error));
    }
    let Some(signals) = signals else { return Ok(0) };
    let code = foreground::attend(created.pid, &created.pidfd, &signals, created.console.as_ref())
        .map_err(sentence)?;
    if !flags.keep {
        lifecycle::delete(&container, true, &global.open_log()?).map_err(sentence)?;
    }
    Ok(u8::try_from(code).unwrap_or(255))
}
