//! A connection that stops being HTTP: attach and exec. The head is read here by hand, since after a
//! `200` as after a `101` both directions go on as raw bytes, with a half close of their own.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::client::{Client, refusal};
use crate::error::{Error, Result};
use crate::transport::{self, Stream};

/// A hijacked connection.
pub struct Hijacked {
    /// What the engine sends.
    pub output: HijackedOutput,
    /// What the engine reads.
    pub input: HijackedInput,
    /// The media type of the output, which says whether it is framed; empty if the engine did not say.
    pub content_type: String,
}

/// What the engine sends.
pub struct HijackedOutput {
    ahead: Bytes,
    buffer: BytesMut,
    stream: ReadHalf<Stream>,
}

/// What the engine reads.
pub struct HijackedInput {
    stream: WriteHalf<Stream>,
}

/// How much of the output is taken at once.
const BUFFER: usize = 64 * 1024;
/// A head longer than this is none.
const LONGEST_HEAD: usize = 64 * 1024;

impl HijackedOutput {
    /// The next bytes; none at the end.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        if !self.ahead.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
        self.buffer.reserve(BUFFER);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.buffer.split().freeze())),
            // The engine died or dropped the connection with input unread: the output has ended.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl HijackedInput {
    /// Sends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that no more will come; the output goes on.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

impl Client {
    /// Sends a request that takes its connection over.
    pub(crate) async fn hijack(&self, path: &str, json: Option<Vec<u8>>) -> Result<Hijacked> {
        let path = self.versioned(path).await?;
        let mut stream = transport::connect(self.address()).await?;
        let kind = if json.is_some() {
            "application/json"
        } else {
            "text/plain"
        };
        let body = json.unwrap_or_default();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address().host_header(),
            self.user_agent(),
            body.len(),
        )
        .into_bytes();
        request.extend_from_slice(&body);
        let broken = |reason: String| Error::Broken {
            operation: format!("POST {path}"),
            reason,
        };
        stream
            .write_all(&request)
            .await
            .map_err(|e| broken(e.to_string()))?;

        let mut read = BytesMut::with_capacity(4096);
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if read.len() > LONGEST_HEAD {
                return Err(broken("malformed HTTP response".to_owned()));
            }
            match stream.read_buf(&mut read).await {
                Ok(0) => return Err(broken("EOF".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(broken(error.to_string())),
            }
        };
        let head =
            Head::parse(&read.split_to(end)).ok_or_else(|| broken("malformed HTTP response".into()))?;
        if head.status != 101 && head.status != 200 {
            let body = head.rest_of_body(&mut stream, read).await;
            return Err(refusal(head.status, &body));
        }
        let (output, input) = tokio::io::split(stream);
        Ok(Hijacked {
            output: HijackedOutput {
                ahead: read.freeze(),
                buffer: BytesMut::new(),
                stream: output,
            },
            input: HijackedInput { stream: input },
            content_type: head.content_type,
        })
    }
}

struct Head {
    status: u16,
    content_type: String,
    length: Option<usize>,
    chunked: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let mut status = lines.next()?.split(' ');
        if !status.next()?.starts_with("HTTP/1.") {
            return None;
        }
        let mut head = Head {
            status: status.next()?.parse().ok()?,
            content_type: String::new(),
            length: None,
            chunked: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-type" => value.clone_into(&mut head.content_type),
                "content-length" => head.length = value.parse().ok(),
                "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        Some(head)
    }

    /// The body of a refusal, as far as it can be had.
    async fn rest_of_body(&self, stream: &mut Stream, mut read: BytesMut) -> Vec<u8> {
        let done = |read: &BytesMut| match self.length {
            Some(length) => read.len() >= length,
            None => self.chunked && read.ends_with(b"0\r\n\r\n"),
        };
        while !done(&read) && read.len() < LONGEST_HEAD {
            if !matches!(stream.read_buf(&mut read).await, Ok(n) if n > 0) {
                break;
            }
        }
        if self.chunked {
            unchunk(&read)
        } else {
            read.to_vec()
        }
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let from = end + 2;
        if size == 0 || from + size > bytes.len() {
            break;
        }
        out.extend_from_slice(&bytes[from..from + size]);
        bytes = bytes.get(from + size + 2..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = Head::parse(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nUpgrade: tcp\r\n\r\n",
        )
        .expect("head");
        assert_eq!(head.status, 101);
        assert_eq!(head.content_type, "application/vnd.docker.raw-stream");
        assert!(Head::parse(b"SSH-2.0-x\r\n\r\n").is_none());
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunk(b"ff\r\nabc"), b"");
    }
}
