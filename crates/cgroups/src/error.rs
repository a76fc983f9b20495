//! How work on a cgroup fails.

use std::io;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `/proc` could not be read, or says what cannot be.
    #[error("failed to find the cgroup hierarchies")]
    Find(#[source] io::Error),
    /// There is none.
    #[error("no cgroup hierarchy is mounted: mount one on /sys/fs/cgroup")]
    None,
    /// A path that would leave the hierarchy.
    #[error("invalid cgroup path {path:?}: it must not contain \"..\"")]
    Path {
        /// What was given.
        path: String,
    },
    /// A cgroup could not be made.
    #[error("mkdir {}", path.display())]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cgroup could not be removed.
    #[error("failed to remove the cgroup {path:?}")]
    Remove {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be opened for writing.
    #[error("openat2 {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value was refused.
    #[error("failed to write {value:?}: write {}", path.display())]
    Write {
        /// What.
        value: String,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value could not be read.
    #[error("failed to read {path:?}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A limit that this machine cannot set.
    #[error("cannot set {controller} limit: container could not join or create cgroup")]
    NoController {
        /// Whose.
        controller: String,
    },
    /// A file of version 2 that was named as it is.
    #[error("unable to set unified resource {file:?}")]
    Unified {
        /// Which.
        file: String,
        /// Why.
        source: Box<Error>,
    },
    /// An ordinary user's cgroup that could not be made, though a limit needs it.
    #[error("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")]
    Rootless(#[source] Box<Error>),
    /// A cgroup could not be given away.
    #[error("failed to change the owner of {path:?}")]
    Delegate {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Where there is none.
    #[error("systemd not running on this host, cannot use systemd cgroups manager")]
    NoSystemd,
    /// No word with it.
    #[error(
        "failed to connect to dbus (hint: for rootless containers, maybe you need to install dbus-user-session package, \
         see https://github.com/opencontainers/runc/blob/master/docs/cgroup-v2.md)"
    )]
    Bus(#[source] io::Error),
    /// systemd would not.
    #[error("{what}")]
    Unit {
        /// What was tried, with which unit.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value out of range.
    #[error("{0}")]
    Invalid(String),
    /// A wait that took too long.
    #[error("the cgroup {path:?} did not become {state} in time")]
    Slow {
        /// Where.
        path: PathBuf,
        /// What it should be.
        state: &'static str,
    },
    /// The kernel's device filter.
    #[error("failed to set the device filter of {path:?}")]
    Devices {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
