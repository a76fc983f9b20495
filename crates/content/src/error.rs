//! What can go wrong with blobs and ingests, in containerd's words. Knows no border but `gantry_errdefs`.

use std::io;
use std::path::PathBuf;

use gantry_errdefs::Kind;
use gantry_oci::Digest;
use rustix::io::Errno;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such blob.
    #[error("content digest {0}: not found")]
    NotFound(Digest),
    /// The blob is there already; the ingest, if there was one, is gone.
    #[error("content {0}: already exists")]
    AlreadyExists(Digest),
    /// No such ingest.
    #[error("ingest ref {0:?} not found: not found")]
    NoIngest(String),
    /// Another writer has the ingest.
    #[error("ref {0} locked: unavailable")]
    Locked(String),
    /// The ingest was begun for a blob of another size.
    #[error("provided total differs from status: {0} != {1}: invalid argument")]
    OtherTotal(u64, u64),
    /// Committed too early, or too much was sent.
    #[error("unexpected commit size {actual}, expected {expected}: failed precondition")]
    Size {
        /// Bytes in the ingest.
        actual: u64,
        /// Bytes that the commit asked for.
        expected: u64,
    },
    /// What was sent is not what was asked for.
    #[error("unexpected commit digest {actual}, expected {expected}: failed precondition")]
    Digest {
        /// Digest of the bytes in the ingest.
        actual: Digest,
        /// The digest that the commit asked for.
        expected: Digest,
    },
    /// A read from behind the end.
    #[error("offset {offset} past content end {size}: out of range")]
    OutOfRange {
        /// Where the read was to begin.
        offset: u64,
        /// Size of the blob.
        size: u64,
    },
    /// Only truncation to nothing is possible.
    #[error("truncate: unsupported size {0}: invalid argument")]
    Truncate(u64),
    /// The reference is empty.
    #[error("ingest ref must not be empty: invalid argument")]
    EmptyReference,
    /// The disk, the quota or the table of open files is used up.
    #[error("failed to {operation} {path:?}")]
    Exhausted {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system said.
    #[error("failed to {operation} {path:?}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Its kind at a border.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) | Self::NoIngest(_) => Kind::NotFound,
            Self::AlreadyExists(_) => Kind::AlreadyExists,
            Self::Locked(_) => Kind::Unavailable,
            Self::Size { .. } | Self::Digest { .. } => Kind::FailedPrecondition,
            Self::OutOfRange { .. } => Kind::OutOfRange,
            Self::OtherTotal(..) | Self::Truncate(_) | Self::EmptyReference => Kind::InvalidArgument,
            Self::Exhausted { .. } => Kind::ResourceExhausted,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Kind::PermissionDenied
            }
            Self::Io { .. } => Kind::Internal,
        }
    }

    /// What the system said, sorted by whether it is for want of room.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        let (path, source) = (path.into(), source.into());
        let exhausted = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE]
            .iter()
            .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
        if exhausted {
            return Self::Exhausted {
                operation,
                path,
                source,
            };
        }
        Self::Io {
            operation,
            path,
            source,
        }
    }
}

impl From<Error> for gantry_errdefs::Error {
    /// The message stays, what the system said becomes the cause.
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Exhausted { source, .. } | Error::Io { source, .. } => {
                Self::new(kind, message).with_source(source)
            }
            _ => Self::new(kind, message),
        }
    }
}
