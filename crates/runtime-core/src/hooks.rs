//! Hooks: programs that are run at points of a container's life, with its state on standard input.

use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gantry_oci::runtime::{Hook, State};

use crate::error::{Error, Result, chain};

/// Where hooks run.
pub(crate) struct Place<'a> {
    /// Their working directory; ours when none is given.
    pub(crate) folder: Option<&'a Path>,
    /// The environment of those that have none of their own; ours when none is given.
    pub(crate) env: Option<&'a [String]>,
}

/// Runs hooks in order; the first that fails ends it.
pub(crate) fn run(name: &str, hooks: &[Hook], state: &State, place: &Place<'_>) -> Result<()> {
    for (at, hook) in hooks.iter().enumerate() {
        one(hook, state, place)
            .map_err(|why| Error::Init(format!("error running {name} hook #{at}: {why}")))?;
    }
    Ok(())
}

fn one(hook: &Hook, state: &State, place: &Place<'_>) -> Result<(), String> {
    let input = serde_json::to_vec(state).map_err(|error| error.to_string())?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    let given = (!hook.env.is_empty()).then_some(hook.env.as_slice());
    if let Some(env) = given.or(place.env) {
        command
            .env_clear()
            .envs(env.iter().filter_map(|pair| pair.split_once('=')));
    }
    if let Some(folder) = place.folder {
        command.current_dir(folder);
    }
    // Kept in memory rather than in pipes, which fill up when nobody reads them (the state too, if it is long), and which a
    // descendant may keep open.
    let memory = |name| gantry_sys::fd::memory(name).map(std::fs::File::from);
    let mut stdout = memory("stdout").map_err(|error| chain(&error))?;
    let mut stderr = memory("stderr").map_err(|error| chain(&error))?;
    let shared = |file: &std::fs::File| file.try_clone().map(Stdio::from).map_err(|error| chain(&error));
    let mut stdin = memory("stdin").map_err(|error| chain(&error))?;
    stdin
        .write_all(&input)
        .and_then(|()| stdin.rewind())
        .map_err(|error| error.to_string())?;
    command
        .stdin(stdin)
        .stdout(shared(&stdout)?)
        .stderr(shared(&stderr)?);
    let mut child = command
        .spawn()
        .map_err(|error| format!("failed to run {:?}: {}", hook.path, chain(&error)))?;
    let deadline = hook
        .timeout
        .and_then(|s| u64::try_from(s).ok())
        .map(|s| Instant::now() + Duration::from_secs(s));
    let pidfd = gantry_sys::process::pidfd_open(child.id() as i32).map_err(|error| chain(&error))?;
    let limit = deadline.map_or(Duration::MAX, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    let ended = gantry_sys::process::pidfd_wait(std::os::fd::AsFd::as_fd(&pidfd), limit)
        .map_err(|error| chain(&error))?;
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!(
            "{:?} did not end within {} s",
            hook.path,
            hook.timeout.unwrap_or_default()
        ));
    }
    let status = child.wait().map_err(|error| chain(&error))?;
    if status.success() {
        return Ok(());
    }
    let how = match status.code() {
        Some(code) => format!("exit status {code}"),
        None => format!(
            "signal: {}",
            signal_words(std::os::unix::process::ExitStatusExt::signal(&status))
        ),
    };
    Err(format!(
        "{how}, stdout: {}, stderr: {}",
        said(&mut stdout),
        said(&mut stderr)
    ))
}

/// What ended a hook, in the words that callers know.
fn signal_words(number: Option<i32>) -> String {
    let words = match number {
        Some(1) => "hangup",
        Some(2) => "interrupt",
        Some(3) => "quit",
        Some(4) => "illegal instruction",
        Some(6) => "aborted",
        Some(7) => "bus error",
        Some(9) => "killed",
        Some(11) => "segmentation fault",
        Some(13) => "broken pipe",
        Some(15) => "terminated",
        Some(31) => "bad system call",
        other => return format!("signal {}", other.unwrap_or_default()),
    };
    words.to_owned()
}

/// The beginning of what a hook wrote.
fn said(file: &mut std::fs::File) -> String {
    const ENOUGH: u64 = 4096;
    let mut bytes = Vec::new();
    // What cannot be read is left out: it only explains.
    let _ = file.rewind();
    let _ = file.take(ENOUGH).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
