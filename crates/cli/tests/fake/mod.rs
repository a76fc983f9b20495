//! A server on a unix socket that answers as a test says, and remembers what it was asked.

#![allow(dead_code)]

pub(crate) mod engine;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the version in front.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    pub(crate) upgrade: bool,
}

/// What a test does with the connection of a request after its own answer.
pub(crate) type Handler = dyn Fn(&Request, &mut UnixStream) + Send + Sync;

pub(crate) struct Fake {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Starts it; `handler` writes the answers, but for `/_ping`, which is answered here.
    pub(crate) fn start(handler: impl Fn(&Request, &mut UnixStream) + Send + Sync + 'static) -> Fake {
        let dir = tempfile::tempdir().expect("folder");
        let listener = UnixListener::bind(dir.path().join("s")).expect("bind");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, handler): (_, Arc<Handler>) = (requests.clone(), Arc::new(handler));
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, handler) = (seen.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, &seen, &*handler));
            }
        });
        Fake { dir, requests }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("s").display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("requests");
        requests
            .iter()
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }

    pub(crate) fn last(&self, path: &str) -> Option<Request> {
        let requests = self.requests.lock().expect("requests");
        requests.iter().rev().find(|r| r.path == path).cloned()
    }

    /// A command of ours, with nothing of the user's configuration.
    pub(crate) fn gantry(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gantry"));
        self.surround(&mut command);
        command
    }

    pub(crate) fn surround(&self, command: &mut std::process::Command) {
        command
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.path("config"))
            .env("TZ", "UTC")
            .env_remove("DOCKER_API_VERSION")
            .env_remove("DOCKER_DEFAULT_PLATFORM");
    }
}

fn serve(mut stream: UnixStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    while let Some(request) = read(&mut reader) {
        if request.path == "/_ping" {
            let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            continue;
        }
        seen.lock().expect("requests").push(request.clone());
        handler(&request, &mut stream);
        if request.upgrade {
            return;
        }
    }
}

fn read(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut upgrade, mut chunked) = (0, false, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        upgrade |= header.starts_with("upgrade:");
        chunked |= header == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let bare = match path.strip_prefix("/v1.") {
        Some(rest) => &rest[rest.find('/')?..],
        None => path,
    };
    Some(Request {
        method,
        path: bare.to_owned(),
        query: query.to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        upgrade,
    })
}

/// An answer in JSON.
pub(crate) fn answer(stream: &mut UnixStream, status: &str, json: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
}

/// An answer without a body.
pub(crate) fn nothing(stream: &mut UnixStream) {
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
}

/// The head of a hijacked connection.
pub(crate) fn upgraded(stream: &mut UnixStream) {
    let _ = stream.write_all(
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    );
}

/// A frame of Docker's stream.
pub(crate) fn frame(kind: u8, text: &str) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}
