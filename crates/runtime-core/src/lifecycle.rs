//! What happens to a container that is there: start, signals, pauses, limits, deletion.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use gantry_oci::runtime::{LinuxNamespaceType, LinuxResources};
use gantry_sys::process;

use crate::error::{Error, Result, chain};
use crate::folder::Turn;
use crate::hooks;
use crate::log::Log;
use crate::state::{Container, INTENT, PROCESS, Status};

/// How long a killed container may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// Hooks that run wherever the command was given.
const ELSEWHERE: hooks::Place<'static> = hooks::Place {
    folder: None,
    env: None,
};

/// Lets a created container's process execute the user's program.
pub fn start(container: &Container, log: &Log) -> Result<()> {
    const O_WRONLY: i32 = 1;
    const O_NONBLOCK: i32 = 0o4000;
    let turn = container.turn()?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::State(
                "cannot start a container that has stopped".to_owned(),
            ));
        }
        Status::Running => {
            return Err(Error::State(
                "cannot start an already running container".to_owned(),
            ));
        }
        Status::Paused => {
            return Err(Error::State(
                "cannot start a container in the paused state".to_owned(),
            ));
        }
    }
    let fifo = container.fifo();
    // Without a reader it was started before, by somebody who was killed before the FIFO was removed.
    match gantry_sys::path::open(&fifo, O_WRONLY | O_NONBLOCK) {
        Ok(open) => {
            gantry_sys::fd::write_all(open.as_fd(), b"0").map_err(Error::file("failed to write to", &fifo))?
        }
        Err(error) if error.errno() == 6 => {}
        Err(error) => return Err(error.into()),
    }
    std::fs::remove_file(&fifo).map_err(Error::file("failed to remove", &fifo))?;
    // The hooks may take long, and use the runtime themselves.
    drop(turn);
    let hooks = container.spec().hooks.clone().unwrap_or_default();
    if let Err(error) = hooks::run(
        "poststart",
        &hooks.poststart,
        &container.oci_state(Status::Running),
        &ELSEWHERE,
    ) {
        // The specification, since 1.3: it fails the start, and the container's life goes on at its end.
        if let Err(left) = delete(container, true, log) {
            log.warn(&left.chain());
        }
        return Err(error);
    }
    Ok(())
}

/// Sends a signal to the container's first process, or with `all` to every one.
pub fn kill(container: &Container, signal: i32, all: bool) -> Result<()> {
    // Without a namespace of process ids the others would outlive the first one.
    if all || (signal == 9 && !has_own_pids(container)) {
        if container.status()? == Status::Stopped && container.cgroup()?.pids()?.is_empty() {
            return if all { Ok(()) } else { Err(Error::NotRunning) };
        }
        let cgroup = container.cgroup()?;
        let pids = cgroup.pids()?;
        if pids.is_empty() {
            // An ordinary user's may have no cgroup.
            return kill_first(container, signal);
        }
        if signal == 9 {
            return Ok(cgroup.kill()?);
        }
        for pid in pids {
            match process::kill(pid, signal) {
                Err(error) if error.errno() != 3 => return Err(error.into()),
                _ => {}
            }
        }
        return Ok(());
    }
    kill_first(container, signal)
}

fn kill_first(container: &Container, signal: i32) -> Result<()> {
    let status = container.status()?;
    if status == Status::Stopped {
        return Err(Error::NotRunning);
    }
    let pidfd = process::pidfd_open(container.pid()).map_err(|_| Error::NotRunning)?;
    if !container.alive() {
        return Err(Error::NotRunning);
    }
    process::pidfd_signal(pidfd.as_fd(), signal).map_err(|error| match error.errno() {
        3 => Error::NotRunning,
        _ => error.into(),
    })?;
    if status == Status::Paused && signal == 9 {
        // Frozen, it could not die.
        container.cgroup()?.thaw()?;
    }
    Ok(())
}

fn has_own_pids(container: &Container) -> bool {
    let namespaces = container.spec().linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces
        .into_iter()
        .any(|one| one.typ == LinuxNamespaceType::Pid && one.path.is_empty())
}

/// Stops every process of the container where it is.
pub fn pause(container: &Container) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Created => Ok(container.cgroup()?.freeze()?),
        other => Err(Error::State(format!(
            "container not running or created: {}",
            other.word()
        ))),
    }
}

/// Lets them go on.
pub fn resume(container: &Container) -> Result<()> {
    match container.status()? {
        Status::Paused => Ok(container.cgroup()?.thaw()?),
        _ => Err(Error::State("container not paused".to_owned())),
    }
}

/// Changes the container's limits.
pub fn update(container: &Container, resources: &LinuxResources, log: &Log) -> Result<()> {
    if container.status()? == Status::Stopped {
        return Err(Error::NotRunning);
    }
    let cgroup = container.cgroup()?;
    if let Some(what) = cgroup.ignored(resources) {
        log.warn(what);
    }
    Ok(cgroup.set(resources)?)
}

