//! Word of processes killed for want of memory, from a descriptor that an event loop waits on.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::Version;
use crate::manager::Manager;
use crate::stats::pairs;

impl Manager {
    /// Watches for processes killed for want of memory. None where the machine has no memory controller.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some(folder) = self.folder("memory") else {
            return Ok(None);
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: gantry_sys::Error| Error::Read {
                path,
                source: source.into(),
            }
        };
        let name = match self.version() {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let path = folder.join(name);
        let Ok(control) = fs::File::open(&path) else {
            return Ok(None);
        };
        if self.version() == Version::V2 {
            let fd = gantry_sys::fd::watch_changes(&path).map_err(failed(&path))?;
            return Ok(Some(OomWatch {
                fd,
                version: Version::V2,
                killed: kills(&path),
                path,
                _held: None,
            }));
        }
        let fd = gantry_sys::fd::event().map_err(failed(&path))?;
        let value = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        let to = folder.join("cgroup.event_control");
        fs::write(&to, &value).map_err(|source| Error::Write {
            value,
            path: to,
            source,
        })?;
        Ok(Some(OomWatch {
            fd,
            version: Version::V1,
            killed: kills(&path),
            path,
            _held: Some(control),
        }))
    }
}

/// What a watch has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oom {
    /// Nothing that matters.
    Nothing,
    /// Memory was not enough, and something was killed, or is about to be.
    Killed,
    /// The cgroup is gone, and there will be nothing more.
    Gone,
}

/// A descriptor that becomes readable when a process was killed, or the cgroup removed.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    version: Version,
    path: PathBuf,
    /// How many were killed when last looked.
    killed: u64,
    /// The kernel's event lives as long as the file is open.
    _held: Option<fs::File>,
}

impl OomWatch {
    /// Takes what the descriptor has, and says what it means. Also without its being readable: whoever has just seen a
    /// process end hears here whether this was why.
    pub fn take(&mut self) -> Oom {
        let mut buffer = [0_u8; 4096];
        let mut told = false;
        while let Ok(count) = gantry_sys::fd::read(self.fd.as_fd(), &mut buffer) {
            told |= count > 0;
            if count < buffer.len() {
                break;
            }
        }
        if !self.path.exists() {
            return Oom::Gone;
        }
        let killed = kills(&self.path);
        let more = killed > self.killed;
        self.killed = killed;
        // Version 1 tells before it kills: the number may still be the old one. Version 2 tells of much else too.
        match more || (told && self.version == Version::V1) {
            true => Oom::Killed,
            false => Oom::Nothing,
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn kills(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    pairs(&text).get("oom_kill").copied().unwrap_or_default()
}
