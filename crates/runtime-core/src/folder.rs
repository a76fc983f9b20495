//! The folder `ROOT/ID` as such: how it is taken away. Knows nothing of what is written in it.

use std::fs;
use std::io;
use std::path::Path;

use gantry_sys::{mount, procfs};

use crate::error::{Error, Result};

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
        if !crate::is_root() {
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
