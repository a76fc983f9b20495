//! Ids of user namespaces: written by ourselves or by the setuid programs for ordinary users, and namespaces made only for
//! the mapping of a mount.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use gantry_oci::runtime::LinuxIdMapping;
use gantry_sys::process::{self, Forked, Pid};

use crate::error::{Error, Result, chain};

const NEW_USER: u64 = 0x1000_0000;
const SIGKILL: i32 = 9;

/// Maps the ids of a process in a new user namespace.
pub(crate) fn map(pid: Pid, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<()> {
    // Without privileges a group of one's own can be mapped only if none can be given up.
    if process::euid() != 0 && only_own(gids, process::egid()) {
        write(pid, "setgroups", "deny")?;
    }
    one(pid, "uid_map", "newuidmap", uids)?;
    one(pid, "gid_map", "newgidmap", gids)
}

fn only_own(ranges: &[LinuxIdMapping], id: u32) -> bool {
    matches!(ranges, [range] if range.host_id == id && range.size == 1)
}

fn one(pid: Pid, file: &str, program: &str, ranges: &[LinuxIdMapping]) -> Result<()> {
    let text: String = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size))
        .collect();
    match write(pid, file, &text) {
        // The ranges that are set aside for an ordinary user are given out by the setuid programs.
        Err(_) if process::euid() != 0 => tool(pid, program, ranges),
        other => other,
    }
}

fn write(pid: Pid, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).map_err(Error::file("failed to write", path))
}

fn tool(pid: Pid, program: &str, ranges: &[LinuxIdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in ranges {
        for number in [range.container_id, range.host_id, range.size] {
            command.arg(number.to_string());
        }
    }
    let failed = |why: String| Error::Init(format!("failed to use {program} on {pid}: {why}"));
    let output = command.output().map_err(|error| failed(chain(&error)))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// A user namespace in which nobody is, for the mapping of a mount.
pub(crate) fn namespace(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<OwnedFd> {
    let (ours, theirs) = gantry_sys::socket::pair()?;
    let (pid, _pidfd) = match process::fork(NEW_USER)? {
        Forked::Child => {
            drop(ours);
            // Ended by a signal, or by the end of whoever made us.
            let _ = gantry_sys::socket::receive(std::os::fd::AsFd::as_fd(&theirs), 1);
            process::exit(0)
        }
        Forked::Parent(pid, pidfd) => (pid, pidfd),
    };
    let made = map(pid, uids, gids).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        Ok(gantry_sys::path::open(Path::new(&path), 0)?)
    });
    let _ = process::kill(pid, SIGKILL);
    let _ = process::wait(pid);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_denied_only_where_nothing_else_is_mapped() {
        let range = |host_id, size| LinuxIdMapping {
            container_id: 0,
            host_id,
            size,
        };
        assert!(only_own(&[range(1000, 1)], 1000));
        assert!(!only_own(&[range(1000, 1), range(100_000, 65536)], 1000));
        assert!(!only_own(&[range(100_000, 1)], 1000));
        assert!(!only_own(&[range(1000, 2)], 1000));
    }
}
