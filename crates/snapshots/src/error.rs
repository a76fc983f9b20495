//! What can go wrong with snapshots, in containerd's words. Knows no border but `gantry_errdefs`.

use std::io;
use std::path::PathBuf;

use gantry_errdefs::Kind;

/// Why an operation of a snapshotter failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such snapshot.
    #[error("snapshot {0} does not exist: not found")]
    NotFound(String),
    /// No such parent.
    #[error("parent snapshot {0} does not exist: not found")]
    NoParent(String),
    /// The key or name is taken.
    #[error("snapshot {0:?}: already exists")]
    AlreadyExists(String),
    /// The parent is still written to.
    #[error("parent {0:?} is not committed snapshot: invalid argument")]
    ParentNotCommitted(String),
    /// Only an active snapshot is committed.
    #[error("snapshot {0:?} is not active: failed precondition")]
    NotActive(String),
    /// Committed snapshots are not mounted.
    #[error("requested snapshot {0} not active or view: failed precondition")]
    NotMountable(String),
    /// Others stand on it.
    #[error("cannot remove snapshot with child: failed precondition")]
    HasChild,
    /// Only labels change.
    #[error("cannot update {field:?} field on snapshot {name:?}: invalid argument")]
    Field {
        /// What was to be changed.
        field: String,
        /// Of which snapshot.
        name: String,
    },
    /// A key or name must have a character.
    #[error("snapshot key must not be empty: invalid argument")]
    EmptyKey,
    /// The system said no.
    #[error("failed to {operation} {path:?}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database said no.
    #[error("failed to {operation} in the snapshot database")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The database was written by a later version.
    #[error("the snapshot database has version {0}, which this program does not know")]
    Version(i64),
    /// What a clean-up could not do.
    #[error("failed to clean up: {}", .0.iter().map(|e| gantry_errdefs::chain(e)).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
}

impl Error {
    /// Its kind at a border.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) | Self::NoParent(_) => Kind::NotFound,
            Self::AlreadyExists(_) => Kind::AlreadyExists,
            Self::ParentNotCommitted(_) | Self::Field { .. } | Self::EmptyKey => Kind::InvalidArgument,
            Self::NotActive(_) | Self::NotMountable(_) | Self::HasChild => Kind::FailedPrecondition,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::ResourceExhausted,
                io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
                _ => Kind::Internal,
            },
            Self::Database { source, .. } if disk_full(source) => Kind::ResourceExhausted,
            Self::Database { .. } | Self::Version(_) | Self::Several(_) => Kind::Internal,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}

fn disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

impl From<Error> for gantry_errdefs::Error {
    /// The message stays, what the system or the database said becomes the cause.
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Io { source, .. } => Self::new(kind, message).with_source(source),
            Error::Database { source, .. } => Self::new(kind, message).with_source(source),
            _ => Self::new(kind, message),
        }
    }
}
