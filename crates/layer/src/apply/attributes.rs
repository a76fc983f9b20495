//! Owner, permissions, times and extended attributes of what was made. Knows neither tar nor where it stands.
//!
//! The order matters: a change of owner takes set-uid bits and capabilities away, so it comes first.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::Error;
use crate::tar::{Entry, Kind, Time};

/// Name and value of an extended attribute.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry or a file says about itself.
pub(super) struct Attributes<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) times: Timestamps,
    pub(super) xattrs: &'a [Xattr],
}

impl<'a> Attributes<'a> {
    pub(super) fn of(entry: &'a Entry) -> Result<Self, Error> {
        // The last number means "do not change" to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            let name = crate::error::lossy(&entry.name);
            return Err(Error::Entry {
                name,
                problem: "its owner is out of range",
            });
        };
        Ok(Self {
            uid,
            gid,
            mode: entry.mode,
            times: times(entry),
            xattrs: &entry.xattrs,
        })
    }

    pub(super) fn like(stat: &Stat, xattrs: &'a [Xattr]) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            times: times_of(stat),
            xattrs,
        }
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    /// Gives them to an open file or folder; the times of a folder are for later, when it is full.
    pub(super) fn give(&self, file: &OwnedFd, with_times: bool) -> Result<(), (&'static str, Errno)> {
        let (uid, gid) = self.owner();
        rustix::fs::fchown(file, uid, gid).map_err(|e| ("change owner of", e))?;
        for (name, value) in self.xattrs.iter().filter(|(name, _)| !passed_over(name)) {
            let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            tolerate(name, set, false).map_err(|e| ("set extended attribute of", e))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).map_err(|e| ("change mode of", e))?;
        if with_times {
            rustix::fs::futimens(file, &self.times).map_err(|e| ("set times of", e))?;
        }
        Ok(())
    }

    /// Gives them to what cannot be opened without side effects: links, devices and pipes.
    pub(super) fn give_at(
        &self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
    ) -> Result<(), (&'static str, Errno)> {
        let (uid, gid) = self.owner();
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder, name, uid, gid, nofollow).map_err(|e| ("change owner of", e))?;
        let path = [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), name].concat();
        for (key, value) in self.xattrs.iter().filter(|(name, _)| !passed_over(name)) {
            let set = rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty());
            tolerate(key, set, true).map_err(|e| ("set extended attribute of", e))?;
        }
        if kind != Kind::Symlink {
            let mode = Mode::from_raw_mode(self.mode);
            rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).map_err(|e| ("change mode of", e))?;
        }
        rustix::fs::utimensat(folder, name, &self.times, nofollow).map_err(|e| ("set times of", e))
    }

    /// Whether a file that is there has them, extended ones aside.
    pub(super) fn are_those_of(&self, stat: &Stat) -> bool {
        let modified = times_of(stat).last_modification;
        (self.uid, self.gid, self.mode) == (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777)
            && (modified.tv_sec, modified.tv_nsec)
                == (
                    self.times.last_modification.tv_sec,
                    self.times.last_modification.tv_nsec,
                )
    }
}

/// Attributes that a layer must not bring: overlayfs' own marks, with which it could show what is not its, and the
/// labels of a host's SELinux policy.
fn passed_over(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") || name == b"security.selinux"
}

/// A file system without extended attributes, and a kind of file without `user.` ones, is no reason to fail.
fn tolerate(name: &[u8], set: Result<(), Errno>, special: bool) -> Result<(), Errno> {
    match set {
        Err(Errno::NOTSUP) => Ok(()),
        Err(Errno::PERM) if special && name.starts_with(b"user.") => Ok(()),
        Err(Errno::PERM) if name.starts_with(b"trusted.") => Ok(()),
        other => other,
    }
}

/// The extended attributes of an open file or folder.
pub(super) fn xattrs_of(file: &OwnedFd) -> Result<Vec<Xattr>, Errno> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, names.as_mut_slice()) {
        Err(Errno::NOTSUP) => 0,
        other => other?,
    };
    let mut all = Vec::new();
    for name in names[..length]
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty() && !passed_over(n))
    {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        all.push((name.to_vec(), value));
    }
    Ok(all)
}

/// Takes away the extended attributes that are not among `kept`.
pub(super) fn keep_only(file: &OwnedFd, kept: &[Xattr]) -> Result<(), Errno> {
    for (name, _) in xattrs_of(file)? {
        if kept.iter().any(|(known, _)| *known == name) {
            continue;
        }
        match rustix::fs::fremovexattr(file, name.as_slice()) {
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            other => other?,
        }
    }
    Ok(())
}

fn times(entry: &Entry) -> Timestamps {
    Timestamps {
        last_access: bound(entry.accessed.unwrap_or(entry.modified)),
        last_modification: bound(entry.modified),
    }
}

/// Times before 1970, and those that no 64-bit count of nanoseconds holds, become 1970, as with Docker.
fn bound(time: Time) -> Timespec {
    const LAST: i64 = i64::MAX / 1_000_000_000;
    if !(0..LAST).contains(&time.seconds) {
        return Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
    }
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}

/// The times of a file that is there.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // the types differ between architectures
pub(super) fn times_of(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Sets the times of an open folder.
pub(super) fn set_times(folder: &OwnedFd, times: &Timestamps) -> Result<(), Errno> {
    rustix::fs::futimens(folder, times)
}

/// Opens a folder by path from the process' view: the roots that the caller names, never a path of a layer.
pub(super) fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
