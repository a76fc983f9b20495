//! `/containers/…` but for execs.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::{FutureExt, StreamExt};
use gantry_api_types::compat::lift_create;
use gantry_api_types::container::{
    CreateRequest, Inspect, PruneReport, Summary, TopResponse, UpdateConfig, UpdateResponse,
};
use gantry_engine::{AttachOptions, ListOptions, LogOptions, WaitCondition};
use http::StatusCode;

use super::App;
use crate::error::{ApiError, Result};
use crate::extract::{Json as JsonBody, Query, Version};
use crate::{hijack, stream, version};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/prune", post(prune))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/top", get(top))
        .route("/containers/{id}/logs", get(logs))
        .route("/containers/{id}/stats", get(stats))
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
}

async fn list(State(app): State<App>, query: Query) -> Result<Json<Vec<Summary>>> {
    let options = ListOptions {
        all: query.flag("all"),
        limit: query.number("limit")?.unwrap_or_default(),
        size: query.flag("size"),
        filters: query.filters()?,
    };
    Ok(Json(app.engine.container_list(options).await?))
}

async fn create(
    State(app): State<App>,
    Version(version): Version,
    query: Query,
    JsonBody(mut request): JsonBody<CreateRequest>,
) -> Result<Response> {
    lift_create(version, &mut request);
    let name = query.get("name").filter(|name| !name.is_empty());
    let platform = query.get("platform").filter(|platform| !platform.is_empty());
    let created = app.engine.container_create(name, platform, request).await?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

async fn start(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.container_start(&id, query.text("detachKeys")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine
        .container_stop(&id, query.number("t")?, query.text("signal"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine
        .container_restart(&id, query.number("t")?, query.text("signal"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn kill(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.container_kill(&id, query.text("signal")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode> {
    app.engine.container_pause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unpause(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode> {
    app.engine.container_unpause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rename(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.container_rename(&id, query.text("name")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine
        .container_remove(&id, query.flag("force"), query.flag("v"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(State(app): State<App>, query: Query) -> Result<Json<PruneReport>> {
    Ok(Json(app.engine.container_prune(&query.filters()?).await?))
}

async fn inspect(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<Json<Inspect>> {
    Ok(Json(app.engine.container_inspect(&id, query.flag("size")).await?))
}

async fn top(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<Json<TopResponse>> {
    Ok(Json(
        app.engine
            .container_top(&id, query.get("ps_args").unwrap_or("-ef"))
            .await?,
    ))
}

async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    JsonBody(config): JsonBody<UpdateConfig>,
) -> Result<Json<UpdateResponse>> {
    Ok(Json(app.engine.container_update(&id, config).await?))
}

async fn resize(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    let (height, width) = size(&query)?;
    app.engine.container_resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

/// The parameters `h` and `w`.
pub(super) fn size(query: &Query) -> Result<(u32, u32)> {
    let one = |name: &str| -> Result<u32> {
        let number = query.number(name)?.unwrap_or_default();
        u32::try_from(number).map_err(|_| ApiError::invalid(format!("invalid size: {name}={number}")))
    };
    Ok((one("h")?, one("w")?))
}

/// The head of the answer says that the wait has begun; the body follows with the exit.
async fn wait(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let condition = WaitCondition::parse(query.text("condition")).map_err(ApiError::invalid)?;
    let wait = app.engine.container_wait(&id, condition).await?;
    Ok(stream::json(wait.into_stream(), "\n"))
}

async fn logs(
    State(app): State<App>,
    Version(version): Version,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        since: query.text("since").to_owned(),
        until: query.text("until").to_owned(),
        tail: query.text("tail").to_owned(),
    };
    if !(options.stdout || options.stderr) {
        return Err(ApiError::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let logs = app.engine.container_logs(&id, options).await?;
    let output = logs.stream.map(|chunk| chunk.map_err(|error| error.chain()));
    Ok(stream::bytes(
        output,
        version::output_type(version, logs.terminal),
    ))
}

async fn stats(State(app): State<App>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let (go_on, one_shot) = (query.flag_or("stream", true), query.flag("one-shot"));
    if go_on && one_shot {
        return Err(ApiError::invalid("cannot have stream=true and one-shot=true"));
    }
    Ok(stream::json(
        app.engine.container_stats(&id, go_on, one_shot).await?,
        "\n",
    ))
}

async fn attach(
    State(app): State<App>,
    Version(version): Version,
    Path(id): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response> {
    let options = AttachOptions {
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        detach_keys: query.text("detachKeys").to_owned(),
    };
    let attach = app.engine.container_attach(&id, options).await?;
    let media_type = version::output_type(version, attach.terminal());
    Ok(hijack::answer(request, media_type, move |io| async move {
        if let Err(error) = attach.run(io).await {
            tracing::debug!(container = id, "attach: {}", error.chain());
        }
    }))
}
