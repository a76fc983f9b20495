//! A registry for tests, in this process and on the loopback, that fails as it is told to. Not for anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use gantry_oci::{Digest, media_type};
use serde_json::json;
use sha2::Digest as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, with a `Retry-After` of so many seconds.
    Status(u16, Option<u64>),
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Hang(usize),
    /// The last byte of the body is another.
    Corrupt,
    /// A range is not heeded: everything is sent.
    NoRange,
    /// The connection breaks before an answer.
    Drop,
    /// The body is this.
    Body(Vec<u8>),
    /// Goes to another address.
    Redirect(String),
}

/// What the registry wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    Nobody,
    /// A name and a password.
    Basic(String, String),
    /// A token of its server, which gives one to nobody in particular.
    Anonymous,
    /// A token of its server for a name and a password.
    Bearer(String, String),
    /// A token of its server for a refresh token.
    Identity(String),
}

#[derive(Default)]
struct State {
    /// By `name/tag` and `name/digest`: media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Part of a path, the fault, and how many times more.
    faults: Vec<(String, Fault, usize)>,
    log: Vec<String>,
    auth: Auth,
    tokens: usize,
}

/// The registry. Dropped, it ends.
pub struct TestServer {
    address: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&sha2::Sha256::digest(bytes).into())
}

impl TestServer {
    /// Starts one, with plain HTTP.
    ///
    /// # Panics
    ///
    /// When the loopback has no free port.
    #[allow(clippy::expect_used)]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, own) = (state.clone(), address.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), own.clone()));
            }
        });
        Self { address, state, task }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Says what is wanted from now on.
    pub fn set_auth(&self, auth: Auth) {
        lock(&self.state).auth = auth;
    }

    /// Lets the next `times` requests whose path has `part` in it fail.
    pub fn fail(&self, part: &str, fault: Fault, times: usize) {
        lock(&self.state).faults.push((part.to_owned(), fault, times));
    }

    /// What was asked for so far: `GET /v2/…`, with `bytes=…` behind it where a range was, and
    /// `authorization` where something was shown.
    pub fn log(&self) -> Vec<String> {
        lock(&self.state).log.clone()
    }

    /// Keeps a blob and returns its digest.
    pub fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        lock(&self.state).blobs.insert(digest.to_string(), bytes.to_vec());
        digest
    }

    /// Keeps a manifest under a tag and its digest.
    pub fn manifest(&self, name: &str, tag: &str, kind: &str, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        let mut state = lock(&self.state);
        for key in [format!("{name}/{tag}"), format!("{name}/{digest}")] {
            state.manifests.insert(key, (kind.to_owned(), bytes.to_vec()));
        }
        digest
    }

    /// Keeps an image of layers, each its tar's digest and the bytes as they are sent, and returns its manifest's
    /// digest and size.
    pub fn image(
        &self,
        name: &str,
        tag: &str,
        architecture: &str,
        layers: &[(Digest, &[u8])],
    ) -> (Digest, usize) {
        let diff_ids: Vec<&Digest> = layers.iter().map(|(diff_id, _)| diff_id).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
            "config": { "Cmd": ["/x"] }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
        .to_string();
        let kind = |bytes: &[u8]| match bytes {
            [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => media_type::OCI_LAYER_ZSTD,
            _ => media_type::OCI_LAYER,
        };
        let entries: Vec<serde_json::Value> = layers
            .iter()
            .map(
                |(_, bytes)| json!({ "mediaType": kind(bytes), "digest": self.blob(bytes), "size": bytes.len() }),
            )
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": { "mediaType": media_type::OCI_CONFIG, "digest": self.blob(config.as_bytes()), "size": config.len() },
            "layers": entries,
        })
        .to_string();
        let digest = self.manifest(name, tag, media_type::OCI_MANIFEST, manifest.as_bytes());
        (digest, manifest.len())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn refuse(status: u16, code: &str, message: &str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: json!({ "errors": [{ "code": code, "message": message }] })
            .to_string()
            .into_bytes(),
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, address: String) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let (answer, cut, hang) = {
            let mut state = lock(&state);
            let range = request
                .headers
                .get("range")
                .map_or(String::new(), |r| format!(" {r}"));
            let shown = match request.headers.contains_key("authorization") {
                true => " authorization",
                false => "",
            };
            state
                .log
                .push(format!("{} {}{range}{shown}", request.method, request.path));
            let found = state
                .faults
                .iter_mut()
                .find(|(part, _, left)| *left > 0 && request.path.contains(part.as_str()));
            let fault = found.map(|(_, fault, left)| {
                *left -= 1;
                fault.clone()
            });
            let hang = matches!(fault, Some(Fault::Hang(_)));
            let (answer, cut) = respond(&mut state, &request, &address, fault);
            (answer, cut, hang)
        };
        let Some(answer) = answer else { return };
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
        let body: &[u8] = if request.method == "HEAD" {
            &[]
        } else {
            &answer.body
        };
        let body = &body[..cut.unwrap_or(body.len()).min(body.len())];
        let stream = stream.get_mut();
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(body).await.is_err() {
            return;
        }
        if hang {
            std::future::pending::<()>().await;
        }
        if cut.is_some() {
            return;
        }
    }
}

