//! Bind mounts: a copy of a mount gets its flags and is put in its place, which may not be among the kernel's files.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use gantry_oci::runtime::Mount;
use gantry_sys::mount::{self, Attributes, Options};
use gantry_sys::path;

use super::rootfs::set_tree;
use crate::error::{Error, Result};

const O_PATH: i32 = 0o10_000_000;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const MS_REMOUNT: u64 = 0x20;
const MS_BIND_REC: u64 = 0x5000;
/// `MS_NOATIME`, `MS_NODIRATIME`, `MS_RELATIME`, `MS_STRICTATIME`.
const MS_TIMES: u64 = 0x400 | 0x800 | 0x20_0000 | 0x100_0000;
/// `MOUNT_ATTR_…`: the field of access times, and that for folders.
const ATTR_ATIME: u64 = 0x70;
const ATTR_NODIRATIME: u64 = 0x80;
const ATTR_TIMES: u64 = ATTR_ATIME | ATTR_NODIRATIME;
/// Read-only, nosuid, nodev, noexec, nosymfollow.
const ATTR_OTHERS: u64 = 0x1 | 0x2 | 0x4 | 0x8 | 0x20_0000;
/// Those that the host may have locked.
const ATTR_LOCKED: u64 = 0x1 | 0x2 | 0x4 | 0x8;
const EPERM: i32 = 1;

/// Puts a copy of a mount in its place.
pub(super) fn put(
    root: BorrowedFd<'_>,
    one: &Mount,
    destination: &Path,
    options: &Options,
    copy: BorrowedFd<'_>,
) -> Result<()> {
    let is_dir = path::fstat(copy)?.st_mode & 0o170_000 == 0o040_000;
    let place = match is_dir {
        true => path::make_dirs_in_root(root, destination, 0o755)?,
        false => path::make_file_in_root(root, destination, 0o755)?,
    };
    refuse_led_into_proc(root, place.as_fd(), one, true)?;
    set_flags(copy, options)?;
    set_tree(copy, options)?;
    mount::move_mount(copy, place.as_fd())?;
    Ok(())
}

/// What is to be set and cleared; nothing when no option says anything, and the mount stays as its source is.
fn wanted(options: &Options) -> Option<(u64, u64)> {
    if options.flags & !(MS_BIND_REC | MS_REMOUNT) == 0 && options.cleared == 0 {
        return None;
    }
    let set = options.attributes();
    let cleared = attributes(options.cleared);
    // As mount(8) does it: what is not asked for goes, but with `remount` only what is asked to.
    let others = match options.flags & MS_REMOUNT {
        0 => ATTR_OTHERS,
        _ => cleared & ATTR_OTHERS,
    };
    let times = if options.flags & MS_TIMES == 0 {
        0
    } else {
        ATTR_TIMES
    };
    // The kernel wants the field of access times cleared whenever it is set.
    Some((set, (others & !set) | (times & !(set & ATTR_NODIRATIME))))
}

fn attributes(flags: u64) -> u64 {
    Options {
        flags,
        ..Default::default()
    }
    .attributes()
}

/// The same, where the host locked what the source has: that stays, and asking for its contrary is refused.
fn with_locked(options: &Options, source: u64) -> Option<(u64, u64)> {
    let set = options.attributes();
    if source & attributes(options.cleared) & ATTR_LOCKED != 0 {
        return None;
    }
    if options.flags & MS_TIMES != 0 && set & ATTR_TIMES != source & ATTR_TIMES {
        return None;
    }
    let set = (set & ATTR_OTHERS) | (source & ATTR_LOCKED);
    Some((set, ATTR_OTHERS & !ATTR_LOCKED & !set))
}

fn set_flags(copy: BorrowedFd<'_>, options: &Options) -> Result<()> {
    let Some((set, clear)) = wanted(options) else {
        return Ok(());
    };
    let apply = |set, clear| {
        let attributes = Attributes {
            set,
            clear,
            ..Default::default()
        };
        mount::set_attributes(copy, attributes, false)
    };
    match apply(set, clear) {
        Err(error) if error.errno() == EPERM => match with_locked(options, path::mount_attributes(copy)?) {
            Some((set, clear)) => Ok(apply(set, clear)?),
            None => Err(error.into()),
        },
        other => Ok(other?),
    }
}

