//! The routes of the Docker Engine API by noun. A handler reads the request, calls the engine once and writes the
//! answer; it decides nothing.

mod containers;
mod exec;
mod images;
mod system;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use gantry_engine::Engine;
use gantry_errdefs::Error;
use http::Uri;

use crate::error::ApiError;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// The engine.
    pub(crate) engine: Arc<Engine>,
}

/// Nouns of the API that are not built: known, so that a client hears the truth.
const NOT_BUILT: &[&str] = &[
    "auth",
    "build",
    "commit",
    "configs",
    "distribution",
    "grpc",
    "networks",
    "nodes",
    "plugins",
    "secrets",
    "services",
    "session",
    "swarm",
    "system",
    "tasks",
    "volumes",
];

/// Every route, without the version in front.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(containers::routes())
        .merge(exec::routes())
        .merge(images::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .with_state(App { engine })
}

async fn not_found(uri: Uri) -> Response {
    let noun = uri
        .path()
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let error = match NOT_BUILT.contains(&noun) {
        true => Error::not_implemented(format!("{} is not implemented by this engine", uri.path())),
        false => Error::not_found("page not found"),
    };
    ApiError(error).into_response()
}
