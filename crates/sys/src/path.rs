//! Paths inside a root that somebody else controls: opened and made relative to a descriptor of the root, so that no
//! `..` and no symbolic link leads out, whatever happens meanwhile.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, c_path, check, retry};

/// `openat2`'s argument.
#[repr(C)]
#[derive(Default)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Symbolic links are followed below the root, as if it were `/`.
pub const IN_ROOT: u64 = 0x10;
/// No symbolic link is followed at all.
pub const NO_SYMLINKS: u64 = 0x04;
/// No magic link (`/proc/PID/fd/N`) is followed.
pub const NO_MAGICLINKS: u64 = 0x02;
/// Nothing outside of the folder is reached.
pub const BENEATH: u64 = 0x08;
/// No mount is crossed.
pub const NO_XDEV: u64 = 0x01;

/// Opens `path` relative to `dir` with openat2(2). `O_CLOEXEC` is added.
pub fn openat2(dir: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd> {
    let text = c_path(path)?;
    let mode = if flags & (libc::O_CREAT | libc::O_TMPFILE) == 0 {
        0
    } else {
        u64::from(mode)
    };
    let how = OpenHow {
        flags: (flags | libc::O_CLOEXEC) as u64,
        mode,
        resolve,
    };
    let mut again = 0;
    loop {
        // SAFETY: the text and the structure live until the call returns; the size is the structure's.
        let fd = retry(|| unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                text.as_ptr(),
                &raw const how,
                size_of::<OpenHow>(),
            )
        });
        if fd >= 0 {
            // SAFETY: the descriptor is new and ours.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        }
        let error = Error::last_path("open", path);
        // A rename somewhere on the machine while `..` was looked at: the kernel asks to try again.
        again += 1;
        if error.errno() != libc::EAGAIN || again > 64 {
            return Err(error);
        }
    }
}

/// Opens `path` as if `root` were `/`.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: i32) -> Result<OwnedFd> {
    openat2(root, relative(path), flags, 0, IN_ROOT | NO_MAGICLINKS)
}

/// Opens a path of the host.
pub fn open(path: &Path, flags: i32) -> Result<OwnedFd> {
    open_mode(path, flags, 0)
}

/// Opens a path of the host, which may be made with `mode`.
pub fn open_mode(path: &Path, flags: i32, mode: u32) -> Result<OwnedFd> {
    let text = c_path(path)?;
    // SAFETY: the text lives until the call returns.
    let fd = retry(|| i64::from(unsafe { libc::open(text.as_ptr(), flags | libc::O_CLOEXEC, mode) }));
    if fd < 0 {
        return Err(Error::last_path("open", path));
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A path without its leading slashes; `.` when nothing is left.
pub fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// How many links that lead nowhere are followed to what is then made.
const LINKS: u32 = 40;

/// Makes the folders of `path` below `root` that are missing, with `mode`, and opens the last. Links are followed as if
/// `root` were `/`, and what they lead to is made if it is missing.
pub fn make_dirs_in_root(root: BorrowedFd<'_>, path: &Path, mode: u32) -> Result<OwnedFd> {
    make_dirs(root, path, mode, LINKS)
}

fn make_dirs(root: BorrowedFd<'_>, path: &Path, mode: u32, links: u32) -> Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    match open_in_root(root, path, flags) {
        Err(error) if error.errno() == libc::ENOENT => {}
        other => return other,
    }
    // The deepest folder that is there, and what is missing below it.
    let names: Vec<&OsStr> = relative(path)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            _ => None,
        })
        .collect();
    let mut there = names.len();
    let mut dir = loop {
        there -= 1;
        let prefix: PathBuf = names[..there].iter().collect();
        match open_in_root(root, &prefix, flags) {
            Err(error) if error.errno() == libc::ENOENT && there > 0 => {}
            other => break other?,
        }
    };
    for (at, name) in names.iter().enumerate().skip(there) {
        if *name == ".." {
            let error = std::io::Error::from_raw_os_error(libc::ENOENT);
            return Err(Error::new(format!("make the folder {}", path.display()), error));
        }
        match make_dir_at(dir.as_fd(), name, mode) {
            Err(error) if error.errno() == libc::EEXIST => {}
            other => other?,
        }
        let below = openat2(
            dir.as_fd(),
            Path::new(name),
            flags | libc::O_NOFOLLOW,
            0,
            BENEATH | NO_SYMLINKS,
        );
        dir = match below {
            Err(error) if is_link(&error) && links > 0 => {
                let mut led = where_it_leads(root, dir.as_fd(), name)?;
                led.extend(&names[at + 1..]);
                return make_dirs(root, &led, mode, links - 1);
            }
            other => other?,
        };
    }
    Ok(dir)
}

