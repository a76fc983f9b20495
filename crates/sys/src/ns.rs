//! Namespaces: leaving and joining.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Result, c_text, check};

/// Leaves the namespaces that `flags` names for new ones.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: an integer only.
    check(unsafe { libc::unshare(flags) }, || {
        format!("unshare namespaces {flags:#x}")
    })
    .map(drop)
}

/// Joins a namespace, or with a pidfd all of that process's namespaces that `flags` names.
pub fn join(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: a descriptor and an integer.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }, || {
        format!("join namespaces {flags:#x}")
    })
    .map(drop)
}

/// Sets the host name of the calling process's UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    let text = c_text(name)?;
    // SAFETY: the pointer and length are those of a live text.
    let result = unsafe { libc::sethostname(text.as_ptr(), name.len()) };
    check(result, || format!("set the host name {name:?}")).map(drop)
}

/// Sets the domain name of the calling process's UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    let text = c_text(name)?;
    // SAFETY: the pointer and length are those of a live text.
    let result = unsafe { libc::setdomainname(text.as_ptr(), name.len()) };
    check(result, || format!("set the domain name {name:?}")).map(drop)
}

/// Brings the loopback interface of the calling process's network namespace up.
pub fn loopback_up() -> Result<()> {
    // SAFETY: integers only; the descriptor is closed below.
    let socket = check(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) },
        || "make a socket".to_owned(),
    )? as i32;
    // SAFETY: zero is a valid value for every field.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives until the call returns and is what SIOCSIFFLAGS takes.
    let result = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) };
    let result = check(result, || "bring the loopback interface up".to_owned()).map(drop);
    // SAFETY: the descriptor is ours and used no more.
    unsafe { libc::close(socket) };
    result
}
