//! Pseudo-terminals.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use crate::error::{Result, check};

/// Opens the master of a new terminal from an open `ptmx`'s file system: `ptmx` is a path such as `/dev/pts/ptmx`.
pub fn open_master(ptmx: &std::path::Path) -> Result<OwnedFd> {
    let master = crate::path::open(ptmx, libc::O_RDWR | libc::O_NOCTTY)?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the integer lives until the call returns and is what TIOCSPTLCK takes.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    check(result, || "unlock a terminal".to_owned())?;
    Ok(master)
}

/// The number of a master's slave: `/dev/pts/N`.
pub fn number(master: BorrowedFd<'_>) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the integer lives until the call returns and is what TIOCGPTN fills.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(result, || "find a terminal's number".to_owned())?;
    Ok(number)
}

/// The slave's path below the file system that the master is of.
pub fn slave_path(master: BorrowedFd<'_>) -> Result<PathBuf> {
    Ok(PathBuf::from(format!("/dev/pts/{}", number(master)?)))
}

/// Opens the slave through the master, whatever lies at its path.
pub fn open_slave(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    const TIOCGPTPEER: libc::c_ulong = 0x5441;
    // SAFETY: the argument is an integer of flags.
    let fd = unsafe {
        libc::ioctl(
            master.as_raw_fd(),
            TIOCGPTPEER as _,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    };
    let fd = check(fd, || "open a terminal".to_owned())?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes a terminal that of the calling session.
pub fn make_controlling(slave: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the argument is an integer.
    let result = unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(result, || "make a terminal the session's".to_owned()).map(drop)
}

/// Sets a terminal's size in characters.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure lives until the call returns and is what TIOCSWINSZ takes.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    check(result, || "set a terminal's size".to_owned()).map(drop)
}

/// Makes descriptors 0, 1 and 2 those of a terminal.
pub fn take_stdio(slave: BorrowedFd<'_>) -> Result<()> {
    for target in 0..=2 {
        duplicate_onto(slave, target)?;
    }
    Ok(())
}

/// Makes `target` another name of a descriptor, kept by programs that are executed.
pub fn duplicate_onto(fd: BorrowedFd<'_>, target: i32) -> Result<()> {
    if fd.as_raw_fd() == target {
        // SAFETY: integers only.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }, || {
            format!("keep descriptor {target}")
        })
        .map(drop);
    }
    // SAFETY: integers only; what was open as `target` is closed by the kernel.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }, || {
        format!("make descriptor {target}")
    })
    .map(drop)
}

/// Whether output's `\n` is sent as it is: the mode that a container's terminal is in.
pub fn set_onlcr(terminal: BorrowedFd<'_>, on: bool) -> Result<()> {
    // SAFETY: zero is a valid value for every field.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives until the call returns.
    let result = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut modes) };
    check(result, || "read a terminal's modes".to_owned())?;
    match on {
        true => modes.c_oflag |= libc::ONLCR,
        false => modes.c_oflag &= !libc::ONLCR,
    }
    // SAFETY: the structure lives until the call returns.
    let result = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const modes) };
    check(result, || "set a terminal's modes".to_owned()).map(drop)
}

/// A terminal's size: rows and columns. None when it is not a terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    // SAFETY: zero is a valid value for every field.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives until the call returns and is what TIOCGWINSZ fills.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0).then_some((size.ws_row, size.ws_col))
}

/// A terminal's modes, kept to be given back.
pub struct Modes(libc::termios);

impl Modes {
    /// Makes a terminal raw and returns the modes it had. None when it is not a terminal.
    pub fn make_raw(terminal: BorrowedFd<'_>) -> Option<Self> {
        // SAFETY: zero is a valid value for every field.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the structure lives until the call returns.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut modes) } != 0 {
            return None;
        }
        let kept = modes;
        // SAFETY: works on the structure alone.
        unsafe { libc::cfmakeraw(&raw mut modes) };
        // Lines of ours, such as an error, still begin at the left.
        modes.c_oflag |= libc::OPOST;
        // SAFETY: the structure lives until the call returns.
        let set = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const modes) };
        (set == 0).then_some(Self(kept))
    }

    /// Gives them back.
    pub fn restore(&self, terminal: BorrowedFd<'_>) {
        // SAFETY: the structure lives until the call returns.
        unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const self.0) };
    }
}
