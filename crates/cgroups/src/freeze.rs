//! Who is in a cgroup, and stopping, continuing and killing all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gantry_sys::process::Pid;

use crate::error::{Error, Result};
use crate::files::{children, gone, read, write};
use crate::layout::Version;
use crate::manager::Manager;

/// How long a freeze may take.
const FREEZE: Duration = Duration::from_secs(10);

/// The same everywhere.
const SIGKILL: i32 = 9;

/// Whether the processes of a cgroup run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezerState {
    /// They do.
    Thawed,
    /// They do not.
    Frozen,
}

impl Manager {
    /// The processes in the cgroup, and those in cgroups below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let folder = self
            .folder("freezer")
            .or(self.folders().first().map(PathBuf::as_path));
        let mut pids = Vec::new();
        if let Some(folder) = folder {
            collect(folder, &mut pids)?;
        }
        // One that was born there may not have come into the others yet.
        if let Some((_, folder)) = self.beside()
            && populated(folder)
        {
            collect(folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops every process of the cgroup, wherever it is.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let Some(folder) = self.folder("freezer") else {
            let controller = "freezer".to_owned();
            return Err(Error::NoController { controller });
        };
        let (wanted, file, value) = match (self.version(), frozen) {
            (Version::V1, true) => (FreezerState::Frozen, "freezer.state", "FROZEN"),
            (Version::V1, false) => (FreezerState::Thawed, "freezer.state", "THAWED"),
            (Version::V2, true) => (FreezerState::Frozen, "cgroup.freeze", "1"),
            (Version::V2, false) => (FreezerState::Thawed, "cgroup.freeze", "0"),
        };
        let deadline = Instant::now() + FREEZE;
        let mut pause = Duration::from_micros(50);
        loop {
            // Version 1 wants to be told again while it freezes: a fork may have slipped through.
            write(&folder.join(file), value)?;
            if self.freezer_state()? == Some(wanted) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let undo = if self.version() == Version::V1 {
                    "THAWED"
                } else {
                    "0"
                };
                let _ = write(&folder.join(file), undo);
                let state = if frozen { "frozen" } else { "thawed" };
                return Err(Error::Slow {
                    path: folder.to_owned(),
                    state,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Whether the cgroup is frozen; none while it is on its way.
    pub fn freezer_state(&self) -> Result<Option<FreezerState>> {
        let Some(folder) = self.folder("freezer") else {
            return Ok(Some(FreezerState::Thawed));
        };
        let (file, frozen, thawed) = match self.version() {
            Version::V1 => ("freezer.state", "FROZEN", "THAWED"),
            Version::V2 => ("cgroup.events", "frozen 1", "frozen 0"),
        };
        let text = match read(&folder.join(file)) {
            Err(Error::Read { source, .. }) if gone(&source) => return Ok(Some(FreezerState::Thawed)),
            other => other?,
        };
        Ok(text.lines().find_map(|line| match line.trim() {
            line if line == frozen => Some(FreezerState::Frozen),
            line if line == thawed => Some(FreezerState::Thawed),
            _ => None,
        }))
    }

    /// Sends SIGKILL to every process of the cgroup, also to those that fork meanwhile.
    pub fn kill(&self) -> Result<()> {
        if self.version() == Version::V2
            && let Some(folder) = self.folders().first()
            && fs::write(folder.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        if self.kill_beside() {
            // Who is frozen ends when it goes on.
            return match self.freezer_state() {
                Ok(Some(FreezerState::Thawed)) => Ok(()),
                _ => self.thaw(),
            };
        }
        // Frozen, nobody forks. A freeze that fails is only slower: the loop finds who was made meanwhile.
        let frozen = self.folder("freezer").is_some()
            && self.pids().is_ok_and(|p| !p.is_empty())
            && self.freeze().is_ok();
        for _ in 0..10 {
            let pids = self.pids().unwrap_or_default();
            for pid in &pids {
                let _ = gantry_sys::process::kill(*pid, SIGKILL);
            }
            if frozen || pids.is_empty() {
                break;
            }
        }
        if frozen {
            self.thaw()?;
        }
        Ok(())
    }

    /// Kills by way of the unified hierarchy beside those of version 1, if all of the container's processes are there.
    fn kill_beside(&self) -> bool {
        let Some((_, folder)) = self.beside() else {
            return false;
        };
        // In this order: who comes meanwhile is the child of one that is killed, or found the next time.
        let (mut all, mut here) = (Vec::new(), Vec::new());
        if let Some(freezer) = self
            .folder("freezer")
            .or(self.folders().first().map(PathBuf::as_path))
        {
            let listed = collect(freezer, &mut all).and_then(|()| collect(folder, &mut here));
            if listed.is_err() || all.iter().any(|pid| !here.contains(pid)) {
                return false;
            }
        }
        fs::write(folder.join("cgroup.kill"), "1").is_ok()
    }
}

/// Whether a cgroup of the unified hierarchy, or one below it, has processes.
fn populated(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.events")).is_ok_and(|text| text.starts_with("populated 1"))
}

fn collect(folder: &Path, pids: &mut Vec<Pid>) -> Result<()> {
    match read(&folder.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<Pid>().ok())),
        Err(Error::Read { source, .. }) if gone(&source) => return Ok(()),
        // A threaded cgroup of version 2 has no processes of its own.
        Err(Error::Read { source, .. }) if source.raw_os_error() == Some(95) => {}
        Err(error) => return Err(error),
    }
    for child in children(folder) {
        collect(&child, pids)?;
    }
    Ok(())
}
