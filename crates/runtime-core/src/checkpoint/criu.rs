//! Runs criu and talks with it: it is made where it shall work, asked one thing, and answered whatever it tells of on the way. Must
//! not know what it is asked.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gantry_sys::process::{self, Forked, Pid};
use gantry_sys::{fd, signal, socket};

use super::message::{self, Kind, Response};
use super::wire::Writer;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::protocol::{Channel, Message};

/// The largest answer.
const LIMIT: usize = 40 * 1024;

/// Where criu works, and what happens there.
pub(super) trait Place {
    /// With criu's process made, but not criu yet.
    fn prepare(&mut self, _criu: Pid) -> Result<()> {
        Ok(())
    }

    /// In that process.
    fn enter(&self) -> Result<()> {
        Ok(())
    }

    /// criu has reached a point, perhaps with a descriptor for us.
    fn reached(&mut self, _script: &str, _pid: Option<Pid>, _passed: Option<OwnedFd>) -> Result<()> {
        Ok(())
    }
}

/// Nowhere in particular.
pub(super) struct Anywhere;

impl Place for Anywhere {}

/// criu, found.
pub(super) struct Criu(CString);

impl Criu {
    pub(super) fn find() -> Result<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders)
            .map(|folder| folder.join("criu"))
            .find(|path| path.is_file());
        let path = found.ok_or_else(|| {
            Error::State(
                "CRIU version check failed: exec: \"criu\": executable file not found in $PATH".to_owned(),
            )
        })?;
        Ok(Self(c_string(path.as_os_str().as_bytes())?))
    }

    /// Asks it something; `kept` are descriptors that it gets by the numbers that they have here.
    pub(super) fn ask(
        &self,
        question: &Writer,
        kept: &[BorrowedFd<'_>],
        place: &mut dyn Place,
        log: &Log,
    ) -> Result<Response> {
        let (ours, theirs) = Channel::pair()?;
        let (line, its) = socket::pair()?;
        let pid = match process::fork(0)? {
            Forked::Child => {
                drop((ours, line));
                let error = match self.become_it(&theirs, &its, kept, place) {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                let _ = theirs.send(&Message::Failed(error.chain()), None);
                process::exit(1)
            }
            Forked::Parent(pid, _) => pid,
        };
        drop((theirs, its));
        let mut child = Child(Some(pid));
        place.prepare(pid)?;
        ours.send(&Message::Go, None)?;
        // The channel closes when criu is executed.
        if let Some((Message::Failed(why), _)) = ours.receive()? {
            return Err(Error::State(format!("failed to run criu: {why}")));
        }
        let answer = converse(&line, question, place, log);
        // It waits for more, or is to give up.
        drop(line);
        let status = child.wait()?;
        let answer = answer?;
        // After a pre-dump it expects another one, and complains that there is none.
        if answer.success && status != 0 && !answer.is(Kind::PreDump) {
            return Err(Error::State(format!("criu failed: exit status {status}")));
        }
        Ok(answer)
    }

    fn become_it(
        &self,
        channel: &Channel,
        line: &OwnedFd,
        kept: &[BorrowedFd<'_>],
        place: &dyn Place,
    ) -> Result<std::convert::Infallible> {
        channel.expect(&Message::Go)?;
        place.enter()?;
        // Those that we wait for are nothing to it.
        signal::unblock_all()?;
        process::cloexec_from(3)?;
        for one in kept.iter().copied().chain([line.as_fd()]) {
            fd::keep_on_exec(one)?;
        }
        let number = line.as_raw_fd().to_string();
        let args = ["criu", "swrk", &number].map(|word| c_string(word.as_bytes()));
        let args = args.into_iter().collect::<Result<Vec<_>>>()?;
        let environment = std::env::vars_os().map(|(name, value)| {
            let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
            c_string(&both)
        });
        let environment = environment.collect::<Result<Vec<_>>>()?;
        Err(process::exec(&self.0, &args, &environment).into())
    }
}

/// A process of ours, ended when it is not waited for.
struct Child(Option<Pid>);

impl Child {
    fn wait(&mut self) -> Result<i32> {
        match self.0.take() {
            Some(pid) => Ok(process::wait(pid)?.status),
            None => Ok(0),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = process::kill(pid, 9);
            let _ = process::wait(pid);
        }
    }
}

fn converse(line: &OwnedFd, question: &Writer, place: &mut dyn Place, log: &Log) -> Result<Response> {
    let line = line.as_fd();
    socket::send(line, question.encoded(), None)?;
    let mut refused = None;
    loop {
        let (bytes, passed) = socket::receive(line, LIMIT)?;
        if bytes.is_empty() {
            let gone = || Error::State("criu failed: unexpected EOF".to_owned());
            return Err(refused.unwrap_or_else(gone));
        }
        let answer = Response::parse(&bytes);
        if !answer.is(Kind::Notify) {
            return refused.map_or(Ok(answer), Err);
        }
        log.debug(|| format!("notify: {}", answer.script));
        let done = place.reached(&answer.script, answer.script_pid, passed);
        // It undoes then what it has done.
        socket::send(line, message::noted(done.is_ok()).encoded(), None)?;
        if let Err(error) = done {
            refused.get_or_insert(error);
        }
    }
}

/// Whether it went well; if not, criu's own log tells more.
pub(super) fn judge(answer: &Response, kind: Kind, folder: &Path, log: &Log) -> Result<()> {
    if answer.success {
        return Ok(());
    }
    let path = folder.join(kind.log());
    let first = quote(&path, log).unwrap_or_else(|| answer.error.clone());
    let why = if first.is_empty() {
        first
    } else {
        format!(": {first}")
    };
    Err(Error::State(format!(
        "criu failed: type {} errno {}{why}\nlog file: {}",
        kind.word(),
        answer.errno,
        path.display()
    )))
}

/// Shows the errors of a log with the lines before them, as `grep -n -B5 Error` would. Returns the first.
fn quote(path: &PathBuf, log: &Log) -> Option<String> {
    const BEFORE: usize = 5;
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let errors: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].contains("Error"))
        .collect();
    let first = errors.first()?;
    log.warn(&format!("--- Quoting {:?}", path.display().to_string()));
    let mut shown = 0;
    for at in &errors {
        let from = at.saturating_sub(BEFORE).max(shown);
        if shown != 0 && from > shown {
            log.warn("...");
        }
        for (number, line) in lines.iter().enumerate().take(at + 1).skip(from) {
            log.warn(&format!("{}:{line}", number + 1));
        }
        shown = at + 1;
    }
    log.warn("---");
    let line = lines[*first];
    // Without the time and the process.
    let from = line.find("Error").unwrap_or_default();
    Some(line[from..].trim().to_owned())
}

fn c_string(text: &[u8]) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::Config(format!("{:?} has a NUL in it", String::from_utf8_lossy(text))))
}
