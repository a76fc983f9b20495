//! What is printed. A reader that went away ends the program as a broken pipe would, silently.

use std::io::{self, Write};

use crate::terminal;

/// What a shell reports of a program killed by SIGPIPE.
const BROKEN_PIPE: i32 = 128 + 13;

/// Prints a text as it is.
pub(crate) fn text(text: &str) {
    bytes(text.as_bytes());
}

/// Prints a line.
pub(crate) fn line(line: &str) {
    let mut all = String::with_capacity(line.len() + 1);
    all.push_str(line);
    all.push('\n');
    text(&all);
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    settle(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Tells the user a line.
pub(crate) fn error_line(line: &str) {
    let mut err = io::stderr().lock();
    settle(writeln!(err, "{line}"));
}

/// Tells the user a text as it is.
pub(crate) fn error_text(text: &str) {
    let mut err = io::stderr().lock();
    settle(err.write_all(text.as_bytes()));
}

fn settle(result: io::Result<()>) {
    if result.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        exit(BROKEN_PIPE);
    }
}

/// Ends the program; the terminal is as it was before.
pub(crate) fn exit(code: i32) -> ! {
    terminal::restore();
    std::process::exit(code)
}
