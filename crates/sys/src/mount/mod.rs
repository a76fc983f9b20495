//! Mounting: the classic calls, the mount API of file descriptors, and what fstab's options mean.

mod options;

pub use options::{Options, RecursiveFlags};

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::error::{Error, Result, c_path, c_text, check};

/// mount(2). Empty texts are passed as null.
pub fn mount(source: &Path, target: &Path, kind: &str, flags: u64, data: &str) -> Result<()> {
    let (source_text, target_text) = (c_path(source)?, c_path(target)?);
    let (kind_text, data_text) = (c_text(kind)?, c_text(data)?);
    let pointer = |text: &CString| {
        if text.is_empty() {
            std::ptr::null()
        } else {
            text.as_ptr()
        }
    };
    // SAFETY: every text lives until the call returns, or is a null pointer, which the kernel takes for absent.
    let result = unsafe {
        libc::mount(
            pointer(&source_text),
            target_text.as_ptr(),
            pointer(&kind_text),
            flags,
            pointer(&data_text).cast(),
        )
    };
    check(result, || {
        let what = if kind.is_empty() {
            String::new()
        } else {
            format!("{kind} ")
        };
        let data = if data.is_empty() {
            String::new()
        } else {
            format!(" with {data:?}")
        };
        format!(
            "mount {what}{} on {} (flags {flags:#x}){data}",
            source.display(),
            target.display()
        )
    })
    .map(drop)
}

/// Changes the propagation of a mount, `MS_SLAVE | MS_REC` and its like.
pub fn set_propagation(target: &Path, flags: u64) -> Result<()> {
    mount(Path::new(""), target, "", flags, "")
}

/// umount2(2).
pub fn unmount(target: &Path, flags: i32) -> Result<()> {
    let text = c_path(target)?;
    // SAFETY: the text lives until the call returns.
    check(unsafe { libc::umount2(text.as_ptr(), flags) }, || {
        format!("unmount {}", target.display())
    })
    .map(drop)
}

