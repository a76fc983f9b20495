//! ttrpc, as far as shims speak it: one request, one answer, many at once on a stream.
//!
//! ```text
//! length u32 BE | stream u32 BE | type u8 (1 request, 2 response) | flags u8 | message
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_supervisor_core::{Error, Kind, Result};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

/// The largest message, as in containerd.
const LIMIT: usize = 4 << 20;
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// A call.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) payload: Vec<u8>,
    #[prost(int64, tag = "4")]
    pub(crate) timeout_nano: i64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) metadata: Vec<KeyValue>,
}

/// A header.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Every kind with its gRPC code.
const CODES: [(i32, Kind); 15] = [
    (1, Kind::Canceled),
    (3, Kind::InvalidArgument),
    (4, Kind::DeadlineExceeded),
    (5, Kind::NotFound),
    (6, Kind::AlreadyExists),
    (7, Kind::PermissionDenied),
    (8, Kind::ResourceExhausted),
    (9, Kind::FailedPrecondition),
    (10, Kind::Conflict),
    (11, Kind::OutOfRange),
    (12, Kind::NotImplemented),
    (13, Kind::Internal),
    (14, Kind::Unavailable),
    (15, Kind::DataLoss),
    (16, Kind::Unauthenticated),
];

async fn read_frame(reader: &mut OwnedReadHalf) -> std::io::Result<(u32, u8, Vec<u8>)> {
    let length = reader.read_u32().await? as usize;
    let stream = reader.read_u32().await?;
    let kind = reader.read_u8().await?;
    let _flags = reader.read_u8().await?;
    if length > LIMIT {
        return Err(std::io::Error::other(format!("message of {length} bytes is larger than {LIMIT}")));
    }
    let mut message = vec![0; length];
    reader.read_exact(&mut message).await?;
    Ok((stream, kind, message))
}

fn frame(stream: u32, kind: u8, message: &impl Message) -> std::io::Result<Vec<u8>> {
    let length = message.encoded_len();
    if length > LIMIT {
        return Err(std::io::Error::other(format!("message of {length} bytes is larger than {LIMIT}")));
    }
    let mut frame = Vec::with_capacity(10 + length);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[kind, 0]);
    frame.extend_from_slice(&message.encode_to_vec());
    Ok(frame)
}

type Waiting = HashMap<u32, oneshot::Sender<Response>>;

