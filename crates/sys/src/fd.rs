//! Reading and writing descriptors that are no files of the standard library, and taking over those that were inherited.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Reads into a buffer; 0 at the end.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of a live buffer.
        let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Writes a part of `data`; how much is returned. A peer that is gone is an error, not a signal, only where SIGPIPE is
/// ignored.
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of live data.
        let count = unsafe { libc::write(fd.as_raw_fd(), data.as_ptr().cast(), data.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Writes all of `data`.
pub fn write_all(fd: BorrowedFd<'_>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match write(fd, data)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => data = &data[count..],
        }
    }
    Ok(())
}

/// Takes over a descriptor that this process inherited from whoever executed it. None when it is not open.
///
/// Call it once for each number, before anything else can have opened it.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: integers only.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and by the caller's promise nobody in this program owns it yet.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes the lock of an open file or folder, until every copy of the descriptor is closed. False: somebody else has it.
pub fn try_lock(fd: BorrowedFd<'_>) -> crate::Result<bool> {
    // SAFETY: takes two integers.
    let result = unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match crate::error::check(result, || "lock".to_owned()) {
        Err(error) if error.errno() == libc::EWOULDBLOCK => Ok(false),
        other => other.map(|_| true),
    }
}

/// Lets the next program that is executed have a descriptor.
pub fn keep_on_exec(fd: BorrowedFd<'_>) -> crate::Result<()> {
    // SAFETY: integers only.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) };
    crate::error::check(result, || "keep a descriptor".to_owned()).map(drop)
}

/// A file in memory that has no name in any folder.
pub fn memory(name: &str) -> crate::Result<OwnedFd> {
    let text = crate::error::c_text(name)?;
    // SAFETY: the text lives until the call returns.
    let fd = unsafe { libc::memfd_create(text.as_ptr(), libc::MFD_CLOEXEC) };
    let fd = crate::error::check(fd, || "make a file in memory".to_owned())?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A counter that becomes readable when the kernel or somebody adds to it. Does not block.
pub fn event() -> crate::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    let fd = crate::error::check(fd, || "make an event descriptor".to_owned())?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A descriptor that becomes readable whenever the file at `path` changes. Does not block.
pub fn watch_changes(path: &std::path::Path) -> crate::Result<OwnedFd> {
    let text = crate::error::c_path(path)?;
    // SAFETY: integers only.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    let fd = crate::error::check(fd, || "make an inotify".to_owned())?;
    // SAFETY: the descriptor is new and ours.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: the text lives until the call returns.
    let watch = unsafe { libc::inotify_add_watch(fd.as_raw_fd(), text.as_ptr(), libc::IN_MODIFY) };
    crate::error::check(watch, || format!("watch {}", path.display()))?;
    Ok(fd)
}
