//! Execs: made below `/containers/{id}/exec`, used below `/exec/{id}`.

use axum::extract::{FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use gantry_api_types::exec::{CreateRequest, Inspect, StartRequest};
use http::StatusCode;
use http::header::UPGRADE;

use super::App;
use super::containers::size;
use crate::error::{ApiError, Result};
use crate::extract::{Json as JsonBody, OptionalJson, Query, Version};
use crate::{hijack, version};

/// The largest body of a start: three small fields.
const LARGEST_START: usize = 64 << 10;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Response> {
    if request.cmd.as_deref().is_none_or(|cmd| cmd.is_empty()) {
        return Err(ApiError::invalid("no exec command specified"));
    }
    Ok((
        StatusCode::CREATED,
        Json(app.engine.exec_create(&id, request).await?),
    )
        .into_response())
}

async fn start(
    State(app): State<App>,
    Version(version): Version,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    // The body is read first and the connection, if it is to be taken over, kept beside it.
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let wants_upgrade = parts.headers.contains_key(UPGRADE);
    let headers = parts.headers.clone();
    let body = axum::body::to_bytes(body, LARGEST_START)
        .await
        .map_err(|e| ApiError::invalid(format!("invalid JSON: {e}")))?;
    let mut read = Request::new(axum::body::Body::from(body));
    *read.headers_mut() = headers.clone();
    let OptionalJson(options) = OptionalJson::<StartRequest>::from_request(read, &()).await?;
    if options.detach {
        app.engine.exec_start(&id, options).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let exec = app.engine.exec_attach(&id, options).await?;
    let media_type = version::output_type(version, exec.terminal());
    let mut rest = Request::new(axum::body::Body::empty());
    if wants_upgrade {
        *rest.headers_mut() = headers;
    }
    if let Some(upgrade) = upgrade {
        rest.extensions_mut().insert(upgrade);
    }
    Ok(hijack::answer(rest, media_type, move |io| async move {
        if let Err(error) = exec.run(io).await {
            tracing::debug!(exec = id, "exec: {}", error.chain());
        }
    }))
}

async fn resize(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    let (height, width) = size(&query)?;
    app.engine.exec_resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

async fn inspect(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Inspect>> {
    Ok(Json(app.engine.exec_inspect(&id).await?))
}
