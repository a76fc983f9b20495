//! The root file system's mounts, made for a task on `BUNDLE/rootfs` and taken away with it.

use std::fs;
use std::path::Path;

use gantry_errdefs::Error;
use gantry_shim_api::messages::Mount;

/// Makes them, each below or on the one before.
pub(crate) fn make(rootfs: &Path, mounts: &[Mount]) -> Result<(), Error> {
    for mount in mounts {
        let target = rootfs.join(mount.target.trim_start_matches('/'));
        fs::create_dir_all(&target)
            .map_err(|e| Error::from(e).context(format!("failed to make {}", target.display())))?;
        gantry_sys::mount::mount_described(&mount.r#type, &mount.source, &target, &mount.options).map_err(
            |error| {
                Error::internal(format!(
                    "failed to mount rootfs component: {}",
                    gantry_errdefs::chain(&error)
                ))
            },
        )?;
    }
    Ok(())
}

/// Takes all away that is mounted at or below `rootfs`; what is not there is no error.
pub(crate) fn remove(rootfs: &Path) -> Result<(), Error> {
    let mut failed = None;
    let below = gantry_sys::procfs::mounts_below(rootfs).map_err(Error::from)?;
    for mount in below.iter().rev() {
        if let Err(error) = gantry_sys::mount::detach(mount) {
            failed = Some(Error::internal(gantry_errdefs::chain(&error)));
        }
    }
    failed.map_or(Ok(()), Err)
}