/// What the kernel says of a link where none may be.
fn is_link(error: &Error) -> bool {
    matches!(error.errno(), libc::ELOOP | libc::ENOTDIR)
}

/// The target of the link `name` in `dir`, as a path from `root`. Wherever the folder is moved meanwhile: the path is only
/// ever opened below `root`.
fn where_it_leads(root: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> Result<PathBuf> {
    let link = openat2(dir, Path::new(name), libc::O_PATH | libc::O_NOFOLLOW, 0, BENEATH)?;
    let target = read_link(link.as_fd())?;
    if target.is_absolute() {
        return Ok(target);
    }
    let name = |fd| {
        let path = of_fd(fd);
        std::fs::read_link(&path).map_err(|source| Error::new(format!("read {}", path.display()), source))
    };
    let (top, folder) = (name(root)?, name(dir)?);
    Ok(Path::new("/")
        .join(folder.strip_prefix(&top).unwrap_or(Path::new("")))
        .join(target))
}

/// Makes the file `path` below `root` if it is not there, with its folders, and opens it as a place (`O_PATH`).
pub fn make_file_in_root(root: BorrowedFd<'_>, path: &Path, mode: u32) -> Result<OwnedFd> {
    make_file(root, path, mode, LINKS)
}

fn make_file(root: BorrowedFd<'_>, path: &Path, mode: u32, links: u32) -> Result<OwnedFd> {
    match open_in_root(root, path, libc::O_PATH) {
        Err(error) if error.errno() == libc::ENOENT => {}
        other => return other,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        let error = std::io::Error::from_raw_os_error(libc::EISDIR);
        return Err(Error::new(format!("make the file {}", path.display()), error));
    };
    let dir = make_dirs_in_root(root, parent, 0o755)?;
    let flags = libc::O_CREAT | libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let made = openat2(dir.as_fd(), Path::new(name), flags, mode, BENEATH | NO_SYMLINKS);
    match made {
        Err(error) if is_link(&error) && links > 0 => {
            let led = where_it_leads(root, dir.as_fd(), name)?;
            return make_file(root, &led, mode, links - 1);
        }
        other => drop(other?),
    }
    openat2(
        dir.as_fd(),
        Path::new(name),
        libc::O_PATH | libc::O_NOFOLLOW,
        0,
        BENEATH | NO_SYMLINKS,
    )
}

/// Makes one folder.
pub fn make_dir_at(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<()> {
    let text = c_path(Path::new(name))?;
    // SAFETY: the text lives until the call returns.
    let result = unsafe { libc::mkdirat(dir.as_raw_fd(), text.as_ptr(), mode) };
    check(result, || format!("make the folder {}", name.to_string_lossy())).map(drop)
}

/// Makes a device, FIFO or socket node.
pub fn make_node_at(dir: BorrowedFd<'_>, name: &OsStr, mode: u32, device: u64) -> Result<()> {
    let text = c_path(Path::new(name))?;
    // SAFETY: the text lives until the call returns.
    let result = unsafe { libc::mknodat(dir.as_raw_fd(), text.as_ptr(), mode, device) };
    check(result, || format!("make the node {}", name.to_string_lossy())).map(drop)
}

/// The number of a device.
pub fn device(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// The number of the null device.
pub const NULL_DEVICE: u64 = libc::makedev(1, 3);

/// Makes a symbolic link.
pub fn make_link_at(target: &Path, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let (target_text, text) = (c_path(target)?, c_path(Path::new(name))?);
    // SAFETY: both texts live until the call returns.
    let result = unsafe { libc::symlinkat(target_text.as_ptr(), dir.as_raw_fd(), text.as_ptr()) };
    check(result, || {
        format!("link {} to {}", name.to_string_lossy(), target.display())
    })
    .map(drop)
}

/// Sets the owner of what a descriptor is open on, links not followed.
pub fn chown_at(dir: BorrowedFd<'_>, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
    let text = c_path(Path::new(name))?;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: the text lives until the call returns.
    let result = unsafe { libc::fchownat(dir.as_raw_fd(), text.as_ptr(), uid, gid, flags) };
    check(result, || {
        format!("change the owner of {}", name.to_string_lossy())
    })
    .map(drop)
}

/// Sets the mode of a name, which must not be a symbolic link.
pub fn chmod_at(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<()> {
    let text = c_path(Path::new(name))?;
    // SAFETY: the text lives until the call returns.
    let result = unsafe { libc::fchmodat(dir.as_raw_fd(), text.as_ptr(), mode, 0) };
    check(result, || {
        format!("change the mode of {}", name.to_string_lossy())
    })
    .map(drop)
}

/// What stat(2) says of an open descriptor.
pub fn fstat(fd: BorrowedFd<'_>) -> Result<libc::stat> {
    // SAFETY: zero is a valid value for every field.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives until the call returns.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) }, || {
        "stat a descriptor".to_owned()
    })?;
    Ok(stat)
}

/// The type of the file system that a descriptor is on (`PROC_SUPER_MAGIC` …) and its flags.
pub fn file_system(fd: BorrowedFd<'_>) -> Result<i64> {
    // SAFETY: zero is a valid value for every field.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives until the call returns.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut stat) }, || {
        "stat a file system".to_owned()
    })?;
    #[allow(clippy::unnecessary_cast)] // the type differs between architectures
    Ok(stat.f_type as i64)
}

