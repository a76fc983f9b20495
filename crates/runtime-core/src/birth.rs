//! How a container's process comes to be: at once, or where namespaces have to be entered before it is made, by way of one
//! process that enters them and ends. The runtime itself stays where it is, and with it the hooks that it runs.
//!
//! ```text
//! runtime                        stage                                 container's process
//!    │ fork ───────────────────────► │ joins namespaces by path
//!    │ ◄──────────────────────── Map │ unshare(user), if one is made     (only then)
//!    │ Go ─────────────────────────► │
//!    │ ◄──────────────────── Offsets │ unshare(time), if one is made     (only then)
//!    │ Go ─────────────────────────► │
//!    │                               │ clone3(what else is made, CLONE_PARENT) ─► │
//!    │ ◄──────────────── Born + pidfd │ exits                                      │
//! ```

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gantry_oci::runtime::{Linux, LinuxNamespaceType};
use gantry_sys::process::{self, Forked, Pid};
use gantry_sys::{ns, path, prctl};

use crate::error::{Error, Result, chain};
use crate::idmap;
use crate::plan::{self, Join, Namespaces};
use crate::protocol::{Channel, Message};

/// Where a process is to be born: a cgroup's folder, if the kernel allows it (`CLONE_INTO_CGROUP`).
type Birthplace<'a> = Option<BorrowedFd<'a>>;

/// Makes the process, and says whether it was born in `place`. In it this returns too.
pub(crate) fn make(namespaces: &Namespaces, linux: &Linux, place: Birthplace<'_>) -> Result<(Forked, bool)> {
    match namespaces.staged() {
        false => fork(namespaces.clone, place),
        true => by_stage(linux, place, |channel| enter(namespaces, channel)),
    }
}

/// As [`process::fork`], in `place` if that can be: whether it could.
pub(crate) fn fork(flags: u64, place: Birthplace<'_>) -> Result<(Forked, bool)> {
    if place.is_some()
        && let Ok(forked) = process::clone(flags, place)
    {
        return Ok((forked, true));
    }
    Ok((process::fork(flags)?, false))
}

/// Makes a process in namespaces of another one: for who may enter that of users, and the others only from there.
pub(crate) fn make_within(init: BorrowedFd<'_>, flags: i32, place: Birthplace<'_>) -> Result<(Forked, bool)> {
    by_stage(&Linux::default(), place, |_| {
        prctl::set_parent_death_signal(9)?;
        // Root of that namespace, who may be in the container, must not look into us.
        prctl::set_dumpable(false)?;
        ns::join(init, flags)?;
        Ok(process::fork(process::CLONE_PARENT)?)
    })
}

fn by_stage(
    linux: &Linux,
    place: Birthplace<'_>,
    enter: impl FnOnce(&Channel) -> Result<Forked>,
) -> Result<(Forked, bool)> {
    let (ours, theirs) = Channel::pair()?;
    // Children are born where their parents are.
    let (made, born) = fork(0, place)?;
    let stage = match made {
        Forked::Child => {
            drop(ours);
            return Ok((run(enter(&theirs), &theirs), born));
        }
        Forked::Parent(pid, _) => pid,
    };
    drop(theirs);
    let attended = attend(&ours, stage, linux);
    if attended.is_err() {
        let _ = process::kill(stage, 9);
    }
    let _ = process::wait(stage);
    attended.map(|(pid, pidfd)| (Forked::Parent(pid, pidfd), born))
}

/// Does for the stage what only we can.
fn attend(channel: &Channel, stage: Pid, linux: &Linux) -> Result<(Pid, OwnedFd)> {
    loop {
        match channel.receive()? {
            Some((Message::Map, _)) => {
                idmap::map(stage, &linux.uid_mappings, &linux.gid_mappings)?;
                channel.send(&Message::Go, None)?;
            }
            Some((Message::Offsets, _)) => {
                offsets(stage, linux)?;
                channel.send(&Message::Go, None)?;
            }
            Some((Message::Born(pid), Some(pidfd))) => return Ok((pid, pidfd)),
            Some((Message::Failed(why), _)) => return Err(Error::Init(why)),
            _ => {
                return Err(Error::Init(
                    "the process that enters namespaces ended before it was done".to_owned(),
                ));
            }
        }
    }
}

fn offsets(stage: Pid, linux: &Linux) -> Result<()> {
    let path = format!("/proc/{stage}/timens_offsets");
    for (clock, offset) in &linux.time_offsets {
        let line = format!("{clock} {} {}", offset.secs, offset.nanosecs);
        fs::write(&path, line).map_err(Error::file("failed to set the time offsets in", &path))?;
    }
    Ok(())
}

/// The end of the stage's life. Returns in the container's process only.
fn run(made: Result<Forked>, channel: &Channel) -> Forked {
    match made {
        Ok(Forked::Child) => Forked::Child,
        Ok(Forked::Parent(pid, pidfd)) => {
            let _ = channel.send(&Message::Born(pid), Some(pidfd.as_fd()));
            process::exit(0)
        }
        Err(error) => {
            let _ = channel.send(&Message::Failed(error.chain()), None);
            process::exit(1)
        }
    }
}

fn enter(namespaces: &Namespaces, channel: &Channel) -> Result<Forked> {
    prctl::set_parent_death_signal(9)?;
    if process::euid() == 0 || !namespaces.new_user() {
        // Whoever is in a namespace that we join must not look into us. An ordinary user could not map us then, and whoever
        // makes a namespace of users joins none.
        prctl::set_dumpable(false)?;
    }
    join(&namespaces.join_before)?;
    if namespaces.new_user() {
        ns::unshare(plan::flag(LinuxNamespaceType::User))?;
        channel.send(&Message::Map, None)?;
        channel.expect(&Message::Go)?;
        process::become_user(0, 0, None)?;
    }
    if namespaces.new_time {
        ns::unshare(plan::flag(LinuxNamespaceType::Time))?;
        channel.send(&Message::Offsets, None)?;
        channel.expect(&Message::Go)?;
    }
    let user = plan::flag(LinuxNamespaceType::User) as u64;
    Ok(process::fork((namespaces.clone & !user) | process::CLONE_PARENT)?)
}

/// Joins namespaces: those that the host owns as the host's root, then that of users, then those that it owns.
fn join(all: &[Join]) -> Result<()> {
    let user = plan::flag(LinuxNamespaceType::User);
    let mut open = Vec::new();
    for join in all {
        open.push((
            join,
            path::open(Path::new(&join.path), 0).map_err(|error| failed(join, &error))?,
        ));
    }
    let with_user = open.iter().any(|(join, _)| join.flag == user);
    let mut later = Vec::new();
    for (join, namespace) in open.iter().filter(|(join, _)| join.flag != user) {
        match ns::join(namespace.as_fd(), join.flag) {
            Err(error) if with_user && error.errno() == 1 => later.push((join, namespace)),
            other => other.map_err(|error| failed(join, &error))?,
        }
    }
    for (join, namespace) in open.iter().filter(|(join, _)| join.flag == user) {
        ns::join(namespace.as_fd(), join.flag).map_err(|error| failed(join, &error))?;
    }
    for (join, namespace) in later {
        ns::join(namespace.as_fd(), join.flag).map_err(|error| failed(join, &error))?;
    }
    Ok(())
}

/// A namespace that could not be joined.
pub(crate) fn failed(join: &Join, error: &gantry_sys::Error) -> Error {
    Error::Init(format!(
        "failed to join the namespace {}: {}",
        join.path,
        chain(error)
    ))
}
