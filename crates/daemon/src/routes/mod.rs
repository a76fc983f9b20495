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
use http::{Method, Uri};

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
    "distribution",
    "grpc",
    "networks",
    "plugins",
    "session",
    "system",
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

async fn not_found(method: Method, uri: Uri) -> Response {
    let mut parts = uri.path().trim_start_matches('/').split('/');
    let (noun, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let error = match (noun, name) {
        // There are none of these, so that none has the name: `inspect` asks one after the other.
        ("networks", name) if method == Method::GET && !name.is_empty() => {
            Error::not_found(format!("network {name} not found"))
        }
        ("volumes", name) if method == Method::GET && !name.is_empty() => {
            Error::not_found(format!("get {name}: no such volume"))
        }
        ("plugins", name) if method == Method::GET && uri.path().ends_with("/json") => {
            Error::not_found(format!("plugin \"{name}\" not found"))
        }
        ("configs" | "nodes" | "secrets" | "services" | "swarm" | "tasks", _) => Error::unavailable(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
             swarm and try again.",
        ),
        (noun, _) if NOT_BUILT.contains(&noun) => {
            Error::not_implemented(format!("{} is not implemented by this engine", uri.path()))
        }
        _ => Error::not_found("page not found"),
    };
    ApiError(error).into_response()
}
