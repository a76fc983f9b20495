//! What comes in pieces: bodies, JSON one after the other, and Docker's multiplexed output.
//! The framing does no input or output of its own.

use std::marker::PhantomData;

use bytes::{Buf, Bytes, BytesMut};
use gantry_api_types::progress;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Which output of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes Docker's frames apart: `[kind, 0, 0, 0, length as big-endian u32]`, then that many bytes.
///
/// The invariant: what was pushed comes out once, in order, as soon as it is there, also a part of a frame.
#[derive(Debug, Default)]
pub struct Demux {
    header: Vec<u8>,
    kind: u8,
    left: usize,
    system: Vec<u8>,
}

/// Frames of this kind carry an error of the engine.
const SYSTEM_ERROR: u8 = 3;

impl Demux {
    /// Hands the payload in `bytes` to `out`.
    pub fn push(&mut self, mut bytes: Bytes, mut out: impl FnMut(Channel, Bytes)) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (8 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes.advance(missing);
                if let [kind, _, _, _, a, b, c, d] = self.header[..] {
                    if kind > SYSTEM_ERROR {
                        return Err(Error::Progress(format!("Unrecognized input header: {kind}")));
                    }
                    self.kind = kind;
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.header.clear();
                }
                continue;
            }
            let part = bytes.split_to(self.left.min(bytes.len()));
            self.left -= part.len();
            match self.kind {
                SYSTEM_ERROR => {
                    self.system.extend_from_slice(&part);
                    if self.left == 0 {
                        let text = String::from_utf8_lossy(&self.system);
                        return Err(Error::Progress(format!("error from daemon in stream: {text}")));
                    }
                }
                2 => out(Channel::Stderr, part),
                _ => out(Channel::Stdout, part),
            }
        }
        Ok(())
    }
}

/// Reads JSON values that follow each other with or without white space between them.
#[derive(Debug)]
pub struct JsonStream<T> {
    buffer: BytesMut,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for JsonStream<T> {
    fn default() -> Self {
        JsonStream {
            buffer: BytesMut::new(),
            of: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> JsonStream<T> {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next value, if it is there whole.
    pub fn next_value(&mut self) -> Result<Option<T>, serde_json::Error> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        let value = match values.next() {
            None => {
                self.buffer.clear();
                return Ok(None);
            }
            Some(Err(error)) if error.is_eof() => return Ok(None),
            Some(value) => value?,
        };
        let used = values.byte_offset();
        self.buffer.advance(used);
        Ok(Some(value))
    }

    /// Whether the end came in the middle of a value.
    pub fn is_cut(&self) -> bool {
        !self.buffer.iter().all(u8::is_ascii_whitespace)
    }
}

/// A body that is read as it comes.
#[derive(Debug)]
pub struct Body {
    operation: String,
    content_type: String,
    incoming: Incoming,
}

impl Body {
    pub(crate) fn new(operation: String, content_type: String, incoming: Incoming) -> Self {
        Body {
            operation,
            content_type,
            incoming,
        }
    }

    /// The media type that the engine named.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::Broken {
                        operation: self.operation.clone(),
                        reason: gantry_errdefs::chain(&error),
                    });
                }
            }
        }
    }

    /// All of it, for bodies that are known to be short.
    pub(crate) async fn all(&mut self) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

/// A stream of JSON messages of an engine.
#[derive(Debug)]
pub struct Messages<T> {
    body: Body,
    json: JsonStream<T>,
}

impl<T: DeserializeOwned> Messages<T> {
    pub(crate) fn new(body: Body) -> Self {
        Messages {
            body,
            json: JsonStream::default(),
        }
    }

    /// The next message; none at the end.
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            let value = self.json.next_value().map_err(|error| Error::Answer {
                operation: self.body.operation.clone(),
                reason: error.to_string(),
            })?;
            if value.is_some() {
                return Ok(value);
            }
            match self.body.chunk().await? {
                Some(chunk) => self.json.push(&chunk),
                None if self.json.is_cut() => {
                    return Err(Error::Broken {
                        operation: self.body.operation.clone(),
                        reason: "unexpected EOF".to_owned(),
                    });
                }
                None => return Ok(None),
            }
        }
    }
}

impl Messages<progress::Message> {
    /// The next message of a pull, a push or a load; the engine's error as an error.
    pub async fn next_progress(&mut self) -> Result<Option<progress::Message>> {
        let message = self.next().await?;
        if let Some(failed) = message
            .as_ref()
            .filter(|m| m.error_detail.is_some() || !m.error.is_empty())
        {
            let detail = failed.error_detail.as_ref().map(|d| d.message.clone());
            return Err(Error::Progress(
                detail
                    .filter(|d| !d.is_empty())
                    .unwrap_or_else(|| failed.error.clone()),
            ));
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0, 0, 0];
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let mut wire = frame(1, b"hello ");
        wire.extend(frame(2, b"oops"));
        wire.extend(frame(1, b""));
        wire.extend(frame(1, b"world"));
        for step in 1..wire.len() {
            let (mut demux, mut out, mut err) = (Demux::default(), Vec::new(), Vec::new());
            for piece in wire.chunks(step) {
                demux
                    .push(Bytes::copy_from_slice(piece), |channel, bytes| match channel {
                        Channel::Stdout => out.extend_from_slice(&bytes),
                        Channel::Stderr => err.extend_from_slice(&bytes),
                    })
                    .expect("frames");
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"hello world"[..], &b"oops"[..])
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let mut demux = Demux::default();
        let error = demux.push(Bytes::from_static(b"plain text"), |_, _| {});
        assert!(error.is_err_and(|e| e.to_string().starts_with("Unrecognized input header")));
        let mut demux = Demux::default();
        let error = demux.push(Bytes::from(frame(3, b"boom")), |_, _| {});
        assert!(error.is_err_and(|e| e.to_string() == "error from daemon in stream: boom"));
    }

    #[test]
    fn json_comes_value_by_value() {
        let text = b"{\"status\":\"a\"}\r\n{\"status\":\"b\"} {\"status\":\"c\"}";
        for step in 1..text.len() {
            let mut json = JsonStream::<progress::Message>::default();
            let mut seen = Vec::new();
            for piece in text.chunks(step) {
                json.push(piece);
                while let Some(message) = json.next_value().expect("json") {
                    seen.push(message.status);
                }
            }
            assert_eq!(seen, ["a", "b", "c"]);
            assert!(!json.is_cut());
        }
        let mut json = JsonStream::<progress::Message>::default();
        json.push(b"{\"sta");
        assert!(json.next_value().expect("cut").is_none() && json.is_cut());
        json.push(b"!");
        assert!(json.next_value().is_err() || json.is_cut());
    }
}
