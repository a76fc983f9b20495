//! How the runtime fails: one sentence for people, in runc's words where callers read them.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id is not one.
    #[error("invalid container id format")]
    Id,
    /// There is such a container.
    #[error("container with given ID already exists")]
    Exists,
    /// There is none.
    #[error("container does not exist")]
    NotFound,
    /// It has no process.
    #[error("container not running")]
    NotRunning,
    /// Its process cannot be signalled.
    #[error("{0}")]
    State(String),
    /// The bundle's configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// A file of the bundle or of the state.
    #[error("{what} {path:?}")]
    File {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// JSON that cannot be read.
    #[error("failed to read {path:?}")]
    Json {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The container's process, or a hook, said why.
    #[error("{0}")]
    Init(String),
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] gantry_sys::Error),
    /// The container's cgroup.
    #[error(transparent)]
    Cgroup(#[from] gantry_cgroups::Error),
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A file operation that failed.
    pub fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// The message and those of all causes, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// The messages of an error and of its causes, joined by `": "`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = describe(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = describe(cause);
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// An error of the operating system in the words of C, without Rust's number.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let text = match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    };
    match error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error)
    {
        Some(_) => text.to_lowercase(),
        None => text,
    }
}
