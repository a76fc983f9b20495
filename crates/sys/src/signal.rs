//! Signals: their names, the mask, and reading them from a descriptor.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Result, check, retry};

const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The number of a signal: a number, or a name in any case with or without `SIG`.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=64).contains(&number).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(after) = name.strip_prefix("RTMIN") {
        let offset = if after.is_empty() {
            0
        } else {
            after.strip_prefix('+')?.parse::<i32>().ok()?
        };
        return (0..=30).contains(&offset).then_some(34 + offset);
    }
    if let Some(after) = name.strip_prefix("RTMAX") {
        let offset = if after.is_empty() {
            0
        } else {
            after.strip_prefix('-')?.parse::<i32>().ok()?
        };
        return (0..=30).contains(&offset).then_some(64 - offset);
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before it is used; sigaddset takes integers.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Blocks signals for this thread, and those made by it.
pub fn block(signals: &[i32]) -> Result<()> {
    let set = set(signals);
    // SAFETY: the set lives until the call returns; the old one is not asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    check(result, || "block signals".to_owned()).map(drop)
}

/// Blocks nothing: what a program that is executed begins with.
pub fn unblock_all() -> Result<()> {
    let set = set(&[]);
    // SAFETY: the set lives until the call returns; the old one is not asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    check(result, || "unblock signals".to_owned()).map(drop)
}

/// Gives a signal its default meaning, or none.
pub fn set_ignored(signal: i32, ignored: bool) {
    let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither value is a function of ours.
    unsafe { libc::signal(signal, handler) };
}

/// A descriptor from which blocked signals are read. Does not block.
pub fn fd(signals: &[i32]) -> Result<OwnedFd> {
    let set = set(signals);
    // SAFETY: the set lives until the call returns.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    let fd = check(fd, || "make a signal descriptor".to_owned())?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The next signal from such a descriptor; none when there is none now.
pub fn read(fd: &OwnedFd) -> Option<i32> {
    // SAFETY: zero is a valid value for every field.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the pointer and length are those of a live structure.
    let read = retry(|| unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) as i64 });
    (read == size as i64).then_some(info.ssi_signo as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_every_form() {
        for (text, number) in [
            ("9", 9),
            ("kill", 9),
            ("SIGTERM", 15),
            ("sighup", 1),
            ("RTMIN", 34),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for bad in ["", "SIG", "NOPE", "-1", "65", "RTMIN+31"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
