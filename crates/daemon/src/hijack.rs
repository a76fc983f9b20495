//! Connections that stop being HTTP: attach and exec. A client that asks for `Upgrade: tcp` gets 101 and the raw
//! connection, with its half-closes; for any other the bodies of request and answer are the two directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// How many chunks may wait for a client without an upgraded connection.
const BACKLOG: usize = 16;

/// Either direction of a client's connection.
pub(crate) type Io = Box<dyn Duplex>;

/// Reads and writes bytes.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Answers with the head and runs `session` on the connection once it is handed over.
pub(crate) fn answer<F, R>(mut request: Request, media_type: &'static str, session: F) -> Response
where
    F: FnOnce(Io) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let mut response = Response::new(Body::empty());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .filter(|_| request.headers().contains_key(UPGRADE));
    match upgrade {
        Some(upgrade) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            response
                .headers_mut()
                .insert(UPGRADE, HeaderValue::from_static("tcp"));
            tokio::spawn(async move {
                match upgrade.await {
                    Ok(connection) => session(Box::new(TokioIo::new(connection))).await,
                    // The client went away before it had the answer.
                    Err(error) => tracing::debug!("hijack: {error}"),
                }
            });
        }
        None => {
            let (sender, receiver) = mpsc::channel::<Bytes>(BACKLOG);
            let io = Bodies {
                input: request.into_body().into_data_stream(),
                rest: Bytes::new(),
                output: PollSender::new(sender),
            };
            *response.body_mut() = Body::from_stream(
                tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>),
            );
            tokio::spawn(async move { session(Box::new(io)).await });
        }
    }
    response
}

/// The bodies of a request and its answer as one connection.
struct Bodies {
    input: BodyDataStream,
    rest: Bytes,
    output: PollSender<Bytes>,
}

impl AsyncRead for Bodies {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.input).poll_next(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(chunk)) => self.rest = chunk,
            }
        }
        let count = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bodies {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.output.poll_reserve(cx)).map_err(gone)?;
        self.output
            .send_item(Bytes::copy_from_slice(data))
            .map_err(gone)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.close();
        Poll::Ready(Ok(()))
    }
}