/// Takes the mount at `target` away, whoever still uses it. One that is not there is no error.
pub fn detach(target: &Path) -> Result<()> {
    match unmount(target, libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) {
        Err(error) if matches!(error.errno(), libc::EINVAL | libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Makes the folder that is the working directory the root, the old root being stacked on it (pivot_root(".", ".")).
pub fn pivot_root_here() -> Result<()> {
    // SAFETY: both texts are constants.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    check(result, || "pivot_root".to_owned()).map(drop)
}

/// chroot(2).
pub fn chroot(path: &Path) -> Result<()> {
    let text = c_path(path)?;
    // SAFETY: the text lives until the call returns.
    check(unsafe { libc::chroot(text.as_ptr()) }, || {
        format!("change the root to {}", path.display())
    })
    .map(drop)
}

/// Makes what a descriptor is open on the working directory.
pub fn fchdir(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: a descriptor only.
    check(unsafe { libc::fchdir(fd.as_raw_fd()) }, || {
        "change the working directory".to_owned()
    })
    .map(drop)
}

/// A copy of the mount at a path, in no place yet. `recursive`: with all mounts below it.
pub fn open_tree(dir: BorrowedFd<'_>, path: &str, recursive: bool) -> Result<OwnedFd> {
    let text = c_text(path)?;
    let mut flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | libc::AT_EMPTY_PATH as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: the text lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), text.as_ptr(), flags) };
    let fd = check(fd, || format!("copy the mount of {path:?}"))?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The argument of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_…` to set.
    pub set: u64,
    /// `MOUNT_ATTR_…` to clear.
    pub clear: u64,
    /// `MS_SHARED` and its like, or 0.
    pub propagation: u64,
    /// The descriptor of a user namespace, for `MOUNT_ATTR_IDMAP`.
    pub user_namespace: u64,
}

/// Changes the attributes of the mount that a descriptor is open on, or of all below it too.
pub fn set_attributes(fd: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure lives until the call returns; the size is its own; the path is an empty text.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    check(result, || "change the attributes of a mount".to_owned()).map(drop)
}

/// Puts a mount that has no place yet onto what `target` is open on.
pub fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are empty texts.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            F_EMPTY_PATH | T_EMPTY_PATH,
        )
    };
    check(result, || "put a mount in its place".to_owned()).map(drop)
}

/// The most that mount(2) takes as data, with its NUL.
const DATA_LIMIT: usize = 4096;

/// Makes one mount as `fstab` and containerd's `types.Mount` describe it, on a path of the host.
///
/// An overlay whose layers do not fit into mount(2)'s page is made with the mount API, one layer at a time.
pub fn mount_described(kind: &str, source: &str, target: &Path, options: &[String]) -> Result<()> {
    let parsed = Options::parse(options.iter().map(String::as_str));
    if parsed.flags & libc::MS_BIND != 0 {
        let tree = parsed.flags & libc::MS_REC;
        mount(Path::new(source), target, "", libc::MS_BIND | tree, "")?;
        let rest = parsed.flags & !(libc::MS_BIND | libc::MS_REC);
        if rest != 0 {
            mount(
                Path::new(""),
                target,
                "",
                libc::MS_REMOUNT | libc::MS_BIND | rest,
                "",
            )?;
        }
    } else if kind == "overlay" && parsed.data.len() >= DATA_LIMIT {
        let target = crate::path::open(target, libc::O_PATH)?;
        let mount = long_overlay(source, &parsed)?;
        move_mount(
            std::os::fd::AsFd::as_fd(&mount),
            std::os::fd::AsFd::as_fd(&target),
        )?;
    } else {
        mount(Path::new(source), target, kind, parsed.flags, &parsed.data)?;
    }
    for propagation in &parsed.propagation {
        set_propagation(target, *propagation)?;
    }
    Ok(())
}

/// An overlay by fsopen(2), its layers added one by one (`lowerdir+`).
fn long_overlay(source: &str, options: &Options) -> Result<OwnedFd> {
    let context = fsopen("overlay")?;
    if !source.is_empty() {
        fsconfig(&context, "source", Some(source))?;
    }
    for option in options.data.split(',') {
        match option.split_once('=') {
            Some(("lowerdir", layers)) => {
                for layer in layers.split(':') {
                    fsconfig(&context, "lowerdir+", Some(layer))?;
                }
            }
            Some((key, value)) => fsconfig(&context, key, Some(value))?,
            None => fsconfig(&context, option, None)?,
        }
    }
    fsmount(&context, options.attributes())
}

/// Opens a file system for configuration.
pub fn fsopen(kind: &str) -> Result<OwnedFd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    let text = c_text(kind)?;
    // SAFETY: the text lives until the call returns.
    let fd = check(
        unsafe { libc::syscall(libc::SYS_fsopen, text.as_ptr(), FSOPEN_CLOEXEC) },
        || format!("open a file system of type {kind}"),
    )?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sets one parameter of a file system that is being configured; without a value a flag.
pub fn fsconfig(context: &OwnedFd, key: &str, value: Option<&str>) -> Result<()> {
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    let key_text = c_text(key)?;
    let value_text = value.map(c_text).transpose()?;
    let pointer = value_text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    let command = if value.is_some() { SET_STRING } else { SET_FLAG };
    // SAFETY: the texts live until the call returns; a flag takes a null pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key_text.as_ptr(),
            pointer,
            0,
        )
    };
    check(result, || {
        format!("set the mount option {key}={}", value.unwrap_or_default())
    })
    .map(drop)
}

/// Makes the file system, as a mount without a place.
pub fn fsmount(context: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    const CMD_CREATE: u32 = 6;
    const FSMOUNT_CLOEXEC: u32 = 1;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes null pointers.
    let result = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CMD_CREATE, none, none, 0) };
    check(result, || "make a file system".to_owned()).map_err(|error| explain(context, error))?;
    // SAFETY: integers only.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes,
        )
    };
    let fd = check(fd, || "mount a file system".to_owned()).map_err(|error| explain(context, error))?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Adds what the file system itself says of a failure.
fn explain(context: &OwnedFd, error: Error) -> Error {
    let mut said = [0_u8; 512];
    // SAFETY: the pointer and length are those of a live buffer.
    let length = unsafe { libc::read(context.as_raw_fd(), said.as_mut_ptr().cast(), said.len()) };
    match usize::try_from(length) {
        Ok(length) if length > 0 => {
            let text = String::from_utf8_lossy(&said[..length]);
            let errno = std::io::Error::from_raw_os_error(error.errno());
            Error::new(format!("{error} ({})", text.trim()), errno)
        }
        _ => error,
    }
}
