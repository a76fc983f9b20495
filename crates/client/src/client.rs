//! Requests and answers: one engine, one agreed version. It must not know any endpoint.

use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use gantry_api_types::compat::ApiVersion;
use gantry_api_types::error::ErrorResponse;
use gantry_api_types::system::Ping;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::Receiver;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::stream::Body;
use crate::transport;

/// The body of a request.
pub(crate) type Payload = UnsyncBoxBody<Bytes, io::Error>;

/// How to reach an engine.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it listens.
    pub address: Address,
    /// A version to speak without asking the engine.
    pub version: Option<ApiVersion>,
    /// `User-Agent`.
    pub user_agent: String,
}

impl Connection {
    /// To an address, with the version negotiated.
    pub fn to(address: &str) -> Result<Connection> {
        Ok(Connection {
            address: Address::parse(address)?,
            version: None,
            user_agent: concat!("Gantry-Client/", env!("CARGO_PKG_VERSION"), " (linux)").to_owned(),
        })
    }
}

/// A client of one engine.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    ping: OnceCell<Ping>,
    version: OnceCell<ApiVersion>,
    // A connection whose last answer was read to its end.
    idle: Mutex<Option<SendRequest<Payload>>>,
}

/// What is sent.
pub(crate) enum Content {
    /// Nothing.
    None,
    /// JSON.
    Json(Vec<u8>),
    /// A stream, such as an archive.
    Stream(&'static str, Receiver<io::Result<Bytes>>),
}

impl Content {
    pub(crate) fn json(value: &impl Serialize) -> Content {
        Content::Json(serde_json::to_vec(value).unwrap_or_default())
    }

