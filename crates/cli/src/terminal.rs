//! The user's terminal: its size, and raw mode that is undone on every way out. It must not know what
//! is typed or shown.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

use nix::sys::termios::{self, SetArg, Termios};

// How the terminal was before raw mode, for whoever ends the program.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode of standard input; dropping it restores what was.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes standard input raw, if it is a terminal.
    pub(crate) fn enter() -> io::Result<Option<Raw>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        if let Ok(mut saved) = BEFORE.lock() {
            saved.get_or_insert(before);
        }
        restore_on_panic();
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        Ok(Some(Raw(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was before raw mode; nothing happens without raw mode.
pub(crate) fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut saved| saved.take());
    if let Some(before) = before {
        // Output that the program was sent last is still to be seen as it was meant.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
    }
}

// A release build aborts on a panic: nothing is dropped then.
fn restore_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        default(info);
    }));
}

/// Rows and columns of a terminal; none if it is none.
pub(crate) fn size_of(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let (columns, rows) = terminal_size::terminal_size_of(fd)?;
    Some((rows.0, columns.0))
}

/// Rows and columns of the terminal on standard output.
pub(crate) fn size() -> Option<(u16, u16)> {
    size_of(io::stdout().as_fd())
}

/// Whether standard output is a terminal.
pub(crate) fn is_output() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard input is a terminal.
pub(crate) fn is_input() -> bool {
    io::stdin().is_terminal()
}