/// Deletes a stopped container; with `force` it is killed before. One that somebody else has deleted meanwhile is not found,
/// also when another one has its id by now.
pub fn delete(container: &Container, force: bool, log: &Log) -> Result<()> {
    let _turn = container.turn()?;
    delete_in_turn(container, force, log)
}

/// Deletes whatever has the id: a container, or what was left of one that was being made.
pub fn delete_id(root: &Path, id: &str, force: bool, log: &Log) -> Result<()> {
    crate::config::check_id(id)?;
    let Some(_turn) = Turn::wait(&root.join(id))? else {
        return if force { Ok(()) } else { Err(Error::NotFound) };
    };
    match Container::load(root, id) {
        Ok(container) => delete_in_turn(&container, force, log),
        // Killed in the middle of a `create`, it left a folder without a record.
        Err(Error::NotFound) => delete_remains(root, id).map(drop),
        // A record that cannot be read stands in the way of the id, and of the end of what runs under it.
        Err(Error::Json { .. } | Error::State(_) | Error::File { .. }) if force => {
            delete_remains(root, id).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn delete_in_turn(container: &Container, force: bool, log: &Log) -> Result<()> {
    match container.status()? {
        Status::Stopped => {}
        // Its program never ran: there is nothing to lose.
        Status::Created => end(container)?,
        _ if force => end(container)?,
        status => {
            return Err(Error::State(format!(
                "cannot delete container {} that is not stopped: {}",
                container.id(),
                status.word()
            )));
        }
    }
    remove(container, log)
}

fn end(container: &Container) -> Result<()> {
    let cgroup = container.cgroup()?;
    if let Ok(pidfd) = process::pidfd_open(container.pid()) {
        if container.alive() {
            let _ = process::pidfd_signal(pidfd.as_fd(), 9);
            let _ = cgroup.thaw();
        }
        process::pidfd_wait(pidfd.as_fd(), DEATH)?;
    }
    Ok(())
}

/// Takes everything of a stopped container away. What fails does not keep the rest from being removed.
fn remove(container: &Container, log: &Log) -> Result<()> {
    let cgroup = container.cgroup()?;
    // Without a namespace of process ids others may have outlived the first one.
    clear(&cgroup)?;
    let hooks = container.spec().hooks.clone().unwrap_or_default();
    let state = container.oci_state(Status::Stopped);
    let hooked = hooks::run("poststop", &hooks.poststop, &state, &ELSEWHERE);
    let destroyed = cgroup.destroy().map_err(Error::from);
    let forgotten = match &destroyed {
        Ok(()) => container.forget(),
        Err(_) => Ok(()),
    };
    // The specification: a failing poststop hook is a warning.
    if let Err(error) = hooked {
        log.warn(&error.chain());
    }
    let failures: Vec<String> = [destroyed, forgotten]
        .into_iter()
        .filter_map(Result::err)
        .map(|e| chain(&e))
        .collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::State(format!(
            "failed to delete container {}: {}",
            container.id(),
            failures.join("; ")
        ))),
    }
}

/// Kills whoever is in a cgroup, and waits until they are gone.
pub(crate) fn clear(cgroup: &gantry_cgroups::Manager) -> Result<()> {
    let deadline = Instant::now() + DEATH;
    while cgroup.pids().is_ok_and(|pids| !pids.is_empty()) && Instant::now() < deadline {
        cgroup.kill()?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Ends a process that was noted, if it is still that one.
fn end_noted(note: &str) -> Result<()> {
    let Some((Ok(pid), Ok(start))) = note.split_once(' ').map(|(a, b)| (a.parse(), b.parse::<u64>())) else {
        return Ok(());
    };
    if let Ok(pidfd) = process::pidfd_open(pid)
        && gantry_sys::procfs::stat(pid).is_some_and(|stat| stat.start_time == start)
    {
        let _ = process::pidfd_signal(pidfd.as_fd(), 9);
        process::pidfd_wait(pidfd.as_fd(), DEATH)?;
    }
    Ok(())
}

/// Removes what a `create` left that was killed before it wrote the record. Whether there was anything.
fn delete_remains(root: &Path, id: &str) -> Result<bool> {
    let folder = root.join(id);
    if let Ok(note) = std::fs::read_link(folder.join(PROCESS)) {
        end_noted(&note.to_string_lossy())?;
    }
    if let Ok(path) = std::fs::read_link(folder.join(INTENT)) {
        // Its process may wait there to be started by somebody who does not know of it.
        let cgroup = gantry_cgroups::Manager::recall(&path.to_string_lossy())?;
        clear(&cgroup)?;
        cgroup.destroy()?;
    }
    crate::folder::remove(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is in no cgroup is found by its note, and nobody else of the same number is.
    #[test]
    fn a_noted_process_is_ended() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id() as process::Pid;
        let folder = tempfile::tempdir().unwrap();
        crate::state::Claim::note_process(folder.path(), pid).unwrap();
        end_noted(&format!("{pid} 1")).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        let id = folder.path().file_name().unwrap().to_str().unwrap();
        assert!(delete_remains(folder.path().parent().unwrap(), id).unwrap());
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()),
            Some(9)
        );
        std::fs::create_dir(folder.path()).unwrap();
    }
}
