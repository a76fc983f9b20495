//! Device nodes and links in the container's `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use gantry_oci::runtime::{Linux, LinuxDevice};
use gantry_sys::{mount, path};

use super::bind;
use crate::error::{Error, Result};

const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFIFO: u32 = 0o010_000;
const O_PATH: i32 = 0o10_000_000;

/// Those that every container has: name, major, minor.
const ALWAYS: &[(&str, i64, i64)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes all of them below `root`. In a user namespace, where none can be made, those of the host are bound in.
pub(super) fn make(
    root: BorrowedFd<'_>,
    linux: &Linux,
    in_user_namespace: bool,
    terminal: bool,
) -> Result<()> {
    let dev = path::make_dirs_in_root(root, Path::new("/dev"), 0o755)?;
    for (name, major, minor) in ALWAYS {
        let device = LinuxDevice {
            path: format!("/dev/{name}"),
            typ: "c".to_owned(),
            major: *major,
            minor: *minor,
            file_mode: Some(0o666),
            ..Default::default()
        };
        if !linux.devices.iter().any(|given| given.path == device.path) {
            one(root, dev.as_fd(), OsStr::new(name), &device, in_user_namespace)?;
        }
    }
    for device in &linux.devices {
        let place = Path::new("/").join(&device.path);
        let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(Error::Config(format!("invalid device path {:?}", device.path)));
        };
        let folder = path::make_dirs_in_root(root, folder, 0o755)?;
        one(root, folder.as_fd(), name, device, in_user_namespace)?;
    }
    for (name, target) in LINKS {
        link(dev.as_fd(), name, target)?;
    }
    link(dev.as_fd(), "ptmx", "pts/ptmx")?;
    if terminal {
        // The terminal is mounted on it later.
        drop(path::make_file_in_root(root, Path::new("/dev/console"), 0o620)?);
    }
    Ok(())
}

fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<()> {
    match path::make_link_at(Path::new(target), dev, OsStr::new(name)) {
        // The image, or its `/dev`, has something there already.
        Err(error) if error.errno() == 17 => Ok(()),
        other => Ok(other?),
    }
}

fn one(
    root: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    device: &LinuxDevice,
    bind: bool,
) -> Result<()> {
    if bind {
        let host = path::open(Path::new(&device.path), O_PATH)?;
        let place = path::make_file_in_root(root, Path::new(&device.path), 0o000)?;
        bind::refuse_device_in_proc(place.as_fd(), &device.path)?;
        let copy = mount::open_tree(host.as_fd(), "", false)?;
        return Ok(mount::move_mount(copy.as_fd(), place.as_fd())?);
    }
    let kind = match device.typ.as_str() {
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        _ => S_IFCHR,
    };
    let number = |number: i64| {
        u32::try_from(number).map_err(|_| Error::Config(format!("invalid device {:?}", device.path)))
    };
    let id = if kind == S_IFIFO {
        0
    } else {
        path::device(number(device.major)?, number(device.minor)?)
    };
    let mode = device.file_mode.unwrap_or(0o666) & 0o7777;
    match path::make_node_at(folder, name, kind | mode, id) {
        Ok(()) => {
            let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
            if (uid, gid) != (0, 0) {
                path::chown_at(folder, name, uid, gid)?;
            }
            Ok(())
        }
        // Already there, and the same: fine. Something else must not be taken for it.
        Err(error) if error.errno() == 17 => {
            let there = path::openat2(folder, Path::new(name), O_PATH | 0o400_000, 0, path::BENEATH)?;
            let stat = path::fstat(there.as_fd())?;
            match stat.st_rdev == id && stat.st_mode & 0o170_000 == kind {
                true => Ok(()),
                false => Err(Error::Init(format!(
                    "{} is there already and is another file",
                    device.path
                ))),
            }
        }
        Err(error) => Err(error.into()),
    }
}
