//! The folder `ROOT/ID` as such: whose turn it is, and how it is taken away. Knows nothing of what is written in it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gantry_sys::{mount, procfs};

use crate::error::{Error, Result};

/// How long another command may be at work on the container before we give up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to make, start or take away the container: one command's at a time. The folder itself is locked, so nothing is
/// left behind; who is killed holds it no more.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Locked as long as it is open, anywhere: a forked process must close it.
    _folder: File,
}

impl Turn {
    /// Waits for it. None: there is no such folder, or not any more.
    pub(crate) fn wait(folder: &Path) -> Result<Option<Self>> {
        let failed = || Error::file("failed to lock", folder);
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        loop {
            let open = match File::open(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other.map_err(failed())?,
            };
            if !gantry_sys::fd::try_lock(open.as_fd())? {
                if Instant::now() > deadline {
                    let name = folder.file_name().unwrap_or_default().display();
                    return Err(Error::State(format!(
                        "container {name} is being made, started or deleted by another command"
                    )));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
                continue;
            }
            // Meanwhile it may have been removed, and another one made of the same name.
            let ours = open.metadata().map_err(failed())?;
            match fs::metadata(folder) {
                Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Some(Self { _folder: open }));
                }
                _ => {}
            }
        }
    }
}

/// Removes the folder and all in it, but nothing of what is mounted there: that is somebody's, such as a root file system.
/// Whether it was there.
pub(crate) fn remove(folder: &Path) -> Result<bool> {
    // The kernel lists mounts by paths without links.
    let real = match fs::canonicalize(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(Error::file("failed to find", folder))?,
    };
    let mounts =
        || procfs::mounts_below(&real).map_err(Error::file("failed to find the mounts below", folder));
    for point in mounts()?.iter().rev() {
        mount::detach(point)?;
    }
    if let Some(point) = mounts()?.first() {
        return Err(Error::State(format!(
            "refusing to remove {}: {} is still mounted",
            folder.display(),
            point.display()
        )));
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other
            .map(|()| true)
            .map_err(Error::file("failed to remove", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root file system that is mounted there stays whole: also when the way to the folder has links.
    #[test]
    fn what_is_mounted_below_stays() {
        const MS_BIND: u64 = 0x1000;
        if !crate::host::is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let rootfs = place.path().join("rootfs");
        let folder = place.path().join("real/id");
        fs::create_dir_all(folder.join("a b")).unwrap();
        fs::create_dir(&rootfs).unwrap();
        fs::write(rootfs.join("precious"), "").unwrap();
        std::os::unix::fs::symlink("real", place.path().join("link")).unwrap();
        mount::mount(&rootfs, &folder.join("a b"), "", MS_BIND, "").unwrap();
        mount::mount(&rootfs, &folder.join("a b"), "", MS_BIND, "").unwrap();
        assert!(remove(&place.path().join("link/id")).unwrap());
        assert!(rootfs.join("precious").exists());
        assert!(!folder.exists());
        assert!(!remove(&folder).unwrap());
    }
}
