//! The ways into a cgroup.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use gantry_sys::process::Pid;

use crate::error::{Error, Result};
use crate::files::{gone, open, place, write};
use crate::layout::Version;
use crate::manager::{Manager, inner};

/// What moves a whole process into a cgroup.
const PROCESSES: &str = "cgroup.procs";

impl Manager {
    /// Puts a process into the cgroup, everywhere.
    ///
    /// With version 1 the kernel makes every fork of the machine wait for this, and this for them: some milliseconds. A
    /// process that has one thread enters by itself through an [`Entrance`] instead.
    pub fn add(&self, pid: Pid) -> Result<()> {
        self.add_below("", pid)
    }

    /// As [`Manager::add`], for one that was born in the unified hierarchy's cgroup ([`Manager::birthplace`]).
    pub fn add_once_born(&self, pid: Pid) -> Result<()> {
        self.push(self.folders(), Path::new(""), pid)
    }

    /// Puts a process into a cgroup below that of the container (`exec --cgroup`).
    pub fn add_below(&self, sub: &str, pid: Pid) -> Result<()> {
        let inner = inner(sub)?;
        if let Some(unit) = self.unit()
            && !self.entered_by_itself()
        {
            return unit.attach(&inner.to_string_lossy(), pid);
        }
        self.push(self.folders(), &inner, pid)?;
        let beside = self.beside().map(|(_, folder)| folder.to_owned());
        self.push(beside.as_slice(), &inner, pid)
    }

    fn push(&self, folders: &[PathBuf], inner: &Path, pid: Pid) -> Result<()> {
        for folder in folders {
            match write(&folder.join(inner).join(PROCESSES), &pid.to_string()) {
                Err(Error::Open { source, .. }) if self.lenient() && gone(&source) => {}
                Err(error) if self.lenient() && denied(&error) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Whether a process of the caller's may go in without help. An ordinary user's may not leave the cgroup that it is in,
    /// unless systemd, which owns what is above both, moves it.
    pub fn entered_by_itself(&self) -> bool {
        self.unit().is_none_or(|unit| !unit.user)
    }

    /// The way in for a process that is to enter by itself.
    pub fn entrance(&self) -> Result<Entrance> {
        self.entrance_below("")
    }

    /// The same for a process that was born in the unified hierarchy's cgroup ([`Manager::birthplace`]).
    pub fn entrance_once_born(&self) -> Result<Entrance> {
        let doors = self.doors(Path::new(""))?;
        Ok(Entrance { doors, unified: None })
    }

    /// The way to where the container's first process is: the container may have moved it into a cgroup below its own, and
    /// passed its controllers on to that, which leaves no room for processes in its own.
    pub fn entrance_beside(&self, first: Pid) -> Result<Entrance> {
        let (Version::V2, Some((hierarchy, folder))) = (self.version(), self.hierarchies().next()) else {
            return self.entrance();
        };
        let passed_on = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        if passed_on.trim().is_empty() {
            return self.entrance();
        }
        let lines = fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
        let now = lines.lines().find_map(|line| line.strip_prefix("0::/"));
        let now = now.map(|now| hierarchy.mount.join(now));
        match now.as_deref().and_then(|now| now.strip_prefix(folder).ok()) {
            Some(below) => self.entrance_below(&below.to_string_lossy()),
            None => self.entrance(),
        }
    }

    /// The way into a cgroup below that of the container (`exec --cgroup`).
    pub fn entrance_below(&self, sub: &str) -> Result<Entrance> {
        let inner = inner(sub)?;
        let mut doors = self.doors(&inner)?;
        let beside = self.beside().map(|(_, folder)| folder.join(&inner));
        let mut unified = match self.version() {
            Version::V1 => beside,
            Version::V2 => self.folders().first().map(|folder| folder.join(&inner)),
        };
        if let (Version::V1, Some(folder)) = (self.version(), &unified) {
            match open(&folder.join(PROCESSES)) {
                Err(Error::Open { source, .. }) if self.lenient() && gone(&source) => unified = None,
                other => doors.push(other?),
            }
        }
        Ok(Entrance {
            unified: unified.filter(|_| !doors.is_empty()),
            doors,
        })
    }

    fn doors(&self, inner: &Path) -> Result<Vec<fs::File>> {
        // Version 1: one thread that moves itself needs no lock over the forks of the whole machine.
        let file = match self.version() {
            Version::V1 => "tasks",
            Version::V2 => PROCESSES,
        };
        let mut doors = Vec::new();
        for folder in self.folders() {
            match open(&folder.join(inner).join(file)) {
                Err(Error::Open { source, .. }) if self.lenient() && gone(&source) => {}
                other => doors.push(other?),
            }
        }
        Ok(doors)
    }

    /// The way into cgroups below that of the container, for some controllers each: (controller, path). What is not named is
    /// the container's own.
    pub fn entrance_of(&self, below: &[(String, String)]) -> Result<Entrance> {
        let known = |name: &str| {
            let mut all = self.hierarchies().flat_map(|(one, _)| &one.controllers);
            all.any(|own| own == name)
        };
        if let Some((name, _)) = below.iter().find(|(name, _)| !known(name)) {
            return Err(Error::Invalid(format!(
                "unknown controller {name} in SubCgroupPaths"
            )));
        }
        let doors = self.hierarchies().map(|(hierarchy, folder)| {
            let named = below
                .iter()
                .find(|(name, _)| hierarchy.controllers.contains(name));
            let inner = inner(named.map_or("", |(_, path)| path.as_str()))?;
            open(&folder.join(inner).join("tasks"))
        });
        let mut doors: Vec<fs::File> = doors.collect::<Result<_>>()?;
        let unified = self.beside().map(|(_, folder)| folder.to_owned());
        if let Some(folder) = &unified {
            doors.push(open(&folder.join(PROCESSES))?);
        }
        Ok(Entrance { doors, unified })
    }
}

/// Whether the kernel refused for want of rights.
pub(crate) fn denied(error: &Error) -> bool {
    let (Error::Open { source, .. } | Error::Write { source, .. } | Error::Make { source, .. }) = error
    else {
        return false;
    };
    matches!(
        source.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::EROFS)
    )
}

/// The open doors of a cgroup, one for each hierarchy, for a process that enters by itself: opened before the process is
/// made, so that it needs neither the paths nor the right to open them.
#[derive(Debug, Default)]
pub struct Entrance {
    pub(crate) doors: Vec<fs::File>,
    /// The folder of the unified hierarchy, whose door is the last.
    unified: Option<PathBuf>,
}

impl Entrance {
    /// Moves the calling process, which must have one thread. Allocates nothing and opens nothing.
    pub fn enter(&self) -> std::io::Result<()> {
        self.doors
            .iter()
            .try_for_each(|door| gantry_sys::fd::write_all(door.as_fd(), b"0"))
    }

    /// Where in the unified hierarchy a process may be born (`CLONE_INTO_CGROUP`), which costs nothing, while any move there
    /// makes the forks of the machine wait.
    pub fn birthplace(&self) -> Option<OwnedFd> {
        place(self.unified.as_deref()?).ok()
    }

    /// As [`Entrance::enter`], for a process that was born in [`Entrance::birthplace`].
    pub fn enter_once_born(&self) -> std::io::Result<()> {
        let moved = self.doors.len() - usize::from(self.unified.is_some());
        self.doors
            .iter()
            .take(moved)
            .try_for_each(|door| gantry_sys::fd::write_all(door.as_fd(), b"0"))
    }
}
