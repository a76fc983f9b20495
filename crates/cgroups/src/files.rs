//! The few things done to the kernel's files and folders of cgroups. Knows no controller.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Makes `folder` and what is missing above it.
pub(crate) fn make(mount: &Path, folder: &Path) -> Result<()> {
    let failed = |source| Error::Make {
        path: folder.to_owned(),
        source,
    };
    // Somebody may remove an empty parent between two steps: then begin again.
    let mut attempts = 16;
    loop {
        attempts -= 1;
        let error = match fs::create_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let parent = folder.parent().filter(|parent| parent.starts_with(mount));
        match (error.kind(), parent) {
            (io::ErrorKind::AlreadyExists, _) => return Ok(()),
            (io::ErrorKind::NotFound, Some(parent)) if attempts > 0 => make(mount, parent)?,
            _ => return Err(failed(error)),
        }
    }
}

/// The cgroups right below.
pub(crate) fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes a cgroup and those below it, waiting for processes that are just ending.
pub(crate) fn remove(folder: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(100);
    loop {
        let error = match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => error,
        };
        for child in children(folder) {
            remove(&child, deadline)?;
        }
        if Instant::now() > deadline {
            return Err(Error::Remove {
                path: folder.to_owned(),
                source: error,
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Whether the cgroup, or the process, is no more.
pub(crate) fn gone(error: &io::Error) -> bool {
    // ENODEV: removed while its file was open.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(19)
}

/// Opens a file of the kernel's for writing. Never made: a name that is none is an error.
pub(crate) fn open(path: &Path) -> Result<fs::File> {
    let opened = fs::OpenOptions::new().write(true).open(path);
    opened.map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

/// A descriptor of a cgroup, for a process to be born there.
pub(crate) fn place(folder: &Path) -> Result<OwnedFd> {
    const O_PATH_DIRECTORY: i32 = 0o10_200_000;
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(O_PATH_DIRECTORY)
        .open(folder);
    opened.map(OwnedFd::from).map_err(|source| Error::Open {
        path: folder.to_owned(),
        source,
    })
}

/// Writes a value in one call, as the kernel wants it.
pub(crate) fn write(path: &Path, value: &str) -> Result<()> {
    let failed = |source| Error::Write {
        value: value.to_owned(),
        path: path.to_owned(),
        source,
    };
    io::Write::write_all(&mut open(path)?, value.as_bytes()).map_err(failed)
}

/// Reads all of a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
