//! Events on their way to the supervisor: one after the other, each until it is acknowledged. While the supervisor is away
//! they wait; nothing asks for it but the next event or call.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use gantry_shim_api::EVENTS;
use gantry_shim_api::frame::{Decoder, REQUEST, RESPONSE, Request, frame};
use gantry_shim_api::messages as m;
use gantry_sys::socket;
use prost::Message;

/// How many are kept for a supervisor that is away. Exits are on disk too.
const KEPT: usize = 4096;

/// How long a supervisor is left alone that is too busy to accept.
const AGAIN: Duration = Duration::from_millis(100);

/// The connection to the supervisor, and what is to be told.
pub(crate) struct Publisher {
    path: PathBuf,
    namespace: String,
    queue: VecDeque<m::Envelope>,
    connection: Option<UnixStream>,
    decoder: Decoder,
    /// When to try again with a supervisor that had no time.
    again: Option<Instant>,
    /// The call under way, for the first of the queue.
    under_way: bool,
    stream: u32,
}

impl Publisher {
    pub(crate) fn new(address: &str, namespace: &str) -> Self {
        let path = match std::env::var("TTRPC_ADDRESS") {
            Ok(path) if !path.is_empty() => path,
            _ => format!("{address}.ttrpc"),
        };
        Self {
            path: path.strip_prefix("unix://").unwrap_or(&path).into(),
            namespace: namespace.to_owned(),
            queue: VecDeque::new(),
            connection: None,
            decoder: Decoder::default(),
            again: None,
            under_way: false,
            stream: 1,
        }
    }

    /// Adds an event and tries to send.
    pub(crate) fn publish(&mut self, topic: &str, name: &str, event: &impl Message) {
        if self.queue.len() == KEPT {
            // The first may be on its way.
            self.queue.remove(usize::from(self.under_way));
        }
        self.queue.push_back(m::Envelope {
            timestamp: Some(m::Timestamp::from(SystemTime::now())),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(m::Any {
                type_url: format!("containerd.events.{name}"),
                value: event.encode_to_vec(),
            }),
        });
        self.send();
    }

    /// The connection that is to be watched for answers.
    pub(crate) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(AsFd::as_fd)
    }

    /// Sends the next event, if none is under way. Whoever calls watches the connection afterwards.
    pub(crate) fn send(&mut self) {
        if self.under_way {
            return;
        }
        let Some(envelope) = self.queue.front().cloned() else {
            return;
        };
        if self.connection.is_none() {
            let connected = socket::connect_now(&self.path);
            // One that listens but has no time yet; one that does not listen is not asked again.
            let busy = matches!(&connected, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            self.again = busy.then(|| Instant::now() + AGAIN);
            self.connection = connected.ok();
            self.decoder = Decoder::default();
            self.stream = 1;
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        let request = Request {
            service: EVENTS.to_owned(),
            method: "Forward".to_owned(),
            payload: m::ForwardRequest {
                envelope: Some(envelope),
            }
            .encode_to_vec(),
            timeout_nano: 0,
            metadata: vec![gantry_shim_api::frame::KeyValue {
                key: "containerd-namespace-ttrpc".to_owned(),
                value: self.namespace.clone(),
            }],
        };
        let Ok(frame) = frame(self.stream, REQUEST, &request) else {
            return;
        };
        // One event is far smaller than a socket's buffer, and none is sent before the one before it was answered.
        match connection.write_all(&frame) {
            Ok(()) => self.under_way = true,
            Err(_) => self.lost(),
        }
    }

    /// Reads answers. What was answered is told; a lost connection begins anew with the next event or call.
    pub(crate) fn readable(&mut self) {
        let mut buffer = [0; 1024];
        loop {
            let Some(connection) = &mut self.connection else {
                return;
            };
            match connection.read(&mut buffer) {
                Ok(0) => return self.lost(),
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.lost(),
            }
            loop {
                match self.decoder.next_frame() {
                    Ok(Some(frame)) if frame.kind == RESPONSE => {
                        // Refused or not: it was heard.
                        self.queue.pop_front();
                        self.under_way = false;
                        self.stream = self.stream.wrapping_add(2);
                        self.send();
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return self.lost(),
                }
            }
        }
    }

    fn lost(&mut self) {
        self.connection = None;
        self.under_way = false;
    }

    /// When to call [`Self::send`] though nothing happened.
    pub(crate) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Whether all was told.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether anybody listens.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }
}
