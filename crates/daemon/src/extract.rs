//! What handlers take from a request: Go's reading of query parameters and Docker's of JSON bodies.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use gantry_api_types::compat::ApiVersion;
use gantry_api_types::filters::Filters;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Result};

/// The largest JSON body. Docker has no limit; nothing sensible comes near this.
const LARGEST_BODY: usize = 16 << 20;

/// The query parameters, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The first value of a parameter, empty when absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean by Docker's rule: whatever is not a word for no is yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// A boolean with another default for an absent parameter.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            None => default,
            Some(value) => !matches!(
                value.trim().to_lowercase().as_str(),
                "" | "0" | "no" | "false" | "none"
            ),
        }
    }

    /// A number; absent or empty is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::invalid(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax (parameter {name:?})"
                ))
            }),
        }
    }

    /// The parameter `filters`.
    pub(crate) fn filters(&self) -> Result<Filters> {
        Filters::parse(self.text("filters")).map_err(|e| ApiError::invalid(format!("invalid filter: {e}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| ApiError::invalid(format!("invalid query: {e}")))?;
        Ok(Self(query.0))
    }
}

/// The version of the API that the client speaks.
pub(crate) struct Version(pub(crate) ApiVersion);

impl<S: Send + Sync> FromRequestParts<S> for Version {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Ok(Self(
            parts.extensions.get().copied().unwrap_or(ApiVersion::NEWEST),
        ))
    }
}

/// A JSON body. An absent one is an error; see [`OptionalJson`].
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON body that may be absent.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match read(request, state).await? {
            Some(value) => Ok(Self(value)),
            None => Err(ApiError::invalid(
                "invalid JSON: got EOF while reading request body",
            )),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        Ok(Self(read(request, state).await?.unwrap_or_default()))
    }
}

async fn read<S, T: DeserializeOwned>(request: Request, _: &S) -> Result<Option<T>> {
    let media_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), LARGEST_BODY)
        .await
        .map_err(|e| ApiError::invalid(format!("invalid JSON: {e}")))?;
    if body.is_empty() {
        return Ok(None);
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.is_empty() && !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::invalid(format!(
            "unsupported Content-Type header ({media_type}): must be 'application/json'"
        )));
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|e| ApiError::invalid(format!("invalid JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn flags_are_read_as_docker_does() {
        for no in ["", "0", "no", "False", " none "] {
            assert!(!query(&[("a", no)]).flag("a"), "{no:?}");
        }
        for yes in ["1", "true", "yes", "x"] {
            assert!(query(&[("a", yes)]).flag("a"), "{yes:?}");
        }
        assert!(query(&[]).flag_or("a", true));
        assert!(!query(&[]).flag("a"));
    }

    #[test]
    fn numbers_may_be_absent_but_not_wrong() {
        assert_eq!(query(&[("t", "")]).number("t").unwrap(), None);
        assert_eq!(query(&[("t", "-1")]).number("t").unwrap(), Some(-1));
        assert!(query(&[("t", "x")]).number("t").is_err());
    }
}