    fn payload(self) -> Payload {
        match self {
            Content::None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Content::Json(json) => Full::from(json).map_err(|never| match never {}).boxed_unsync(),
            Content::Stream(_, receiver) => {
                let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
                    let next = receiver.recv().await?;
                    Some((next.map(Frame::data), receiver))
                });
                BodyExt::boxed_unsync(StreamBody::new(frames))
            }
        }
    }

    fn media_type(&self) -> Option<&'static str> {
        match self {
            Content::None => None,
            Content::Json(_) => Some("application/json"),
            Content::Stream(media_type, _) => Some(media_type),
        }
    }
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(connection: Connection) -> Client {
        Client {
            connection,
            ping: OnceCell::new(),
            version: OnceCell::new(),
            idle: Mutex::new(None),
        }
    }

    /// Where the engine listens.
    pub fn address(&self) -> &Address {
        &self.connection.address
    }

    pub(crate) fn user_agent(&self) -> &str {
        &self.connection.user_agent
    }

    /// What the engine says of itself at first contact.
    pub async fn ping(&self) -> Result<&Ping> {
        self.ping
            .get_or_try_init(|| async {
                let head = self
                    .send(Method::HEAD, "/_ping".to_owned(), Content::None)
                    .await?;
                let header = |name: &str| {
                    let value = head.headers().get(name).and_then(|v| v.to_str().ok());
                    value.unwrap_or_default().to_owned()
                };
                let ping = Ping {
                    api_version: header("api-version"),
                    os_type: header("ostype"),
                    experimental: header("docker-experimental") == "true",
                    builder_version: header("builder-version"),
                };
                self.finish("HEAD /_ping".to_owned(), head).await?;
                Ok(ping)
            })
            .await
    }

    /// The version spoken: the engine's or ours, whichever is older.
    pub async fn version_spoken(&self) -> Result<ApiVersion> {
        if let Some(version) = self.connection.version {
            return Ok(version);
        }
        self.version
            .get_or_try_init(|| async {
                let theirs = self.ping().await?.api_version.parse();
                // Engines older than the header speak 1.24 at least.
                let theirs = theirs.unwrap_or(ApiVersion::OLDEST);
                Ok(theirs.min(ApiVersion::NEWEST))
            })
            .await
            .copied()
    }

    /// The path of an endpoint in the version spoken.
    pub(crate) async fn versioned(&self, path: &str) -> Result<String> {
        Ok(format!("/v{}{path}", self.version_spoken().await?))
    }

    /// Sends a request to an endpoint and gives the answer's body, if the engine did not refuse.
    pub(crate) async fn request(&self, method: Method, path: &str, content: Content) -> Result<Body> {
        let path = self.versioned(path).await?;
        let operation = format!("{method} {path}");
        let response = self.send(method, path, content).await?;
        self.accepted(operation, response).await
    }

    /// A request with JSON and an answer in JSON.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<T> {
        let bytes = self.call_raw(method, path, content).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer {
            operation: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// A request with JSON and a short answer, as it came.
    pub(crate) async fn call_raw(&self, method: Method, path: &str, content: Content) -> Result<Bytes> {
        let path = self.versioned(path).await?;
        let operation = format!("{method} {path}");
        let (sender, response) = self.send_keep(method, path, content).await?;
        let bytes = self.accepted(operation, response).await?.all().await?;
        self.keep(sender);
        Ok(bytes)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Content::None).await
    }

    /// A request whose answer says nothing.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        self.call_raw(Method::POST, path, Content::None).await.map(drop)
    }

    async fn send(&self, method: Method, path: String, content: Content) -> Result<Response<Incoming>> {
        let head = method == Method::HEAD;
        let (sender, response) = self.send_keep(method, path, content).await?;
        // An answer without a body leaves the connection free at once.
        if head {
            self.keep(sender);
        }
        Ok(response)
    }

    fn keep(&self, sender: SendRequest<Payload>) {
        if !sender.is_closed()
            && let Ok(mut idle) = self.idle.lock()
        {
            *idle = Some(sender);
        }
    }

    async fn send_keep(
        &self,
        method: Method,
        path: String,
        content: Content,
    ) -> Result<(SendRequest<Payload>, Response<Incoming>)> {
        let operation = format!("{method} {path}");
        let broken = |error: &hyper::Error| Error::Broken {
            operation: operation.clone(),
            reason: gantry_errdefs::chain(error),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&path)
            .header(header::HOST, self.connection.address.host_header())
            .header(header::USER_AGENT, &self.connection.user_agent);
        if let Some(media_type) = content.media_type() {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let request = request.body(content.payload()).map_err(|error| Error::Answer {
            operation: operation.clone(),
            reason: error.to_string(),
        })?;
        let mut sender = self.sender().await?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok((sender, response)),
            // The engine closed a connection that lay idle: this request was never sent.
            Err(mut failed) => match failed.take_message() {
                Some(request) => {
                    let mut sender = self.connect().await?;
                    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
                    Ok((sender, response))
                }
                None => Err(broken(failed.error())),
            },
        }
    }

    async fn sender(&self) -> Result<SendRequest<Payload>> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.take());
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<SendRequest<Payload>> {
        let stream = transport::connect(&self.connection.address).await?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| Error::Broken {
                    operation: "connect".to_owned(),
                    reason: gantry_errdefs::chain(&error),
                })?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it hears of its end.
            let _ = driver.await;
        });
        Ok(sender)
    }

    async fn accepted(&self, operation: String, response: Response<Incoming>) -> Result<Body> {
        let status = response.status();
        let content_type = content_type(response.headers());
        let mut body = Body::new(operation, content_type, response.into_body());
        if status.is_success() {
            return Ok(body);
        }
        let text = body.all().await.unwrap_or_default();
        Err(refusal(status.as_u16(), &text))
    }

    async fn finish(&self, operation: String, response: Response<Incoming>) -> Result<()> {
        self.accepted(operation, response).await?.all().await.map(drop)
    }
}

pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// What an engine's refusal says.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Error {
    let message = match serde_json::from_slice::<ErrorResponse>(body) {
        Ok(error) if !error.message.is_empty() => error.message,
        _ => {
            let text = String::from_utf8_lossy(body);
            match text.trim() {
                "" => {
                    let name = http::StatusCode::from_u16(status).ok();
                    let name = name
                        .and_then(|s| s.canonical_reason())
                        .unwrap_or("unknown status");
                    format!(
                        "request returned {name} for an unknown reason, check if the server supports the requested API version"
                    )
                }
                text => text.to_owned(),
            }
        }
    };
    Error::Engine {
        status,
        message: message.trim().to_owned(),
    }
}
