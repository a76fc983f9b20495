//! Processes: clone3, pidfds, waiting, signals, sessions. Nothing here waits for a process it was not given.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::error::{Error, Result, check, retry};

/// A process id of a child, or of anybody.
pub type Pid = i32;

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Forked {
    /// The parent, with the child's process id and pidfd.
    Parent(Pid, OwnedFd),
    /// The child.
    Child,
}

/// Makes a child that shares nothing but descriptors, in the new namespaces that `flags` names (`CLONE_NEW…`).
///
/// # Errors
/// What clone3(2) says.
///
/// The process must have one thread only, which is asserted by the kernel's own count: then the child may do all that its
/// parent may.
pub fn fork(flags: u64) -> Result<Forked> {
    clone(flags, None)
}

/// Of clone3(2); the constant of libc is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Flag for [`fork`]: the new process is a child of our parent, not ours.
pub const CLONE_PARENT: u64 = 0x8000;

/// As [`fork`], but the child begins in the cgroup (v2) whose folder is `cgroup`.
pub fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    // A second thread's locks would stay locked in the child for ever.
    let threads = crate::procfs::threads();
    if threads != 1 {
        let error = std::io::Error::other(format!("the process has {threads} threads"));
        return Err(Error::new("clone a child", error));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: zero is a valid value for every field of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // A sibling tells of its end by the signal of its maker, and the kernel refuses another.
    if flags & CLONE_PARENT == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has a copy of this memory; the process has one thread, so that no lock is held
    // by another; `args` and `pidfd` live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match check(result, || "clone a child".to_owned())? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel stored a new descriptor of ours.
            Ok(Forked::Parent(pid as Pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
    }
}

/// A pidfd of a running process.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: takes integers and returns a new descriptor.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }, || {
        format!("open a pidfd of process {pid}")
    })?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A copy of a descriptor of the process of a pidfd: the caller may look into it, as a debugger may.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd> {
    // SAFETY: takes integers and returns a new descriptor.
    let fd = check(
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) },
        || format!("fetch descriptor {number} of a process"),
    )?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to the process of a pidfd.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: takes a descriptor, integers and a null pointer, which means no further information.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    };
    check(result, || format!("send signal {signal}")).map(drop)
}

/// Sends a signal to a process, or with a negative number to a group.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: takes two integers.
    check(unsafe { libc::kill(pid, signal) }, || {
        format!("send signal {signal} to process {pid}")
    })
    .map(drop)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: Pid,
    /// Its exit code, or 128 + the signal that ended it.
    pub status: i32,
}

fn ended(pid: Pid, status: libc::c_int) -> Ended {
    let status = match libc::WIFSIGNALED(status) {
        true => 128 + libc::WTERMSIG(status),
        false => libc::WEXITSTATUS(status),
    };
    Ended { pid, status }
}

/// Waits for one child to end.
pub fn wait(pid: Pid) -> Result<Ended> {
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    let waited = retry(|| i64::from(unsafe { libc::waitpid(pid, &raw mut status, 0) }));
    check(waited, || format!("wait for process {pid}")).map(|_| ended(pid, status))
}

/// The next child that has ended, without waiting: for a reaper, whose every child is its own.
pub fn reap_any() -> Option<Ended> {
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    let pid =
        retry(|| i64::from(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) }));
    (pid > 0).then(|| ended(pid as Pid, status))
}

/// Makes this process adopt the orphans among its descendants.
pub fn set_subreaper() -> Result<()> {
    // SAFETY: prctl with integers.
    check(
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) },
        || "become a sub-reaper".to_owned(),
    )
    .map(drop)
}

/// Begins a new session.
pub fn setsid() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }, || "begin a session".to_owned()).map(drop)
}

/// The calling process's id.
pub fn pid() -> Pid {
    std::process::id() as Pid
}

/// The calling user's id.
pub fn euid() -> u32 {
    // SAFETY: no arguments, never fails.
    unsafe { libc::geteuid() }
}

/// The calling user's group.
pub fn egid() -> u32 {
    // SAFETY: no arguments, never fails.
    unsafe { libc::getegid() }
}

/// Becomes another user for good: groups, then group, then user.
pub fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    if let Some(groups) = groups {
        // The raw system call: glibc's would tell threads that there are none of.
        // SAFETY: the pointer and length are those of a live slice.
        let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
        check(result, || format!("set groups {groups:?}"))?;
    }
    // SAFETY: integers only.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(result, || format!("become group {gid}"))?;
    // SAFETY: integers only.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(result, || format!("become user {uid}"))?;
    Ok(())
}

/// The texts as `execve` takes them: pointers that are good as long as `texts`, and a null at the end.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Replaces this process by the program at `path`.
pub fn exec(path: &CString, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with a null pointer and point to texts that live until the call returns, which it does only
    // when it failed.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Error::last(format!("exec {}", path.to_string_lossy()))
}

/// Replaces this process by the program that is open as `program`.
pub fn exec_fd(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: as in `exec`; the path is an empty text, which with AT_EMPTY_PATH means the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error::last("exec an open program")
}

/// Ends this process at once, without running anything that was registered for its end.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Waits until the process of a pidfd has ended, at most `limit`. Returns whether it has.
pub fn pidfd_wait(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool> {
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one structure, which lives until the call returns.
    let ready = retry(|| i64::from(unsafe { libc::poll(&raw mut poll, 1, milliseconds) }));
    check(ready, || "wait for a process".to_owned()).map(|ready| ready > 0)
}

/// Sets how readily the kernel kills this process when memory runs out.
pub fn set_oom_score_adj(score: i32) -> Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .map_err(|source| Error::new(format!("write {score} to /proc/self/oom_score_adj"), source))
}

/// Closes every descriptor from `first` on when a program is executed.
pub fn cloexec_from(first: i32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: integers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result, || "mark descriptors close-on-exec".to_owned()).map(drop)
}

/// Closes every descriptor from `first` on but those of `kept`. Only for a process that uses none of the others any more.
pub fn close_others(first: i32, kept: &[i32]) {
    let mut kept: Vec<i32> = kept.iter().copied().filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept {
        if fd > from {
            // SAFETY: integers only. The caller promises that no owner of such a descriptor will use it.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd + 1;
    }
    close_from(from);
}

/// Closes every descriptor from `first` on now. Only for a process that owns none of them any more.
pub fn close_from(first: i32) {
    // SAFETY: integers only. The caller promises that no owner of such a descriptor will use it.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}
