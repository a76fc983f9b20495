//! `/images/…`. Names of images contain slashes, so that what follows one is taken off by hand.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use futures_util::TryStreamExt;
use gantry_api_types::auth::AuthConfig;
use gantry_api_types::image::{DeleteResponse, Summary};
use gantry_errdefs::Error;
use http::{HeaderMap, StatusCode};
use tokio_util::io::StreamReader;

use super::App;
use crate::error::{ApiError, Result};
use crate::extract::Query;
use crate::stream;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/create", post(pull))
        .route("/images/load", post(load))
        .route("/images/{*name}", get(show).post(change).delete(remove))
}

async fn list(State(app): State<App>, query: Query) -> Result<Json<Vec<Summary>>> {
    Ok(Json(
        app.engine
            .image_list(&query.filters()?, query.flag("all"))
            .await?,
    ))
}

async fn pull(State(app): State<App>, headers: HeaderMap, query: Query) -> Result<Response> {
    let image = query.text("fromImage");
    if image.is_empty() {
        return Err(ApiError(Error::not_implemented(
            "import of a file system is not implemented by this engine",
        )));
    }
    let reference = with_tag(image, query.text("tag"));
    let platform = query.get("platform").filter(|platform| !platform.is_empty());
    let messages = app
        .engine
        .image_pull(&reference, platform, credentials(&headers)?)
        .await?;
    Ok(stream::json(messages, "\r\n"))
}

/// The reference of a pull: the tag, or digest, comes as a parameter of its own.
fn with_tag(image: &str, tag: &str) -> String {
    match tag {
        "" => image.to_owned(),
        digest if digest.contains(':') => format!("{image}@{digest}"),
        tag => format!("{image}:{tag}"),
    }
}

/// The header `X-Registry-Auth`: base64url of JSON.
fn credentials(headers: &HeaderMap) -> Result<Option<AuthConfig>> {
    let Some(header) = headers.get("X-Registry-Auth").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let invalid = |why: String| ApiError::invalid(format!("invalid X-Registry-Auth header: {why}"));
    let text = header.as_bytes().trim_ascii_end();
    let text = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(text))
        .map_err(|e| invalid(e.to_string()))?;
    serde_json::from_slice::<AuthConfig>(&json)
        .map(|auth| (auth != AuthConfig::default()).then_some(auth))
        .map_err(|e| invalid(e.to_string()))
}

async fn load(State(app): State<App>, query: Query, body: Body) -> Result<Response> {
    let archive = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    let messages = app
        .engine
        .image_load(Box::pin(archive), query.flag("quiet"))
        .await?;
    Ok(stream::json(messages, "\r\n"))
}

async fn show(State(app): State<App>, Path(path): Path<String>) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/json") {
        return Ok(Json(app.engine.image_inspect(name).await?).into_response());
    }
    if let Some(name) = path.strip_suffix("/history") {
        return Ok(Json(app.engine.image_history(name).await?).into_response());
    }
    Err(unknown(&path, &["get", "search", "attestations"]))
}

async fn change(State(app): State<App>, Path(path): Path<String>, query: Query) -> Result<Response> {
    if let Some(name) = path.strip_suffix("/tag") {
        app.engine
            .image_tag(name, query.text("repo"), query.text("tag"))
            .await?;
        return Ok(StatusCode::CREATED.into_response());
    }
    Err(unknown(&path, &["push", "prune"]))
}

async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<Vec<DeleteResponse>>> {
    Ok(Json(
        app.engine
            .image_remove(&name, query.flag("force"), query.flag("noprune"))
            .await?,
    ))
}

/// A path that is no route, or one that is not built.
fn unknown(path: &str, not_built: &[&str]) -> ApiError {
    let last = path.rsplit('/').next().unwrap_or_default();
    ApiError(match not_built.contains(&last) {
        true => Error::not_implemented(format!("/images/{path} is not implemented by this engine")),
        false => Error::not_found("page not found"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_or_digest_is_joined() {
        assert_eq!(with_tag("a/b", ""), "a/b");
        assert_eq!(with_tag("a", "1"), "a:1");
        assert_eq!(with_tag("a", "sha256:00"), "a@sha256:00");
    }

    #[test]
    fn credentials_are_read_with_and_without_padding() {
        let header = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("X-Registry-Auth", text.parse().unwrap());
            credentials(&headers)
        };
        let json = r#"{"username":"u","password":"p?>"}"#;
        for engine in [
            &base64::engine::general_purpose::URL_SAFE,
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        ] {
            let auth = header(&engine.encode(json)).unwrap().unwrap();
            assert_eq!((auth.username.as_str(), auth.password.as_str()), ("u", "p?>"));
        }
        assert!(
            header("e30=").unwrap().is_none(),
            "an empty object is no credentials"
        );
        assert!(header("!").is_err());
        assert!(credentials(&HeaderMap::new()).unwrap().is_none());
    }
}
