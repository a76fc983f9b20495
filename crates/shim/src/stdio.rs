//! The three streams of a process: where its output goes, where its input comes from. Knows descriptors, no protocol.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use gantry_errdefs::Error;
use gantry_sys::{epoll, fd};

use crate::log::{Log, Stream};

const O_NONBLOCK: i32 = 0o4000;

/// How much may wait for a reader of a FIFO before the process is held back.
const WAITING: usize = 64 << 10;

/// How much input may wait for the process.
pub(crate) const INPUT_WAITING: usize = 256 << 10;

/// Where one stream of output goes, beside the clients that are attached.
#[derive(Debug)]
pub(crate) enum Sink {
    Nothing,
    Fifo { fd: OwnedFd, waiting: Vec<u8> },
    File(File),
    Log,
}

/// One stream of output.
#[derive(Debug)]
pub(crate) struct Output {
    /// From the process; none at its end, while the sink still has to take what came before.
    pub(crate) source: Option<OwnedFd>,
    pub(crate) sink: Sink,
    /// Not read now: somebody is too slow.
    pub(crate) held: bool,
}

/// The input.
#[derive(Debug)]
pub(crate) struct Input {
    /// To the process: a pipe, or the terminal.
    pub(crate) fd: OwnedFd,
    /// From a FIFO, if it is not fed by attached clients.
    pub(crate) source: Option<OwnedFd>,
    pub(crate) waiting: Vec<u8>,
    /// Closed once what waits is written.
    pub(crate) closing: bool,
}

/// All of a process.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) outputs: [Option<Output>; 2],
    pub(crate) input: Option<Input>,
    pub(crate) log: Option<Log>,
}

/// What the task service says of a process's streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

/// The process's ends, for the runtime's command.
pub(crate) struct Ends {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

fn opened(what: &str, path: &str, source: io::Error) -> Error {
    Error::from(source).context(format!("failed to open {what} {path}"))
}

fn sink(uri: &str, log: &mut Option<Log>) -> Result<Sink, Error> {
    if uri.is_empty() || uri == "attach:" {
        return Ok(Sink::Nothing);
    }
    if let Some(path) = uri.strip_prefix("json-file://") {
        if log.is_none() {
            *log = Some(Log::open(Path::new(path)).map_err(|error| opened("the log", path, error))?);
        }
        return Ok(Sink::Log);
    }
    if let Some(path) = uri.strip_prefix("file://") {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        return Ok(Sink::File(file.map_err(|error| opened("the file", path, error))?));
    }
    if uri.contains("://") && !uri.starts_with("fifo://") {
        return Err(Error::not_implemented(format!(
            "stdio {uri:?}: use a FIFO, file://, json-file:// or attach:"
        )));
    }
    let path = uri.strip_prefix("fifo://").unwrap_or(uri);
    // Open for reading too: a reader that goes and comes back finds the FIFO as it was.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let fd = file.map_err(|error| opened("the FIFO", path, error))?.into();
    Ok(Sink::Fifo {
        fd,
        waiting: Vec::new(),
    })
}

/// The FIFO that input comes from. A terminal has no end of input: its writer may go and another come.
fn source(uri: &str, terminal: bool) -> Result<Option<OwnedFd>, Error> {
    if uri.is_empty() || uri == "attach:" {
        return Ok(None);
    }
    let path = uri.strip_prefix("fifo://").unwrap_or(uri);
    let file = OpenOptions::new()
        .read(true)
        .write(terminal)
        .custom_flags(O_NONBLOCK)
        .open(path);
    Ok(Some(
        file.map_err(|error| opened("the FIFO", path, error))?.into(),
    ))
}

/// Gives a process's end to the user that it will run as, if the options name one.
fn own(end: &OwnedFd, (uid, gid): (u32, u32)) -> Result<(), Error> {
    match (uid, gid) {
        (0, 0) => Ok(()),
        _ => std::os::unix::fs::fchown(end, Some(uid), Some(gid))
            .map_err(|error| Error::from(error).context("failed to give a pipe to its user")),
    }
}

/// Pipes for a process without a terminal; `owner` is who has the process's ends.
pub(crate) fn pipes(wanted: &Wanted, owner: (u32, u32)) -> Result<(Streams, Ends), Error> {
    let mut streams = Streams::default();
    let failed = |error: gantry_sys::Error| Error::internal(gantry_errdefs::chain(&error));
    let mut ends = Ends {
        stdin: Stdio::null(),
        stdout: Stdio::null(),
        stderr: Stdio::null(),
    };
    for (at, uri) in [&wanted.stdout, &wanted.stderr].into_iter().enumerate() {
        if uri.is_empty() {
            continue;
        }
        let sink = sink(uri, &mut streams.log)?;
        let (read, write) = epoll::pipe().map_err(failed)?;
        epoll::set_nonblocking(read.as_fd(), true).map_err(failed)?;
        own(&write, owner)?;
        streams.outputs[at] = Some(Output {
            source: Some(read),
            sink,
            held: false,
        });
        match at {
            0 => ends.stdout = Stdio::from(write),
            _ => ends.stderr = Stdio::from(write),
        }
    }
    if !wanted.stdin.is_empty() {
        let source = source(&wanted.stdin, false)?;
        let (read, write) = epoll::pipe().map_err(failed)?;
        epoll::set_nonblocking(write.as_fd(), true).map_err(failed)?;
        own(&read, owner)?;
        streams.input = Some(Input {
            fd: write,
            source,
            waiting: Vec::new(),
            closing: false,
        });
        ends.stdin = Stdio::from(read);
    }
    Ok((streams, ends))
}

/// The streams of a process with a terminal, whose master this is.
pub(crate) fn terminal(wanted: &Wanted, master: OwnedFd) -> Result<Streams, Error> {
    let mut streams = Streams::default();
    let failed = |error: gantry_sys::Error| Error::internal(gantry_errdefs::chain(&error));
    epoll::set_nonblocking(master.as_fd(), true).map_err(failed)?;
    let sink = sink(&wanted.stdout, &mut streams.log)?;
    let second = master.try_clone().map_err(Error::from)?;
    streams.outputs[0] = Some(Output {
        source: Some(master),
        sink,
        held: false,
    });
    let source = source(&wanted.stdin, true)?;
    streams.input = Some(Input {
        fd: second,
        source,
        waiting: Vec::new(),
        closing: false,
    });
    Ok(streams)
}

impl Sink {
    /// Whether so much waits that the process must be held back.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Fifo { waiting, .. } if waiting.len() > WAITING)
    }

