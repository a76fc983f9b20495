//! epoll: many descriptors waited for at once, each with a number of the caller's.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Result, check};

/// What is waited for, and what happened.
pub mod event {
    /// Something can be read, or the peer has finished.
    pub const READ: u32 = libc::EPOLLIN as u32;
    /// Something can be written.
    pub const WRITE: u32 = libc::EPOLLOUT as u32;
    /// The other side is gone. Always told.
    pub const HANG_UP: u32 = libc::EPOLLHUP as u32;
    /// The descriptor has an error. Always told.
    pub const ERROR: u32 = libc::EPOLLERR as u32;
}

/// One instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new one.
    pub fn new() -> Result<Self> {
        // SAFETY: an integer only.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, || {
            "make an epoll".to_owned()
        })?;
        // SAFETY: the descriptor is new and ours.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Adds a descriptor, known from now on as `token`.
    pub fn add(&self, fd: BorrowedFd<'_>, events: u32, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Changes what is waited for.
    pub fn change(&self, fd: BorrowedFd<'_>, events: u32, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Forgets a descriptor. One that is not known is no error.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, operation: i32, fd: BorrowedFd<'_>, events: u32, token: u64) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the structure lives until the call returns.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) };
        check(result, || "watch a descriptor".to_owned()).map(drop)
    }

    /// Waits until something happens, or for at most `limit_ms`. Calls `each` with token and events of each.
    pub fn wait(&self, limit_ms: Option<i32>, mut each: impl FnMut(u64, u32)) -> Result<()> {
        const ROOM: usize = 32;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROOM];
        // SAFETY: the pointer and count are those of a live array.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                ROOM as i32,
                limit_ms.unwrap_or(-1),
            )
        };
        let count = match check(count, || "wait for descriptors".to_owned()) {
            Err(error) if error.errno() == libc::EINTR => 0,
            other => other?,
        };
        for event in &events[..count as usize] {
            each(event.u64, event.events);
        }
        Ok(())
    }
}

/// Makes reads and writes return at once.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    // SAFETY: integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }, || {
        "read a descriptor's flags".to_owned()
    })?;
    let flags = if on {
        flags as i32 | libc::O_NONBLOCK
    } else {
        flags as i32 & !libc::O_NONBLOCK
    };
    // SAFETY: integers only.
    check(
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) },
        || "set a descriptor's flags".to_owned(),
    )
    .map(drop)
}

/// Both ends of a pipe, read end first.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has the two elements that the call fills.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, || {
        "make a pipe".to_owned()
    })?;
    // SAFETY: both descriptors are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}
