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