    /// What is to be watched until it takes what waits.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fifo { fd, waiting } if !waiting.is_empty() => Some(fd.as_fd()),
            _ => None,
        }
    }

    /// Writes what waits, as far as it goes.
    pub(crate) fn flush(&mut self) {
        if let Self::Fifo { fd, waiting } = self {
            drain(fd.as_fd(), waiting);
        }
    }
}

impl Streams {
    /// Hands output on. A log or file that cannot be written loses the output, not the container: it is said in our log.
    pub(crate) fn deliver(&mut self, at: usize, data: &[u8]) {
        let stream = if at == 0 { Stream::Stdout } else { Stream::Stderr };
        let Some(output) = &mut self.outputs[at] else {
            return;
        };
        let done = match &mut output.sink {
            Sink::Nothing => Ok(()),
            Sink::Log => self.log.as_mut().map_or(Ok(()), |log| log.add(stream, data)),
            Sink::File(file) => file.write_all(data),
            Sink::Fifo { waiting, fd } => {
                waiting.extend_from_slice(data);
                drain(fd.as_fd(), waiting);
                Ok(())
            }
        };
        complain(done);
    }

    /// A stream of output has ended. What its sink has not taken yet stays.
    pub(crate) fn end(&mut self, at: usize) {
        let stream = if at == 0 { Stream::Stdout } else { Stream::Stderr };
        let Some(output) = &mut self.outputs[at] else {
            return;
        };
        output.source = None;
        output.sink.flush();
        if let (Sink::Log, Some(log)) = (&output.sink, &mut self.log) {
            complain(log.finish(stream));
        }
        if output.sink.waits_for().is_none() {
            self.outputs[at] = None;
        }
    }

    /// Whether no output can come any more, and all that came was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }
}

fn complain(done: io::Result<()>) {
    if let Err(error) = done {
        let _ = writeln!(io::stderr(), "failed to write output: {error}");
    }
}

/// Writes as much as is taken.
fn drain(to: BorrowedFd<'_>, waiting: &mut Vec<u8>) {
    let mut written = 0;
    while written < waiting.len() {
        match fd::write(to, &waiting[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => {
                // Nobody will ever read it.
                written = waiting.len();
            }
        }
    }
    waiting.drain(..written);
    if waiting.is_empty() {
        *waiting = Vec::new();
    }
}

impl Input {
    /// Writes what waits. False once it is closed.
    pub(crate) fn flush(&mut self) -> bool {
        drain(self.fd.as_fd(), &mut self.waiting);
        !(self.closing && self.waiting.is_empty())
    }
}
