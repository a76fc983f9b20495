//! How a request fails, in Docker's words.

use gantry_errdefs::Kind;
use thiserror::Error;

/// A result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a request fails. `Display` is what a user is shown, causes included where they help.
#[derive(Debug, Error)]
pub enum Error {
    /// The address of the engine cannot be read.
    #[error("unable to parse docker host `{0}`")]
    BadHost(String),
    /// This way to an engine is not spoken.
    #[error("protocol not available: {0}")]
    Scheme(String),
    /// No engine answers there.
    #[error("Cannot connect to the Gantry daemon at {address}. Is the gantryd daemon running?")]
    Connect {
        /// The engine.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The socket is there, but not for this user.
    #[error("permission denied while trying to connect to the Gantry daemon socket at {address}")]
    Permission {
        /// The engine.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The engine refused.
    #[error("Error response from daemon: {message}")]
    Engine {
        /// The HTTP status.
        status: u16,
        /// What the engine said.
        message: String,
    },
    /// A stream of progress ended with an error of the engine.
    #[error("{0}")]
    Progress(String),
    /// The connection broke while it was used.
    #[error("error during connect: {operation}: {reason}")]
    Broken {
        /// The request.
        operation: String,
        /// What happened to it.
        reason: String,
    },
    /// The engine's answer is no HTTP or not the JSON of this request.
    #[error("unexpected answer to {operation}: {reason}")]
    Answer {
        /// The request.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that cannot stand in a path.
    #[error("invalid {0} name or ID: value is empty")]
    EmptyName(&'static str),
    /// Reading what is to be sent, or writing what came.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The kind, as HTTP's status says it.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Engine { status, .. } => match status {
                400 => Kind::InvalidArgument,
                401 => Kind::Unauthenticated,
                403 => Kind::PermissionDenied,
                404 => Kind::NotFound,
                304 => Kind::NotModified,
                409 => Kind::Conflict,
                501 => Kind::NotImplemented,
                503 => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Error::BadHost(_) | Error::Scheme(_) | Error::EmptyName(_) => Kind::InvalidArgument,
            Error::Connect { .. } => Kind::Unavailable,
            Error::Permission { .. } => Kind::PermissionDenied,
            _ => Kind::Internal,
        }
    }

    /// Whether the engine does not know the object.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Kind::NotFound
    }
}
