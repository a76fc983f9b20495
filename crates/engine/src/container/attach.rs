//! Attaching: bytes between a client and the shim's socket, with the keys that detach.

use futures_util::StreamExt;
use gantry_errdefs::Error;
use gantry_opts::detach;
use gantry_supervisor_core::task::{AttachStreams, Attachment};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

use super::state::Status;
use super::{Waiting, lock};
use crate::{AttachOptions, Engine, LogOptions, Logs, Result, fail};

/// A prepared attachment, to be run once the answer's head is sent.
pub struct Attach {
    terminal: bool,
    keys: Vec<u8>,
    stdin: bool,
    /// Whether the end of the client's input ends the container's.
    closes_input: bool,
    logs: Option<Logs>,
    to: Option<To>,
    on_detach: Box<dyn FnOnce() + Send>,
}

enum To {
    Now(Attachment),
    Later(oneshot::Receiver<Attachment>),
}

/// Reads `--detach-keys`; empty is the default. None for what is no sequence.
pub(crate) fn detach_keys(text: &str) -> Option<Vec<u8>> {
    detach::parse(if text.is_empty() { detach::DEFAULT } else { text }).ok()
}

impl Engine {
    /// Prepares to attach. A container that does not run is waited for.
    pub async fn container_attach(&self, reference: &str, options: AttachOptions) -> Result<Attach> {
        let container = self.find(reference)?;
        let keys = detach_keys(&options.detach_keys).ok_or_else(|| {
            Error::invalid(format!("Invalid detach keys ({}) provided", options.detach_keys))
        })?;
        let record = container.record();
        if record.state.status == Status::Paused {
            return Err(Error::failed_precondition(format!(
                "container {} is paused, unpause the container before attach",
                record.id
            )));
        }
        let logs = match options.logs {
            true => {
                let wanted = LogOptions {
                    stdout: options.stdout,
                    stderr: options.stderr,
                    ..LogOptions::default()
                };
                Some(self.container_logs(reference, wanted).await?)
            }
            false => None,
        };
        let streams = AttachStreams {
            stdin: options.stdin && record.config.open_stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        if record.state.status == Status::Restarting {
            return Err(fail::restarting(&record.id));
        }
        let to = if !options.stream {
            None
        } else if record.state.status.is_running() {
            let attachment = self.services.tasks.attach(&record.id, "", streams).await;
            Some(To::Now(attachment.map_err(fail::flat)?))
        } else {
            let (sender, receiver) = oneshot::channel();
            lock(&container.waiting).push(Waiting { streams, to: sender });
            if container.read(|record| record.state.status.is_running()) {
                // It was started just now, and may have asked who waits before.
                self.serve_waiting(&container).await;
            }
            Some(To::Later(receiver))
        };
        self.tell(&record, "attach", &[]);
        let told = self.me.clone();
        Ok(Attach {
            terminal: record.config.tty,
            keys,
            stdin: streams.stdin,
            closes_input: record.config.stdin_once && !record.config.tty,
            logs,
            to,
            on_detach: Box::new(move || {
                if let Some(engine) = told.upgrade() {
                    engine.tell(&record, "detach", &[]);
                }
            }),
        })
    }
}

impl Attach {
    /// Whether the container has a terminal (raw bytes rather than Docker's frames).
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// Carries bytes until the process ends, the client goes away or detaches.
    pub async fn run<S: AsyncRead + AsyncWrite + Send + Unpin>(self, io: S) -> Result<()> {
        let (from_client, mut to_client) = tokio::io::split(io);
        if let Some(mut logs) = self.logs {
            while let Some(chunk) = logs.stream.next().await {
                to_client.write_all(&chunk?).await?;
            }
        }
        let attachment = match self.to {
            None => return Ok(()),
            Some(To::Now(attachment)) => attachment,
            // Never started: there is nothing to carry.
            Some(To::Later(receiver)) => match receiver.await {
                Ok(attachment) => attachment,
                Err(_) => return Ok(()),
            },
        };
        let keys = if self.terminal { self.keys } else { Vec::new() };
        let input = self.stdin.then_some(self.closes_input);
        if carry(attachment, from_client, &mut to_client, input, &keys).await? {
            (self.on_detach)();
        }
        let _ = to_client.shutdown().await;
        Ok(())
    }
}

/// Carries bytes between a client and an attachment. `input`: the client's input is carried, and whether its end ends the
/// process's; otherwise it ends the attachment, as with Docker. Returns whether the client detached.
pub(crate) async fn carry<R, W>(
    attachment: Attachment,
    mut from_client: R,
    to_client: &mut W,
    input: Option<bool>,
    keys: &[u8],
) -> Result<bool>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin,
{
    let (mut from_process, mut to_process) = attachment.stream.into_split();
    let output = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match from_process.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if to_client.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                    let _ = to_client.flush().await;
                }
            }
        }
    };
    let feed = async {
        let Some(closes) = input else {
            // The client may have shut down its half at once: that does not mean that it is gone.
            return std::future::pending::<bool>().await;
        };
        let mut buffer = vec![0; 16 << 10];
        let mut scanner = detach::Scanner::new(keys.to_vec());
        loop {
            let count = match from_client.read(&mut buffer).await {
                Ok(count) if count > 0 => count,
                _ if closes => {
                    let _ = to_process.shutdown().await;
                    return std::future::pending::<bool>().await;
                }
                _ => return false,
            };
            let (data, detached) = scanner.scan(&buffer[..count]);
            let written = to_process.write_all(&data).await;
            if detached {
                return true;
            }
            if written.is_err() {
                // The process reads no more; what it still says is carried.
                return std::future::pending::<bool>().await;
            }
        }
    };
    tokio::select! {
        () = output => Ok(false),
        detached = feed => Ok(detached),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETACH: &[u8] = &[0x10, 0x11];

    #[test]
    fn keys_are_read() {
        assert_eq!(detach_keys("").as_deref(), Some(DETACH));
        assert_eq!(detach_keys("ctrl-a,x"), Some(vec![1, b'x']));
        assert!(detach_keys("ctrl-").is_none() && detach_keys("abc").is_none());
    }

    /// Carries `input` of a client that closes its half then; gives what the process reads, and what the client does.
    async fn carried(input: &[u8], closes: bool) -> (Vec<u8>, Vec<u8>) {
        let (process, mut shim) = tokio::net::UnixStream::pair().unwrap();
        let (mut client, server) = tokio::io::duplex(1024);
        let attachment = Attachment {
            terminal: false,
            stream: process,
        };
        let run = tokio::spawn(async move {
            let (from, mut to) = tokio::io::split(server);
            carry(attachment, from, &mut to, Some(closes), &[]).await
        });
        client.write_all(input).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut read, mut said) = (Vec::new(), Vec::new());
        shim.read_to_end(&mut read).await.unwrap();
        let _ = shim.write_all(b"done").await;
        drop(shim);
        assert!(!run.await.unwrap().unwrap());
        client.read_to_end(&mut said).await.unwrap();
        (read, said)
    }

    #[tokio::test]
    async fn the_end_of_the_input_closes_it_or_ends_the_attachment() {
        assert_eq!(carried(b"in", true).await, (b"in".to_vec(), b"done".to_vec()));
        assert_eq!(carried(b"in", false).await, (b"in".to_vec(), b"".to_vec()));
    }

    #[tokio::test]
    async fn input_is_carried_but_for_the_keys_that_detach() {
        let (process, mut shim) = tokio::net::UnixStream::pair().unwrap();
        let (mut client, server) = tokio::io::duplex(1024);
        let (from, mut to) = tokio::io::split(server);
        let attachment = Attachment {
            terminal: true,
            stream: process,
        };
        let carried =
            tokio::spawn(async move { carry(attachment, from, &mut to, Some(false), DETACH).await });
        client.write_all(b"ab\x10c\x10\x11never").await.unwrap();
        assert!(carried.await.unwrap().unwrap());
        let mut seen = Vec::new();
        shim.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"ab\x10c");
    }
}
