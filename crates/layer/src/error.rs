//! What can go wrong with a layer: what it says, how it is packed, and what the disk says to it.

use std::io;
use std::path::PathBuf;

use gantry_errdefs::Kind;
use rustix::io::Errno;

use crate::Compression;

/// Why a layer was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer ends too early.
    #[error("layer is truncated: unexpected EOF in {0}")]
    Truncated(String),
    /// The compressed stream is broken.
    #[error("layer is corrupt: invalid {algorithm} stream")]
    Compressed {
        /// How it is packed.
        algorithm: Compression,
        /// What is wrong with it.
        source: io::Error,
    },
    /// It is packed in a way that layers are not.
    #[error("layer compression {0} is not supported")]
    Unsupported(&'static str),
    /// The blob could not be read.
    #[error("failed to read layer")]
    Read(#[source] io::Error),
    /// The tar is broken.
    #[error("layer is corrupt: invalid tar header at byte {offset}: {problem}")]
    Header {
        /// Where in the uncompressed stream.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// An entry or a link names something outside of the root.
    #[error("layer entry {name:?} is outside of the root")]
    Outside {
        /// As it stands in the layer.
        name: String,
    },
    /// The folder of an entry is reached over a symbolic link that leads out of the root or nowhere.
    #[error("layer entry {name:?} leads through the symbolic link {link:?} to {to:?}, which is {why}")]
    Symlink {
        /// As it stands in the layer.
        name: String,
        /// The link, from the root.
        link: String,
        /// What the link says.
        to: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// The folder of an entry is no folder.
    #[error("layer entry {name:?}: {parent:?} is not a directory")]
    NotDirectory {
        /// As it stands in the layer.
        name: String,
        /// From the root.
        parent: String,
    },
    /// A hard link to what is not there.
    #[error("layer entry {name:?} is a hard link to {to:?}, which does not exist")]
    NoLinkTarget {
        /// As it stands in the layer.
        name: String,
        /// What it links to.
        to: String,
    },
    /// An entry that makes no sense.
    #[error("layer entry {name:?} is invalid: {problem}")]
    Entry {
        /// As it stands in the layer.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An entry of a type that layers do not have.
    #[error("layer entry {name:?}: unhandled tar header type {kind}")]
    Type {
        /// As it stands in the layer.
        name: String,
        /// The type flag.
        kind: u8,
    },
    /// The mounts are not such that a layer could be applied to them.
    #[error("failed to apply layer to mount of type {kind:?}: {problem}")]
    Target {
        /// The file system type.
        kind: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A folder of the target cannot be opened.
    #[error("failed to open {path:?}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system said no.
    #[error("failed to {operation} {name:?}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// As it stands in the layer.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Its kind at a border: what the layer says wrong is an invalid argument, a full disk an exhausted resource.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Truncated(_)
            | Self::Compressed { .. }
            | Self::Unsupported(_)
            | Self::Header { .. }
            | Self::Outside { .. }
            | Self::Symlink { .. }
            | Self::NotDirectory { .. }
            | Self::NoLinkTarget { .. }
            | Self::Entry { .. }
            | Self::Type { .. }
            | Self::Target { .. } => Kind::InvalidArgument,
            Self::Io { source, .. } | Self::Open { source, .. } | Self::Read(source) => {
                let full = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE];
                if full
                    .iter()
                    .any(|e| source.raw_os_error() == Some(e.raw_os_error()))
                {
                    return Kind::ResourceExhausted;
                }
                match source.kind() {
                    io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
                    io::ErrorKind::InvalidFilename => Kind::InvalidArgument,
                    _ => Kind::Internal,
                }
            }
        }
    }

    pub(crate) fn io(operation: &'static str, name: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            name: lossy(name),
            source: source.into(),
        }
    }
}

/// A name as it can be shown.
pub(crate) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl From<Error> for gantry_errdefs::Error {
    /// The message stays, what the system said becomes the cause.
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Compressed { source, .. }
            | Error::Read(source)
            | Error::Open { source, .. }
            | Error::Io { source, .. } => Self::new(kind, message).with_source(source),
            _ => Self::new(kind, message),
        }
    }
}
