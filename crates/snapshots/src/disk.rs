//! Trees on the disk, however deep: measuring and removing them. Knows no snapshot.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Usage};

/// Folders nested deeper than this are moved up before they are removed: each level holds an open file.
const DEEPEST: usize = 64;

fn open_folder(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The entries of a folder without `.` and `..`.
fn entries(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut all = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            all.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(all)
}

/// Disk use of a tree, the folder itself included.
pub(crate) fn usage(root: &Path) -> Result<Usage, Error> {
    let measure = || {
        let mut usage = Usage::default();
        let mut linked = HashSet::new();
        let top = open_folder(CWD, root)?;
        let mut add = |stat: &rustix::fs::Stat| {
            if stat.st_nlink < 2
                || FileType::from_raw_mode(stat.st_mode).is_dir()
                || linked.insert(stat.st_ino)
            {
                usage.size += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
                usage.inodes += 1;
            }
        };
        add(&rustix::fs::fstat(&top)?);
        walk(&top, &mut add)?;
        Ok(usage)
    };
    measure().map_err(|errno: Errno| Error::io("measure", root, errno))
}

/// Visits all that is below `top`. What vanishes meanwhile is passed over; what is nested too deep is not entered.
fn walk(top: &OwnedFd, visit: &mut dyn FnMut(&rustix::fs::Stat)) -> Result<(), Errno> {
    fn inner(folder: &OwnedFd, depth: usize, visit: &mut dyn FnMut(&rustix::fs::Stat)) -> Result<(), Errno> {
        for (name, kind) in entries(folder)? {
            let stat = match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            visit(&stat);
            let is_folder = kind == FileType::Directory
                || kind == FileType::Unknown && FileType::from_raw_mode(stat.st_mode).is_dir();
            if is_folder && depth < DEEPEST * 4 {
                match open_folder(folder.as_fd(), &name) {
                    Err(Errno::NOENT) => {}
                    other => inner(&other?, depth + 1, visit)?,
                }
            }
        }
        Ok(())
    }
    inner(top, 0, visit)
}

/// Moves `from` to be `trash/name`. What is not there any more is moved already.
pub(crate) fn discard(from: &Path, trash: &Path, name: &str) -> Result<(), Error> {
    match std::fs::rename(from, trash.join(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", from, e)),
        _ => Ok(()),
    }
}

/// Removes what is in `trash`: only `name`, if given, and what came from inside it. Goes on after errors.
pub(crate) fn empty(trash: &Path, name: Option<&str>) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io("empty", trash, errno);
    let folder = open_folder(CWD, trash).map_err(failed)?;
    let mut errors = Vec::new();
    let mut moved = 0_u64;
    let mut queue: Vec<CString> = match name {
        Some(name) => CString::new(name).into_iter().collect(),
        None => entries(&folder)
            .map_err(failed)?
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
    };
    while let Some(name) = queue.pop() {
        let mut move_up = |parent: BorrowedFd<'_>, deep: &CString| {
            moved += 1;
            let up = [name.as_bytes(), format!("-{moved}").as_bytes()].concat();
            let up = CString::new(up).map_err(|_| Errno::INVAL)?;
            rustix::fs::renameat(parent, deep, &folder, &up)?;
            queue.push(up);
            Ok(())
        };
        if let Err(errno) = remove(folder.as_fd(), &name, 0, &mut move_up) {
            errors.push(Error::io(
                "remove",
                trash.join(name.to_string_lossy().as_ref()),
                errno,
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Several(errors))
    }
}

type MoveUp<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &CString) -> Result<(), Errno>;

/// Removes one name and all below it, and on an error as much as can be.
fn remove(at: BorrowedFd<'_>, name: &CString, depth: usize, move_up: MoveUp<'_>) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    if depth >= DEEPEST {
        return move_up(at, name);
    }
    let folder = match open_folder(at, name) {
        // It was no folder, and what unlink said is what counts.
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::PERM),
        other => other?,
    };
    let mut first = Ok(());
    for (name, _) in entries(&folder)? {
        let removed = remove(folder.as_fd(), &name, depth + 1, move_up);
        first = first.and(removed);
    }
    first?;
    rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}
