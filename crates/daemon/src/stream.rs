//! Answers that go on: JSON objects one after the other, and raw output. The head is sent at once.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// JSON objects, each followed by `\r\n` when they are progress and by `\n` otherwise, as Docker ends them.
pub(crate) fn json<T, S>(items: S, line_end: &'static str) -> Response
where
    T: Serialize + 'static,
    S: Stream<Item = T> + Send + 'static,
{
    let lines = items.map(move |item| {
        let mut line = serde_json::to_vec(&item).unwrap_or_default();
        line.extend_from_slice(line_end.as_bytes());
        Ok::<_, Infallible>(Bytes::from(line))
    });
    with_type(Body::from_stream(lines), "application/json")
}

/// Bytes of a media type.
pub(crate) fn bytes<E, S>(chunks: S, media_type: &'static str) -> Response
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
{
    with_type(Body::from_stream(chunks), media_type)
}

fn with_type(body: Body, media_type: &'static str) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
