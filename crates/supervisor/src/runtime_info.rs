//! What a shim's binary says of itself (`-info`), by containerd's contract. Knows of no task.

use std::process::Stdio;
use std::time::Duration;

use gantry_supervisor_core::{Any, Error, Kind, Result};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tasks::shim::{resolve, to_any};

/// The type of the answer.
const INFO: &str = "containerd.types.RuntimeInfo";
/// A shim asks its runtime, which may be slow.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs the shim of a runtime and returns what it prints.
pub(crate) async fn ask(runtime: &str, options: Option<Any>) -> Result<Any> {
    let program = resolve(runtime)?;
    let failed = |source: std::io::Error| {
        Error::from(source).context(format!("failed to run {} -info", program.display()))
    };
    let mut child = tokio::process::Command::new(&program)
        .arg("-info")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let given = options.map(|any| to_any(any).encode_to_vec()).unwrap_or_default();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let asked = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that does not read its options has closed the pipe.
                let _ = stdin.write_all(&given).await;
            }
        };
        let ((), said, errors) = tokio::join!(write, all(stdout), all(stderr));
        Ok((said?, errors?, child.wait().await?))
    };
    let (value, errors, status) = match tokio::time::timeout(DEADLINE, asked).await {
        Ok(done) => done.map_err(failed)?,
        Err(_) => {
            let message = format!(
                "{} -info did not end in {} s",
                program.display(),
                DEADLINE.as_secs()
            );
            return Err(Error::new(Kind::DeadlineExceeded, message));
        }
    };
    if !status.success() {
        let said = String::from_utf8_lossy(&errors);
        let message = format!(
            "failed to run {} -info: {status}: {}",
            program.display(),
            said.trim()
        );
        return Err(Error::internal(message));
    }
    Ok(Any {
        type_url: INFO.to_owned(),
        value,
    })
}

async fn all(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(1 << 20).read_to_end(&mut said).await?;
    }
    Ok(said)
}
