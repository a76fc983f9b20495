//! HTTP/1.1 on the listeners: takes the version off the path, calls the router, adds the headers of every answer.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gantry_api_types::API_VERSION;
use gantry_engine::Engine;
use http::header::SERVER;
use http::{HeaderValue, Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::error::ApiError;
use crate::listener::{Connection, Listener};
use crate::{routes, version};

/// Serves `engine` on `listeners` until `shutdown` ends. Connections under way are dropped: a client of an attach or a
/// wait comes back to a daemon that knows.
pub async fn serve(engine: Arc<Engine>, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) {
    let router = routes::router(engine);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, router.clone()));
    }
    shutdown.await;
    accepting.shutdown().await;
}

async fn accept(listener: Listener, router: Router) {
    loop {
        match listener.accept().await {
            Ok(Connection::Unix(stream)) => drop(tokio::spawn(connection(stream, router.clone()))),
            Ok(Connection::Tcp(stream)) => drop(tokio::spawn(connection(stream, router.clone()))),
            Err(error) => {
                // No descriptors left, most likely: wait for some to be given back.
                tracing::warn!("failed to accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let service = service_fn(move |request| answer(router.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        // A client that has sent all it has may still read.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("connection: {error}");
    }
}

async fn answer(router: Router, mut request: Request<Incoming>) -> Result<Response, Infallible> {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match version::strip(request.uri()) {
        Err(error) => ApiError(error).into_response(),
        Ok((version, uri)) => {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(version);
            match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("Gantry/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    if method != Method::HEAD && !path.ends_with("/_ping") {
        tracing::info!(target: "gantry::trace", layer = "daemon", took_us, "{method} {path} {status}");
    }
    Ok(response)
}