fn respond(
    state: &mut State,
    request: &Request,
    address: &str,
    fault: Option<Fault>,
) -> (Option<Answer>, Option<usize>) {
    match &fault {
        Some(Fault::Drop) => return (None, None),
        Some(Fault::Status(status, after)) => {
            let mut answer = refuse(*status, "UNKNOWN", "told to fail");
            answer
                .headers
                .extend(after.map(|s| ("Retry-After".to_owned(), s.to_string())));
            return (Some(answer), None);
        }
        Some(Fault::Redirect(to)) => {
            let mut answer = refuse(307, "UNKNOWN", "elsewhere");
            answer.headers.push(("Location".to_owned(), to.clone()));
            return (Some(answer), None);
        }
        _ => {}
    }
    let mut answer = honest(state, request, address, fault == Some(Fault::NoRange));
    let mut cut = None;
    match fault {
        Some(Fault::Cut(after) | Fault::Hang(after)) => cut = Some(after),
        Some(Fault::Corrupt) => {
            if let Some(last) = answer.body.last_mut() {
                *last ^= 1;
            }
        }
        Some(Fault::Body(body)) => answer.body = body,
        _ => {}
    }
    (Some(answer), cut)
}

fn honest(state: &mut State, request: &Request, address: &str, no_range: bool) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/token" {
        return token(state, request);
    }
    if let Some(challenge) = wanted(state, request, address) {
        let mut answer = refuse(401, "UNAUTHORIZED", "authentication required");
        answer.headers.push(("WWW-Authenticate".to_owned(), challenge));
        return answer;
    }
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    if rest.is_empty() {
        return Answer {
            status: 200,
            headers: Vec::new(),
            body: b"{}".to_vec(),
        };
    }
    if let Some((name, asked)) = rest.split_once("/manifests/") {
        return match state.manifests.get(&format!("{name}/{asked}")) {
            Some((kind, bytes)) => Answer {
                status: 200,
                headers: vec![
                    ("Content-Type".to_owned(), kind.clone()),
                    ("Docker-Content-Digest".to_owned(), digest(bytes).to_string()),
                ],
                body: bytes.clone(),
            },
            None if state
                .manifests
                .keys()
                .any(|key| key.starts_with(&format!("{name}/"))) =>
            {
                refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
            }
            None => refuse(404, "NAME_UNKNOWN", "repository name not known to registry"),
        };
    }
    let blob = rest
        .split_once("/blobs/")
        .and_then(|(_, digest)| state.blobs.get(digest));
    let Some(bytes) = blob else {
        return refuse(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let from = request
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
    match from {
        Some(from) if !no_range && from < bytes.len() => Answer {
            status: 206,
            headers: vec![(
                "Content-Range".to_owned(),
                format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()),
            )],
            body: bytes[from..].to_vec(),
        },
        _ => Answer {
            status: 200,
            headers: Vec::new(),
            body: bytes.clone(),
        },
    }
}

/// The challenge, unless what was shown is right.
fn wanted(state: &State, request: &Request, address: &str) -> Option<String> {
    let shown = request.headers.get("authorization").map_or("", String::as_str);
    match &state.auth {
        Auth::Nobody => None,
        Auth::Basic(user, password) => {
            (shown != basic(user, password)).then(|| "Basic realm=\"test\"".to_owned())
        }
        _ => (shown != format!("Bearer token-{}", state.tokens) || state.tokens == 0)
            .then(|| format!("Bearer realm=\"http://{address}/token\",service=\"test\"")),
    }
}

fn basic(user: &str, password: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

fn token(state: &mut State, request: &Request) -> Answer {
    let shown = request.headers.get("authorization").map_or("", String::as_str);
    let scoped = |text: &str| text.contains("scope=repository%3A");
    let right = match &state.auth {
        Auth::Anonymous => scoped(&request.path),
        Auth::Bearer(user, password) => scoped(&request.path) && shown == basic(user, password),
        Auth::Identity(token) => {
            request.method == "POST"
                && scoped(&request.body)
                && request.body.contains(&format!("refresh_token={token}"))
        }
        Auth::Nobody | Auth::Basic(..) => false,
    };
    if !right {
        return refuse(401, "UNAUTHORIZED", "incorrect username or password");
    }
    state.tokens += 1;
    Answer {
        status: 200,
        headers: Vec::new(),
        body: json!({ "token": format!("token-{}", state.tokens), "expires_in": 300 })
            .to_string()
            .into_bytes(),
    }
}