/// Whether the mount that a descriptor is on is read-only.
pub fn is_read_only(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(mount_flags(fd)? & libc::ST_RDONLY != 0)
}

/// The properties of the mount that a descriptor is on, as `MOUNT_ATTR_…`.
pub fn mount_attributes(fd: BorrowedFd<'_>) -> Result<u64> {
    const STRICTATIME: u64 = 0x20;
    const PAIRS: &[(u64, u64)] = &[
        (libc::ST_RDONLY, 0x1),
        (libc::ST_NOSUID, 0x2),
        (libc::ST_NODEV, 0x4),
        (libc::ST_NOEXEC, 0x8),
        (libc::ST_NOATIME, 0x10),
        (libc::ST_NODIRATIME, 0x80),
        (0x2000, 0x20_0000),
    ];
    let flags = mount_flags(fd)?;
    let attributes = PAIRS
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .fold(0, |all, (_, attribute)| all | attribute);
    match flags & (libc::ST_NOATIME | libc::ST_RELATIME) {
        0 => Ok(attributes | STRICTATIME),
        _ => Ok(attributes),
    }
}

fn mount_flags(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: zero is a valid value for every field.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives until the call returns.
    check(unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut stat) }, || {
        "stat a file system".to_owned()
    })?;
    Ok(stat.f_flag)
}

/// The target of the symbolic link that a descriptor (`O_PATH|O_NOFOLLOW`) is open on.
pub fn read_link(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let mut buffer = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and length are those of a live buffer; the path is an empty text.
    let length = unsafe {
        libc::readlinkat(
            fd.as_raw_fd(),
            c"".as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    let length = check(length as i64, || "read a link".to_owned())?;
    buffer.truncate(length as usize);
    Ok(PathBuf::from(OsString::from_vec(buffer)))
}

/// A path by which the kernel finds what a descriptor is open on, as long as it is open and `/proc` is there.
pub fn of_fd(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_and_dots_stay_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let root = dir.path().join("root");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir_all(root.join("a")).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../../../../outside", root.join("a/up")).unwrap();
        let fd = open(&root, libc::O_PATH | libc::O_DIRECTORY).unwrap();
        for path in ["absolute", "/a/up", "../outside"] {
            assert!(
                open_in_root(fd.as_fd(), Path::new(path), libc::O_PATH).is_err(),
                "{path}"
            );
        }
        make_file_in_root(fd.as_fd(), Path::new("/x/y/../z/file"), 0o600).unwrap_err();
        make_file_in_root(fd.as_fd(), Path::new("/x/z/file"), 0o600).unwrap();
        make_dirs_in_root(fd.as_fd(), Path::new("a/../../b"), 0o700).unwrap();
        assert!(root.join("x/z/file").is_file() && root.join("b").is_dir());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