/// A connection to a server. Dropping it closes it.
pub(crate) struct Client {
    writer: tokio::sync::Mutex<(OwnedWriteHalf, u32)>,
    /// `None` once the connection is lost.
    waiting: Arc<Mutex<Option<Waiting>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Speaks over a connected stream.
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (mut read, write) = stream.into_split();
        let waiting = Arc::new(Mutex::new(Some(Waiting::new())));
        let answers = waiting.clone();
        let reader = tokio::spawn(async move {
            while let Ok((stream, kind, message)) = read_frame(&mut read).await {
                let Ok(response) = Response::decode(message.as_slice()) else { break };
                if kind != RESPONSE {
                    continue;
                }
                let sender = match &mut *lock(&answers) {
                    Some(waiting) => waiting.remove(&stream),
                    None => break,
                };
                if let Some(sender) = sender {
                    let _ = sender.send(response);
                }
            }
            // Everybody who waits is told by the loss of the sender.
            *lock(&answers) = None;
        });
        Self { writer: tokio::sync::Mutex::new((write, 1)), waiting, reader }
    }

    /// Whether the connection is lost.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    /// Calls a method. `Unavailable` when the connection is lost, `DeadlineExceeded` after `deadline` (none: for ever).
    pub(crate) async fn call<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        message: &impl Message,
        deadline: Option<Duration>,
    ) -> Result<A> {
        let request = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            timeout_nano: deadline.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)),
            metadata: Vec::new(),
        };
        let answer = self.exchange(&request);
        let response = match deadline {
            Some(deadline) => match tokio::time::timeout(deadline, answer).await {
                Ok(response) => response?,
                Err(_) => {
                    let message = format!("shim did not answer {method} in {} s", deadline.as_secs());
                    return Err(Error::new(Kind::DeadlineExceeded, message));
                }
            },
            None => answer.await?,
        };
        match response.status {
            Some(status) if status.code != 0 => {
                let kind = CODES.iter().find(|(code, _)| *code == status.code).map_or(Kind::Internal, |(_, k)| *k);
                Err(Error::new(kind, status.message))
            }
            _ => A::decode(response.payload.as_slice())
                .map_err(|e| Error::internal(format!("failed to decode the answer to {method}")).with_source(e)),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response> {
        let lost = || Error::unavailable("the connection to the shim is lost");
        let receiver = {
            let mut writer = self.writer.lock().await;
            let stream = writer.1;
            writer.1 = stream.wrapping_add(2);
            let (sender, receiver) = oneshot::channel();
            match &mut *lock(&self.waiting) {
                Some(waiting) => waiting.insert(stream, sender),
                None => return Err(lost()),
            };
            let frame = frame(stream, REQUEST, request).map_err(|e| Error::invalid("request").with_source(e))?;
            // A frame that a deadline cut off would garble all that follow, so that the connection is given up then.
            let mut whole = Whole { waiting: &self.waiting, written: false };
            let written = writer.0.write_all(&frame).await;
            whole.written = written.is_ok();
            written.map_err(|e| lost().with_source(e))?;
            receiver
        };
        receiver.await.map_err(|_| lost())
    }
}

/// Gives the connection up when it is dropped before a frame was written whole.
struct Whole<'a> {
    waiting: &'a Mutex<Option<Waiting>>,
    written: bool,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !self.written {
            *lock(self.waiting) = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection, one request after the other, until the peer closes it.
pub(crate) async fn serve<F, Fut>(stream: UnixStream, handle: F)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Vec<u8>>>,
{
    let (mut read, mut write) = stream.into_split();
    while let Ok((stream, kind, message)) = read_frame(&mut read).await {
        if kind != REQUEST {
            continue;
        }
        let Ok(request) = Request::decode(message.as_slice()) else { return };
        let response = match handle(request).await {
            Ok(payload) => Response { status: None, payload },
            Err(error) => {
                let code = CODES.iter().find(|(_, kind)| *kind == error.kind()).map_or(2, |(code, _)| *code);
                Response { status: Some(Status { code, message: error.chain() }), payload: Vec::new() }
            }
        };
        let Ok(frame) = frame(stream, RESPONSE, &response) else { return };
        if write.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_answers_errors_and_a_lost_connection() {
        let (client, server) = UnixStream::pair().unwrap();
        let served = tokio::spawn(serve(server, |request: Request| async move {
            match request.method.as_str() {
                "Echo" => Ok(request.payload),
                "Hang" => std::future::pending().await,
                method => Err(Error::not_found(format!("method {method}"))),
            }
        }));
        let client = Client::new(client);
        let pair = KeyValue { key: "k".into(), value: "v".into() };
        let second = Some(Duration::from_secs(1));
        let echoed: KeyValue = client.call("s", "Echo", &pair, second).await.unwrap();
        assert_eq!(echoed, pair);
        let error = client.call::<KeyValue>("s", "No", &pair, second).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, "method No"));
        let short = Some(Duration::from_millis(20));
        let error = client.call::<KeyValue>("s", "Hang", &pair, short).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        served.abort();
        let error = client.call::<KeyValue>("s", "Echo", &pair, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(client.is_closed());
    }

    #[tokio::test]
    async fn a_frame_that_claims_too_much_ends_the_connection() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let served = tokio::spawn(serve(server, |_| async { Ok(Vec::new()) }));
        client.write_all(&[0xff; 10]).await.unwrap();
        served.await.unwrap();
    }
}
