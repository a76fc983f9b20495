//! Standard input and output beside a runtime of one thread: each has a thread of its own, since a
//! terminal, a pipe or a file that blocks must hold back nothing else.

use std::io::{self, Read, Write};

use bytes::Bytes;
use gantry_client::{Channel, Demux, Hijacked};
use gantry_opts::detach::Scanner;
use tokio::sync::{mpsc, oneshot};

use crate::console;
use crate::failure::{Failure, Outcome};

const BUFFER: usize = 32 * 1024;

/// Standard input, read from the moment this is called on; the channel ends with it.
pub(crate) fn input() -> mpsc::Receiver<io::Result<Bytes>> {
    read_from(io::stdin())
}

/// Anything that can be read, read by a thread.
pub(crate) fn read_from(mut source: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Standard output and standard error, in the order in which they are given.
pub(crate) struct Printer {
    sender: mpsc::Sender<(Channel, Bytes)>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    /// Starts it.
    pub(crate) fn new() -> Printer {
        let (sender, mut receiver) = mpsc::channel::<(Channel, Bytes)>(16);
        let (told, done) = oneshot::channel();
        std::thread::spawn(move || {
            let mut result = Ok(());
            while let Some((channel, bytes)) = receiver.blocking_recv() {
                result = match channel {
                    Channel::Stdout => write(&mut io::stdout().lock(), &bytes),
                    Channel::Stderr => write(&mut io::stderr().lock(), &bytes),
                };
                if result.is_err() {
                    break;
                }
            }
            let _ = told.send(result);
        });
        Printer { sender, done }
    }

    /// Prints; an error means that nobody reads any more.
    pub(crate) async fn print(&self, channel: Channel, bytes: Bytes) -> io::Result<()> {
        let sent = self.sender.send((channel, bytes)).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all is printed.
    pub(crate) async fn finish(self) -> io::Result<()> {
        drop(self.sender);
        self.done.await.unwrap_or(Ok(()))
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// How a conversation with a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process is gone, or its output is.
    Output,
    /// The user typed the keys that detach.
    Detached,
}

/// A conversation with a process over a hijacked connection.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// The process has a terminal: its output is one stream.
    pub(crate) tty: bool,
    /// Pass standard input on.
    pub(crate) stdin: bool,
    /// Keys that detach, looked for where there is a terminal.
    pub(crate) detach_keys: Vec<u8>,
}

impl Conversation {
    /// Passes everything on until one side ends it.
    pub(crate) async fn run(self, connection: Hijacked) -> Outcome<Ended> {
        let Hijacked {
            mut output,
            input: mut to_process,
            ..
        } = connection;
        let (detach, detached) = oneshot::channel::<()>();
        let keys = if self.tty { self.detach_keys } else { Vec::new() };
        let feeding = tokio::spawn(async move {
            if !self.stdin {
                // The other half stays open, or the engine would take it for a detached client.
                std::future::pending::<()>().await;
            }
            let mut scanner = Scanner::new(keys);
            let mut typed = input();
            while let Some(Ok(bytes)) = typed.recv().await {
                let (bytes, end) = scanner.scan(&bytes);
                if to_process.write(&bytes).await.is_err() {
                    // The process reads no more; its output is still to come.
                    return std::future::pending().await;
                }
                if end {
                    let _ = detach.send(());
                    return;
                }
            }
            let _ = to_process.close().await;
            std::future::pending::<()>().await;
        });
        let printer = Printer::new();
        let reading = async {
            let mut demux = Demux::default();
            while let Some(bytes) = output.chunk().await? {
                if self.tty {
                    printer.print(Channel::Stdout, bytes).await?;
                    continue;
                }
                let mut parts = Vec::new();
                demux.push(bytes, |channel, part| parts.push((channel, part)))?;
                for (channel, part) in parts {
                    printer.print(channel, part).await?;
                }
            }
            Ok::<Ended, Failure>(Ended::Output)
        };
        let ended = tokio::select! {
            ended = reading => ended,
            Ok(()) = detached => Ok(Ended::Detached),
        };
        feeding.abort();
        if let Err(error) = printer.finish().await {
            if error.kind() == io::ErrorKind::BrokenPipe {
                console::exit(128 + 13);
            }
            return Err(error.into());
        }
        ended
    }
}

/// Prints a body that is framed, or not.
pub(crate) async fn print_body(mut body: gantry_client::Body, framed: bool) -> Outcome {
    let printer = Printer::new();
    let mut demux = Demux::default();
    let reading = async {
        while let Some(bytes) = body.chunk().await? {
            let mut parts = Vec::new();
            if framed {
                demux.push(bytes, |channel, part| parts.push((channel, part)))?;
            } else {
                parts.push((Channel::Stdout, bytes));
            }
            for (channel, part) in parts {
                printer.print(channel, part).await?;
            }
        }
        Ok::<(), Failure>(())
    };
    let read = reading.await;
    match printer.finish().await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => console::exit(128 + 13),
        Err(error) => Err(error.into()),
        Ok(()) => read,
    }
}
