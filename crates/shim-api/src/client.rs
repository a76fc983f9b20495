//! ttrpc for programs with tokio: a client with many calls under way at once, and a server for events.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_errdefs::{Error, Kind, Result};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use crate::frame::{LIMIT, REQUEST, RESPONSE, Request, Response, frame, kind_of};

async fn read_frame(reader: &mut OwnedReadHalf) -> std::io::Result<(u32, u8, Vec<u8>)> {
    let length = reader.read_u32().await? as usize;
    let stream = reader.read_u32().await?;
    let kind = reader.read_u8().await?;
    let _flags = reader.read_u8().await?;
    if length > LIMIT {
        return Err(std::io::Error::other(format!(
            "message of {length} bytes is larger than {LIMIT}"
        )));
    }
    let mut message = vec![0; length];
    reader.read_exact(&mut message).await?;
    Ok((stream, kind, message))
}

type Waiting = HashMap<u32, oneshot::Sender<Response>>;

/// The way out. What a caller that went away left of its frame goes first, whoever writes next: half a frame garbles
/// all that follow, and a connection is too much to give up for one call.
struct Writer {
    half: OwnedWriteHalf,
    stream: u32,
    rest: Vec<u8>,
}

impl Writer {
    /// Writes what is left. Whoever stops in between has lost nothing: what was taken is cut off as it is taken.
    async fn flush(&mut self) -> std::io::Result<()> {
        while !self.rest.is_empty() {
            match self.half.write(&self.rest).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                count => drop(self.rest.drain(..count)),
            }
        }
        Ok(())
    }
}

/// Takes back a frame of which nothing was written when its caller went away: nobody waits for the answer.
struct Unwritten<'a> {
    writer: &'a mut Writer,
    length: usize,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if self.writer.rest.len() == self.length {
            self.writer.rest = Vec::new();
        }
    }
}

/// Takes back that an answer is waited for.
struct Wanted<'a> {
    waiting: &'a Mutex<Option<Waiting>>,
    stream: u32,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *lock(self.waiting) {
            waiting.remove(&self.stream);
        }
    }
}

/// A connection to a server. Dropping it closes it. It is lost only with the peer: callers may go away at any time, and
/// a peer that does not read holds up calls, each until its deadline.
pub struct Client {
    writer: tokio::sync::Mutex<Writer>,
    /// `None` once the connection is lost.
    waiting: Arc<Mutex<Option<Waiting>>>,
    /// Closed with the connection.
    alive: tokio::sync::watch::Receiver<()>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Speaks over a connected stream.
    pub fn new(stream: UnixStream) -> Self {
        let (mut read, write) = stream.into_split();
        let waiting = Arc::new(Mutex::new(Some(Waiting::new())));
        let answers = waiting.clone();
        let (lives, alive) = tokio::sync::watch::channel(());
        let reader = tokio::spawn(async move {
            // Dropped at the end, also when this is aborted.
            let _lives = lives;
            while let Ok((stream, kind, message)) = read_frame(&mut read).await {
                let Ok(response) = Response::decode(message.as_slice()) else {
                    break;
                };
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
        Self {
            writer: tokio::sync::Mutex::new(Writer {
                half: write,
                stream: 1,
                rest: Vec::new(),
            }),
            waiting,
            alive,
            reader,
        }
    }

    /// Waits until the connection is lost.
    pub async fn closed(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    /// Whether the connection is lost.
    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    /// Calls a method. `Unavailable` when the connection is lost, `DeadlineExceeded` after `deadline` (none: for ever).
    pub async fn call<A: Message + Default>(
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
            Some(status) if status.code != 0 => Err(Error::new(kind_of(status.code), status.message)),
            _ => A::decode(response.payload.as_slice()).map_err(|e| {
                Error::internal(format!("failed to decode the answer to {method}")).with_source(e)
            }),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response> {
        let lost = || Error::unavailable("the connection to the shim is lost");
        let mut writer = self.writer.lock().await;
        writer.flush().await.map_err(|e| lost().with_source(e))?;
        let stream = writer.stream;
        writer.stream = stream.wrapping_add(2);
        let frame = frame(stream, REQUEST, request).map_err(|e| Error::invalid("request").with_source(e))?;
        let (sender, receiver) = oneshot::channel();
        match &mut *lock(&self.waiting) {
            Some(waiting) => waiting.insert(stream, sender),
            None => return Err(lost()),
        };
        let _wanted = Wanted {
            waiting: &self.waiting,
            stream,
        };
        writer.rest = frame;
        let unwritten = Unwritten {
            length: writer.rest.len(),
            writer: &mut writer,
        };
        unwritten
            .writer
            .flush()
            .await
            .map_err(|e| lost().with_source(e))?;
        drop(unwritten);
        drop(writer);
        receiver.await.map_err(|_| lost())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection, one request after the other, until the peer closes it.
pub async fn serve<F, Fut>(stream: UnixStream, handle: F)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Vec<u8>>>,
{
    let (mut read, mut write) = stream.into_split();
    while let Ok((stream, kind, message)) = read_frame(&mut read).await {
        if kind != REQUEST {
            continue;
        }
        let Ok(request) = Request::decode(message.as_slice()) else {
            return;
        };
        let response = Response::of(handle(request).await);
        let Ok(frame) = frame(stream, RESPONSE, &response) else {
            return;
        };
        if write.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::KeyValue;

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
        let pair = KeyValue {
            key: "k".into(),
            value: "v".into(),
        };
        let second = Some(Duration::from_secs(1));
        let echoed: KeyValue = client.call("s", "Echo", &pair, second).await.unwrap();
        assert_eq!(echoed, pair);
        let error = client
            .call::<KeyValue>("s", "No", &pair, second)
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, "method No"));
        let short = Some(Duration::from_millis(20));
        let error = client
            .call::<KeyValue>("s", "Hang", &pair, short)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        served.abort();
        let error = client
            .call::<KeyValue>("s", "Echo", &pair, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(client.is_closed());
    }

    #[tokio::test]
    async fn callers_that_go_away_cost_no_connection() {
        let (client, server) = UnixStream::pair().unwrap();
        let client = Client::new(client);
        // Larger than what a socket holds: the frames of some are cut in the middle.
        let pair = KeyValue {
            key: "k".into(),
            value: "v".repeat(100_000),
        };
        let short = Some(Duration::from_millis(5));
        for _ in 0..20 {
            let error = client
                .call::<KeyValue>("s", "Echo", &pair, short)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), Kind::DeadlineExceeded);
        }
        assert!(!client.is_closed());
        assert!(lock(&client.waiting).as_ref().unwrap().is_empty());
        let served = tokio::spawn(serve(
            server,
            |request: Request| async move { Ok(request.payload) },
        ));
        let minute = Some(Duration::from_secs(60));
        let echoed: KeyValue = client.call("s", "Echo", &pair, minute).await.unwrap();
        assert_eq!(echoed, pair);
        served.abort();
    }

    #[tokio::test]
    async fn a_frame_that_claims_too_much_ends_the_connection() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let served = tokio::spawn(serve(server, |_| async { Ok(Vec::new()) }));
        client.write_all(&[0xff; 10]).await.unwrap();
        served.await.unwrap();
    }
}
