//! The client's half of the attach handshake (`docs/protocols.md`), on a stream that is connected already. Does not know
//! where the socket is.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::task::{AttachStreams, Attachment};
use crate::{Error, Kind, Result};

/// How long the shim may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer.
const LIMIT: usize = 64 << 10;

/// Asks the shim for the streams of a process (`exec_id` empty: the init). What the shim refuses is its error.
pub async fn handshake(mut stream: UnixStream, exec_id: &str, streams: AttachStreams) -> Result<Attachment> {
    let request = serde_json::json!({
        "version": 1,
        "exec_id": exec_id,
        "stdin": streams.stdin,
        "stdout": streams.stdout,
        "stderr": streams.stderr,
    });
    let exchange = async {
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = Vec::new();
        // One byte at a time: what follows the line is the process's output.
        loop {
            match stream.read_u8().await? {
                b'\n' => return Ok(line),
                _ if line.len() == LIMIT => return Err(std::io::Error::other("the answer is too long")),
                byte => line.push(byte),
            }
        }
    };
    let line = match tokio::time::timeout(DEADLINE, exchange).await {
        Ok(Ok(line)) => line,
        Ok(Err(source)) => return Err(Error::unavailable("failed to attach").with_source(source)),
        Err(_) => {
            return Err(Error::new(
                Kind::DeadlineExceeded,
                "failed to attach: the shim does not answer",
            ));
        }
    };
    let answer: serde_json::Value = serde_json::from_slice(&line).map_err(|source| {
        Error::internal("failed to read the shim's answer to attach").with_source(source)
    })?;
    if let Some(error) = answer.get("error") {
        let message = error
            .get("message")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("attach was refused");
        return Err(Error::new(
            kind(error.get("code").and_then(serde_json::Value::as_u64)),
            message,
        ));
    }
    let terminal = answer
        .get("terminal")
        .and_then(serde_json::Value::as_bool)
        .unwrap_or_default();
    Ok(Attachment { terminal, stream })
}

/// The kind of a gRPC code.
fn kind(code: Option<u64>) -> Kind {
    match code {
        Some(3) => Kind::InvalidArgument,
        Some(5) => Kind::NotFound,
        Some(6) => Kind::AlreadyExists,
        Some(9) => Kind::FailedPrecondition,
        Some(12) => Kind::NotImplemented,
        Some(14) => Kind::Unavailable,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &'static str) -> Result<(Attachment, String)> {
        let (client, mut server) = UnixStream::pair().unwrap();
        let shim = tokio::spawn(async move {
            let mut request = vec![0; 512];
            let n = server.read(&mut request).await.unwrap();
            server.write_all(answer.as_bytes()).await.unwrap();
            request.truncate(n);
            String::from_utf8(request).unwrap()
        });
        let streams = AttachStreams {
            stdin: true,
            ..AttachStreams::default()
        };
        let attachment = handshake(client, "e1", streams).await;
        let request = shim.await.unwrap();
        attachment.map(|attachment| (attachment, request))
    }

    #[tokio::test]
    async fn output_begins_right_after_the_answer() {
        let (mut attachment, request) = answered("{\"terminal\":true}\nhello").await.unwrap();
        assert!(request.contains("\"exec_id\":\"e1\"") && request.ends_with('\n'));
        assert!(attachment.terminal);
        let mut output = String::new();
        attachment.stream.read_to_string(&mut output).await.unwrap();
        assert_eq!(output, "hello");
    }

    #[tokio::test]
    async fn refusals_and_noise_are_errors() {
        let error = answered("{\"error\":{\"code\":5,\"message\":\"exec e1: not found\"}}\n")
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::NotFound, "exec e1: not found")
        );
        assert_eq!(answered("nonsense\n").await.unwrap_err().kind(), Kind::Internal);
        assert_eq!(answered("").await.unwrap_err().kind(), Kind::Unavailable);
    }
}
