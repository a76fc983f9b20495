//! One trace event for each call: method, code, duration. See `docs/protocols.md`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tower::Service;

/// Wraps a service.
#[derive(Clone)]
pub(super) struct Trace<S> {
    inner: S,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, A, B> Service<http::Request<A>> for Trace<S>
where
    S: Service<http::Request<A>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        if !tracing::enabled!(target: "gantry::trace", tracing::Level::INFO) {
            return Box::pin(self.inner.call(request));
        }
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // A failure is in the headers; a success, or a stream that fails later, in the trailers.
            let code = match &answer {
                Ok(response) => tonic::Status::from_header_map(response.headers())
                    .map_or(tonic::Code::Ok, |status| status.code()),
                Err(_) => tonic::Code::Unknown,
            };
            let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(target: "gantry::trace", layer = "supervisor", took_us, "{method} {code:?}");
            answer
        })
    }
}
