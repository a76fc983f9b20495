//! How a system call fails: what was being done to what, and the operating system's answer.

use std::io;
use std::path::Path;

/// A failed system call.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    what: String,
    source: io::Error,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `what` failed, for example `mount proc on /proc`.
    pub fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            what: what.into(),
            source,
        }
    }

    /// `what` failed with the calling thread's `errno`.
    pub fn last(what: impl Into<String>) -> Self {
        Self::new(what, io::Error::last_os_error())
    }

    /// `call` on `path` failed with the calling thread's `errno`.
    pub(crate) fn last_path(call: &str, path: &Path) -> Self {
        Self::new(format!("{call} {}", path.display()), io::Error::last_os_error())
    }

    /// The operating system's number, 0 when there is none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    /// The operating system's answer.
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.source.kind(), format!("{}: {}", error.what, error.source))
    }
}

/// Turns the -1 of a system call into an error.
pub(crate) fn check(result: impl Into<i64>, what: impl FnOnce() -> String) -> Result<i64> {
    match result.into() {
        -1 => Err(Error::last(what())),
        value => Ok(value),
    }
}

/// Calls again while interrupted.
pub(crate) fn retry(mut call: impl FnMut() -> i64) -> i64 {
    loop {
        let result = call();
        if result != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return result;
        }
    }
}

/// A path as the kernel takes it; one with a NUL is an error.
pub(crate) fn c_path(path: &Path) -> Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        Error::new(
            format!("use the path {}", path.display()),
            io::Error::from_raw_os_error(libc::EINVAL),
        )
    })
}

/// A text as the kernel takes it; one with a NUL is an error.
pub(crate) fn c_text(text: &str) -> Result<std::ffi::CString> {
    std::ffi::CString::new(text).map_err(|_| {
        Error::new(
            format!("use the text {text:?}"),
            io::Error::from_raw_os_error(libc::EINVAL),
        )
    })
}
