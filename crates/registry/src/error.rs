//! What may go wrong with a registry, in Docker's words. Knows no request.

use gantry_errdefs::Kind;

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a registry did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry could not be reached, or the connection broke.
    #[error("{method} \"{url}\": {reason}")]
    Transport {
        /// In Go's spelling: `Get`.
        method: &'static str,
        /// What was asked for, without credentials.
        url: String,
        /// What the network said, as Go words it.
        reason: String,
    },
    /// The registry wants credentials of a kind that there are none of.
    #[error("{method} \"{url}\": no basic auth credentials")]
    NoCredentials {
        /// `Head`.
        method: &'static str,
        /// What was asked for.
        url: String,
    },
    /// The server of tokens refused.
    #[error("{method} \"{url}\": {reason}")]
    Token {
        /// `Get`.
        method: &'static str,
        /// What the token was for.
        url: String,
        /// What it said.
        reason: String,
    },
    /// There is no such tag or digest.
    #[error("manifest for {reference} not found: {cause}")]
    ManifestUnknown {
        /// As the user writes it.
        reference: String,
        /// What the registry said.
        cause: String,
    },
    /// There is no such repository.
    #[error("repository {name} not found: {cause}")]
    NameUnknown {
        /// As the user writes it.
        name: String,
        /// What the registry said.
        cause: String,
    },
    /// It is not ours to read, or not there; registries do not say which.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
    )]
    Denied {
        /// As the user writes it.
        name: String,
        /// What the registry said.
        cause: String,
    },
    /// The credentials are wrong or missing.
    #[error("{0}")]
    Unauthorized(String),
    /// Too much was asked in too short a time.
    #[error("{0}")]
    TooManyRequests(String),
    /// The registry's own word on a failure that has no other meaning here.
    #[error("{0}")]
    Registry(String),
    /// A status that nothing is known of.
    #[error("received unexpected HTTP status: {0}")]
    Status(String),
    /// A blob is not there though a manifest names it.
    #[error("blob {digest} of {name} not found: {cause}")]
    BlobUnknown {
        /// The digest.
        digest: String,
        /// The repository.
        name: String,
        /// What the registry said.
        cause: String,
    },
    /// The bytes of a manifest are not what its digest says.
    #[error("manifest verification failed for digest {0}")]
    Digest(String),
    /// More bytes than a manifest may have.
    #[error("manifest of {reference} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        reference: String,
        /// The limit.
        limit: u64,
    },
    /// The format that nobody writes any more.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author \
         of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at \
         https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(String),
    /// An answer that is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// The client could not be set up.
    #[error("failed to set up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    /// The kind for callers.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::Denied { .. }
            | Self::BlobUnknown { .. } => Kind::NotFound,
            Self::Unauthorized(_) | Self::Token { .. } | Self::NoCredentials { .. } => Kind::Unauthenticated,
            Self::Digest(_) => Kind::DataLoss,
            Self::Schema1(_) => Kind::InvalidArgument,
            Self::Transport { .. } | Self::Status(_) => Kind::Unavailable,
            Self::TooManyRequests(_) => Kind::ResourceExhausted,
            _ => Kind::Internal,
        }
    }

    /// Whether the same may work a little later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Transport { .. } | Self::Status(_) | Self::TooManyRequests(_)
        )
    }
}

impl From<Error> for gantry_errdefs::Error {
    fn from(error: Error) -> Self {
        let kind = match error.is_passing() {
            true => Kind::Unavailable,
            false => error.kind(),
        };
        Self::new(kind, error.to_string())
    }
}
