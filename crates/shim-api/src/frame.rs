//! ttrpc's frames, as far as shims speak it: one request, one answer, many at once on a connection. No input, no output.
//!
//! ```text
//! length u32 BE | stream u32 BE | type u8 (1 request, 2 response, 3 data) | flags u8 | message
//! ```

use gantry_errdefs::{Error, Kind};
use prost::Message;

pub use crate::proto::google::rpc::Status;
pub use crate::proto::ttrpc::{KeyValue, Request, Response};

/// The largest message, as in containerd.
pub const LIMIT: usize = 4 << 20;
/// The type of a request.
pub const REQUEST: u8 = 1;
/// The type of an answer.
pub const RESPONSE: u8 = 2;

impl Response {
    /// The answer to a call that succeeded or failed.
    pub fn of(result: Result<Vec<u8>, Error>) -> Self {
        match result {
            Ok(payload) => Self {
                status: None,
                payload,
            },
            Err(error) => {
                let status = Status {
                    code: code_of(error.kind()),
                    message: error.chain(),
                    details: Vec::new(),
                };
                Self {
                    status: Some(status),
                    payload: Vec::new(),
                }
            }
        }
    }
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

/// The gRPC code of a kind.
pub fn code_of(kind: Kind) -> i32 {
    CODES
        .iter()
        .find(|(_, known)| *known == kind)
        .map_or(2, |(code, _)| *code)
}

/// The kind of a gRPC code.
pub fn kind_of(code: i32) -> Kind {
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(Kind::Internal, |(_, kind)| *kind)
}

/// One frame with a message in it.
pub fn frame(stream: u32, kind: u8, message: &impl Message) -> std::io::Result<Vec<u8>> {
    let length = message.encoded_len();
    if length > LIMIT {
        return Err(std::io::Error::other(format!(
            "message of {length} bytes is larger than {LIMIT}"
        )));
    }
    let mut frame = Vec::with_capacity(10 + length);
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[kind, 0]);
    frame.extend_from_slice(&message.encode_to_vec());
    Ok(frame)
}

/// A frame that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which call it belongs to.
    pub stream: u32,
    /// Request or answer.
    pub kind: u8,
    /// The message.
    pub message: Vec<u8>,
}

/// Bytes that have arrived, and the frames among them.
#[derive(Debug, Default)]
pub struct Decoder(Vec<u8>);

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Takes the next whole frame. An error when what arrived claims too much: the connection is of no use then.
    pub fn next_frame(&mut self) -> std::io::Result<Option<Frame>> {
        let Some(head) = self.0.get(..10) else {
            return Ok(None);
        };
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, stream, kind) = (number(0) as usize, number(4), head[8]);
        if length > LIMIT {
            return Err(std::io::Error::other(format!(
                "message of {length} bytes is larger than {LIMIT}"
            )));
        }
        if self.0.len() < 10 + length {
            return Ok(None);
        }
        let message = self.0[10..10 + length].to_vec();
        self.0.drain(..10 + length);
        if self.0.is_empty() {
            // An idle shim keeps no memory for its last message.
            self.0 = Vec::new();
        }
        Ok(Some(Frame {
            stream,
            kind,
            message,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_arrive_however_they_are_cut(
            values in proptest::collection::vec(".{0,40}", 1..5),
            cut in 1_usize..30,
        ) {
            let mut bytes = Vec::new();
            for (at, value) in values.iter().enumerate() {
                let message = KeyValue { key: "k".into(), value: value.clone() };
                bytes.extend(frame(at as u32, REQUEST, &message).unwrap());
            }
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(cut) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    prop_assert_eq!(frame.stream as usize, seen.len());
                    seen.push(KeyValue::decode(frame.message.as_slice()).unwrap().value);
                }
            }
            prop_assert_eq!(seen, values);
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 10]);
        assert!(decoder.next_frame().is_err());
        for (code, kind) in CODES {
            assert_eq!((code_of(kind), kind_of(code)), (code, kind));
        }
    }
}
