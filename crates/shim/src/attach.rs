//! Clients of the attach socket (`docs/protocols.md`): what they ask for, what waits for them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::Deserialize;

/// The longest request.
const LIMIT: usize = 4096;

/// How much may wait for a client before the process is held back.
pub(crate) const WAITING: usize = 1 << 20;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Wish {
    pub(crate) version: u32,
    pub(crate) exec_id: String,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    /// What it asked for, once it has; and which process that is.
    pub(crate) attached: Option<(Wish, usize)>,
    asked: Vec<u8>,
    pub(crate) waiting: Vec<u8>,
    /// Closed once what waits is sent.
    pub(crate) closing: bool,
    /// Its input has ended.
    pub(crate) finished: bool,
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            attached: None,
            asked: Vec::new(),
            waiting: Vec::new(),
            closing: false,
            finished: false,
        }
    }

    /// Reads the request byte by byte, as input may follow it. None while it is not whole.
    pub(crate) fn ask(&mut self) -> Result<Option<Wish>, String> {
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => return Err("the client is gone".to_owned()),
                Ok(_) if byte[0] == b'\n' => break,
                Ok(_) if self.asked.len() == LIMIT => return Err("the request is too long".to_owned()),
                Ok(_) => self.asked.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let wish: Wish =
            serde_json::from_slice(&std::mem::take(&mut self.asked)).map_err(|error| error.to_string())?;
        match wish.version {
            1 => Ok(Some(wish)),
            other => Err(format!(
                "version {other} of the attach protocol is not known: 1 is"
            )),
        }
    }

    /// Adds output: raw, or in Docker's frame.
    pub(crate) fn add(&mut self, stream: u8, data: &[u8], framed: bool) {
        if framed {
            self.waiting.extend_from_slice(&[stream, 0, 0, 0]);
            self.waiting.extend_from_slice(&(data.len() as u32).to_be_bytes());
        }
        self.waiting.extend_from_slice(data);
    }

    /// Sends what waits, as far as it is taken. False when the client is gone.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) => return false,
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.waiting = Vec::new();
        !self.closing
    }
}
