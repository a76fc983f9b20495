//! Staying with a process until it ends: signals are passed on to it, and a terminal's bytes are carried.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gantry_sys::epoll::{Epoll, event};
use gantry_sys::process::{self, Pid};
use gantry_sys::{fd, pty, signal};

use crate::error::Result;

const INPUT: u64 = 0;
const MASTER: u64 = 1;
const ENDED: u64 = 2;
const SIGNAL: u64 = 3;

const SIGWINCH: i32 = 28;

const SIGCHLD: i32 = 17;

/// What is passed on; the rest concerns us alone.
const FORWARDED: &[i32] = &[1, 2, 3, 10, 12, 14, 15, SIGWINCH];

/// Takes hold of the signals before the process is made, so that none is missed.
pub fn hold_signals() -> Result<OwnedFd> {
    let held: Vec<i32> = FORWARDED.iter().copied().chain([SIGCHLD]).collect();
    signal::block(&held)?;
    Ok(signal::fd(&held)?)
}

/// Waits for the end of a process of ours and returns its exit code. Orphans that we adopt meanwhile are reaped.
pub fn attend(pid: Pid, pidfd: &OwnedFd, signals: &OwnedFd, console: Option<&OwnedFd>) -> Result<i32> {
    let epoll = Epoll::new()?;
    epoll.add(pidfd.as_fd(), event::READ, ENDED)?;
    epoll.add(signals.as_fd(), event::READ, SIGNAL)?;
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let raw = match console {
        Some(master) => {
            epoll.add(master.as_fd(), event::READ, MASTER)?;
            // A file or `/dev/null` cannot be waited for: it has no input for a terminal.
            let _ = epoll.add(stdin.as_fd(), event::READ, INPUT);
            copy_size(stdin.as_fd(), master.as_fd());
            Raw::set(stdin.as_fd())
        }
        None => None,
    };
    let mut ended = false;
    let mut status = None;
    let mut open = console.is_some();
    while !ended || open {
        let mut ready = Vec::new();
        // After the end only what is in the terminal is waited for, and not for long: others may hold it.
        epoll.wait(ended.then_some(50), |token, _| ready.push(token))?;
        if ended && ready.is_empty() {
            break;
        }
        for token in ready {
            match (token, console) {
                (ENDED, _) => {
                    ended = true;
                    epoll.remove(pidfd.as_fd());
                }
                (SIGNAL, _) => {
                    while let Some(number) = signal::read(signals) {
                        match (number, console) {
                            (SIGCHLD, _) => {
                                while let Some(one) = process::reap_any() {
                                    status = status.or((one.pid == pid).then_some(one.status));
                                }
                            }
                            (SIGWINCH, Some(master)) => copy_size(stdin.as_fd(), master.as_fd()),
                            (number, _) => drop(process::pidfd_signal(pidfd.as_fd(), number)),
                        }
                    }
                }
                (MASTER, Some(master)) => {
                    open = carry(master.as_fd(), stdout.as_fd());
                    if !open {
                        epoll.remove(master.as_fd());
                    }
                }
                (INPUT, Some(master)) if !carry(stdin.as_fd(), master.as_fd()) => epoll.remove(stdin.as_fd()),
                _ => {}
            }
        }
    }
    drop(raw);
    match status {
        Some(status) => Ok(status),
        None => Ok(process::wait(pid)?.status),
    }
}

/// Carries what is there; false at the end.
fn carry(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    match fd::read(from, &mut buffer) {
        Ok(0) => false,
        Ok(count) => fd::write_all(to, &buffer[..count]).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    if let Some((rows, columns)) = pty::size(from) {
        let _ = pty::set_size(to, rows, columns);
    }
}

/// The caller's terminal, raw until this is dropped.
struct Raw(pty::Modes);

impl Raw {
    fn set(terminal: BorrowedFd<'_>) -> Option<Self> {
        pty::Modes::make_raw(terminal).map(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.restore(std::io::stdin().as_fd());
    }
}
