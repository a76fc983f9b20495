//! The engine itself: ping, version, info, events.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gantry_api_types::system::{Info, Version as VersionAnswer};
use gantry_api_types::{API_VERSION, MIN_API_VERSION};
use gantry_engine::EventOptions;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};

use super::App;
use crate::error::Result;
use crate::extract::Query;
use crate::stream;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/events", get(events))
}

async fn ping() -> Response {
    let headers = [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    // No builder yet: a client that is told of none uses the classic API, and hears there that it is not built.
    (headers, [("Swarm", "inactive"), ("Builder-Version", "1")], "OK").into_response()
}

async fn version(State(app): State<App>) -> Result<Json<VersionAnswer>> {
    let mut answer = app.engine.version().await?;
    answer.platform.name = "Gantry".to_owned();
    answer.version = env!("CARGO_PKG_VERSION").to_owned();
    answer.api_version = API_VERSION.to_owned();
    answer.min_api_version = MIN_API_VERSION.to_owned();
    Ok(Json(answer))
}

async fn info(State(app): State<App>) -> Result<Json<Info>> {
    Ok(Json(app.engine.info().await?))
}

async fn events(State(app): State<App>, query: Query) -> Result<Response> {
    let options = EventOptions {
        since: query.text("since").to_owned(),
        until: query.text("until").to_owned(),
        filters: query.filters()?,
    };
    Ok(stream::json(app.engine.events(options).await?, "\n"))
}
