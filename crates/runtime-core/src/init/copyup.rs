//! `tmpcopyup`: a tmpfs begins with what the folder that it covers has in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gantry_sys::path;

use crate::error::{Error, Result};

const O_DIRECTORY: i32 = 0o200_000;
const O_NOFOLLOW: i32 = 0o400_000;
const O_PATH: i32 = 0o10_000_000;
const O_CREAT_EXCL_WRONLY: i32 = 0o301;
const O_NONBLOCK: i32 = 0o4000;

/// Copies what is in the folder `from` into `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for name in names(from)? {
        one(from, to, &name)?;
    }
    Ok(())
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let path = path::of_fd(folder);
    let entries = std::fs::read_dir(&path).map_err(Error::file("failed to read", &path))?;
    entries
        .map(|entry| Ok(entry.map_err(Error::file("failed to read", &path))?.file_name()))
        .collect()
}

/// Opens what is in a folder, and no link.
fn below(folder: BorrowedFd<'_>, name: &OsStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    let how = path::BENEATH | path::NO_SYMLINKS;
    Ok(path::openat2(
        folder,
        Path::new(name),
        flags | O_NOFOLLOW,
        mode,
        how,
    )?)
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let found = path::openat2(from, Path::new(name), O_PATH | O_NOFOLLOW, 0, path::BENEATH)?;
    let stat = path::fstat(found.as_fd())?;
    let mode = stat.st_mode & 0o7777;
    match stat.st_mode & 0o170_000 {
        0o040_000 => {
            path::make_dir_at(to, name, 0o700)?;
            let (source, target) = (
                below(from, name, O_DIRECTORY, 0)?,
                below(to, name, O_DIRECTORY, 0)?,
            );
            copy(source.as_fd(), target.as_fd())?;
        }
        0o100_000 => {
            let mut source = File::from(below(from, name, O_NONBLOCK, 0)?);
            let mut target = File::from(below(to, name, O_CREAT_EXCL_WRONLY, 0o600)?);
            std::io::copy(&mut source, &mut target).map_err(Error::file("failed to copy", name))?;
        }
        0o120_000 => {
            let target = path::read_link(found.as_fd())?;
            path::make_link_at(&target, to, name)?;
            return Ok(path::chown_at(to, name, stat.st_uid, stat.st_gid)?);
        }
        _ => path::make_node_at(to, name, stat.st_mode, stat.st_rdev)?,
    }
    path::chown_at(to, name, stat.st_uid, stat.st_gid)?;
    Ok(path::chmod_at(to, name, mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_is_copied_with_its_links_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("a/b/file"), "text").unwrap();
        std::fs::set_permissions(from.join("a"), PermissionsExt::from_mode(0o1777)).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        let open = |path: &Path| path::open(path, O_DIRECTORY).unwrap();
        copy(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&to.join("a")), 0o1777);
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
    }
}