/// What may be bound over files in `/proc`: those that lxcfs shows in another light.
const OVER_PROC: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// As [`refuse_inside_proc`], of the place that was found: a link in the image, or one that another container put into a
/// shared volume, may have led there from anywhere.
pub(super) fn refuse_led_into_proc(
    root: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    one: &Mount,
    bind: bool,
) -> Result<()> {
    if path::file_system(place)? != PROC_SUPER_MAGIC {
        return Ok(());
    }
    let name = |fd| {
        let link = path::of_fd(fd);
        fs::read_link(&link).map_err(Error::file("failed to read", link))
    };
    let (top, found) = (name(root)?, name(place)?);
    let below = found.strip_prefix(&top).unwrap_or(&found);
    refuse_inside_proc(&Path::new("/").join(below), one, bind)
}

/// As [`refuse_led_into_proc`], of a device.
pub(super) fn refuse_device_in_proc(place: BorrowedFd<'_>, device: &str) -> Result<()> {
    match path::file_system(place)? {
        PROC_SUPER_MAGIC => Err(Error::Config(format!(
            "device {device:?} cannot be bound because it is inside /proc"
        ))),
        _ => Ok(()),
    }
}

/// Refuses what would lie over the kernel's files.
pub(super) fn refuse_inside_proc(destination: &Path, one: &Mount, bind: bool) -> Result<()> {
    let mut clean = PathBuf::from("/");
    for part in destination.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    let Ok(below) = clean.strip_prefix("/proc") else {
        return Ok(());
    };
    let denied = || {
        Err(Error::Config(format!(
            "{:?} cannot be mounted because it is inside /proc",
            one.destination
        )))
    };
    if below.as_os_str().is_empty() {
        if !bind {
            return if one.typ == "proc" { Ok(()) } else { denied() };
        }
        let source = path::open(Path::new(&one.source), O_PATH)?;
        return if path::file_system(source.as_fd())? == PROC_SUPER_MAGIC {
            Ok(())
        } else {
            denied()
        };
    }
    match OVER_PROC.iter().any(|allowed| below == Path::new(allowed)) {
        true => Ok(()),
        false => denied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RDONLY: u64 = 1;
    const NOSUID: u64 = 2;
    const NOATIME: u64 = 0x10;
    const NOSYMFOLLOW: u64 = 0x20_0000;

    #[test]
    fn flags_that_are_not_asked_for_are_cleared_if_any_is() {
        let flags = |options: &[&str]| wanted(&Options::parse(options.iter().copied()));
        assert_eq!(flags(&["bind"]), None);
        assert_eq!(flags(&["rbind", "rprivate"]), None);
        assert_eq!(flags(&["bind", "ro"]), Some((RDONLY, ATTR_OTHERS & !RDONLY)));
        assert_eq!(flags(&["bind", "rw"]), Some((0, ATTR_OTHERS)));
        assert_eq!(flags(&["bind", "remount", "ro", "suid"]), Some((RDONLY, NOSUID)));
        assert_eq!(
            flags(&["bind", "noatime"]),
            Some((NOATIME, ATTR_OTHERS | ATTR_TIMES))
        );
        // Taking back what was never set says nothing of access times.
        assert_eq!(flags(&["bind", "atime"]), Some((0, ATTR_OTHERS)));
    }

    #[test]
    fn what_the_host_locked_stays() {
        let flags = |options: &[&str], source| with_locked(&Options::parse(options.iter().copied()), source);
        assert_eq!(
            flags(&["bind", "ro"], NOSUID),
            Some((RDONLY | NOSUID, NOSYMFOLLOW))
        );
        assert_eq!(flags(&["bind", "suid"], NOSUID), None);
        assert_eq!(flags(&["bind", "ro", "relatime"], NOSUID | NOATIME), None);
        assert_eq!(
            flags(&["bind", "ro", "noatime"], NOATIME),
            Some((RDONLY, NOSYMFOLLOW))
        );
    }
}
