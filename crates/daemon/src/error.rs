//! How a request fails: the one place where an error's kind becomes an HTTP status. Knows no route.

use axum::Json;
use axum::response::{IntoResponse, Response};
use gantry_api_types::error::ErrorResponse;
use gantry_errdefs::{Error, Kind};
use http::StatusCode;

/// An error on its way to a client, as Docker's `{"message":"…"}`.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Error);

/// What handlers return.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// The request is malformed.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self(Error::invalid(message))
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(self.0.kind());
        if status == StatusCode::NOT_MODIFIED {
            return status.into_response();
        }
        let message = self.0.chain();
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), "{message}");
        }
        (status, Json(ErrorResponse { message })).into_response()
    }
}

/// The status of a kind of error.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::InvalidArgument | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::AlreadyExists | Kind::FailedPrecondition | Kind::Conflict => StatusCode::CONFLICT,
        Kind::NotModified => StatusCode::NOT_MODIFIED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_dockers_status() {
        for (kind, code) in [
            (Kind::NotFound, 404),
            (Kind::InvalidArgument, 400),
            (Kind::Conflict, 409),
            (Kind::FailedPrecondition, 409),
            (Kind::NotModified, 304),
            (Kind::NotImplemented, 501),
            (Kind::Unavailable, 503),
            (Kind::Internal, 500),
            (Kind::DataLoss, 500),
        ] {
            assert_eq!(status(kind).as_u16(), code, "{kind:?}");
        }
    }
}
