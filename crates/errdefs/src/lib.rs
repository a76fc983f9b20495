#![doc = include_str!("../README.md")]

use std::error::Error as StdError;
use std::fmt;

/// What kind of failure it was: the one classification that HTTP, gRPC and exit codes are mapped from.
///
/// The names are those of containerd's `errdefs` and of gRPC's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The object does not exist. gRPC `NOT_FOUND`, HTTP 404.
    NotFound,
    /// The request is malformed whatever the state. gRPC `INVALID_ARGUMENT`, HTTP 400.
    InvalidArgument,
    /// The object is there already. gRPC `ALREADY_EXISTS`, HTTP 409.
    AlreadyExists,
    /// The state of the object forbids it now. gRPC `FAILED_PRECONDITION`, HTTP 409.
    FailedPrecondition,
    /// Another operation is under way on the object. gRPC `ABORTED`, HTTP 409.
    Conflict,
    /// The request changes nothing. gRPC `FAILED_PRECONDITION`, HTTP 304.
    NotModified,
    /// The peer cannot be reached now; a retry may help. gRPC `UNAVAILABLE`, HTTP 503.
    Unavailable,
    /// Credentials are missing or wrong. gRPC `UNAUTHENTICATED`, HTTP 401.
    Unauthenticated,
    /// The caller may not do this. gRPC `PERMISSION_DENIED`, HTTP 403.
    PermissionDenied,
    /// A quota, the disk or the memory is used up. gRPC `RESOURCE_EXHAUSTED`, HTTP 500.
    ResourceExhausted,
    /// An offset or index lies outside the object. gRPC `OUT_OF_RANGE`, HTTP 400.
    OutOfRange,
    /// Not built. gRPC `UNIMPLEMENTED`, HTTP 501.
    NotImplemented,
    /// Data was lost or is corrupt. gRPC `DATA_LOSS`, HTTP 500.
    DataLoss,
    /// The caller went away. gRPC `CANCELLED`, HTTP 499 (never seen).
    Canceled,
    /// Time ran out. gRPC `DEADLINE_EXCEEDED`, HTTP 504.
    DeadlineExceeded,
    /// Anything else. gRPC `INTERNAL`, HTTP 500.
    Internal,
}

/// An error with its kind, a message that names the operation and the object, and its cause.
///
/// `Display` gives the message alone; [`Error::chain`] gives the message and all causes joined by `": "`.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with its message: lower case, no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with the cause beneath it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Puts `context` in front: the kind stays, this error becomes the cause.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        Self {
            kind: self.kind,
            message: context.into(),
            source: Some(Box::new(self)),
        }
    }

    /// The message and those of all causes, joined by `": "`.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// The messages of an error and of all its causes, joined by `": "`.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    /// Keeps what the operating system said; the kind follows from it.
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => Kind::NotFound,
            K::AlreadyExists => Kind::AlreadyExists,
            K::PermissionDenied => Kind::PermissionDenied,
            K::StorageFull | K::QuotaExceeded => Kind::ResourceExhausted,
            K::TimedOut => Kind::DeadlineExceeded,
            K::ConnectionRefused | K::ConnectionReset | K::BrokenPipe => Kind::Unavailable,
            _ => Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        impl Error {$(
            $(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(Kind::$kind, message)
            }
        )*}
    };
}

constructors! {
    /// [`Kind::NotFound`].
    not_found => NotFound,
    /// [`Kind::InvalidArgument`].
    invalid => InvalidArgument,
    /// [`Kind::AlreadyExists`].
    already_exists => AlreadyExists,
    /// [`Kind::FailedPrecondition`].
    failed_precondition => FailedPrecondition,
    /// [`Kind::Conflict`].
    conflict => Conflict,
    /// [`Kind::NotModified`].
    not_modified => NotModified,
    /// [`Kind::Unavailable`].
    unavailable => Unavailable,
    /// [`Kind::NotImplemented`].
    not_implemented => NotImplemented,
    /// [`Kind::Internal`].
    internal => Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_joins_every_cause_and_display_gives_only_its_own_message() {
        let error = Error::from(std::io::Error::from_raw_os_error(28))
            .context("write blob")
            .context("pull");
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert_eq!(error.to_string(), "pull");
        assert_eq!(
            error.chain(),
            "pull: write blob: No space left on device (os error 28)"
        );
    }
}
