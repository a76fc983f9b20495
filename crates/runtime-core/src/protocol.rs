//! What the container's process and the runtime that made it say to each other, over a pair of sockets that keep the
//! borders of messages. A failure is a message; a closed socket is the end of the other side.
//!
//! ```text
//! runtime (parent)                          process (child)
//!    │ clone3: the namespaces that are made      │ (`birth`: or by way of a process that joins some before)
//!    │ id mappings, cgroup made and limited      │ (without a user namespace: mounts meanwhile)
//!    │ Go ─────────────────────────────────────► │ enters the cgroup; cgroup namespace, cgroup mounts, devices
//!    │ ◄────────────────────────── Source(which) │ only for bind mounts that it cannot copy by itself
//!    │ Copied + fd ────────────────────────────► │
//!    │ ◄──────────────────────────── RunHooks    │ only if there are hooks
//!    │ prestart, createRuntime                   │
//!    │ HooksDone ──────────────────────────────► │ createContainer, pivot_root, console, masks, user, seccomp
//!    │ ◄───────────────── SeccompListener(N)     │ only if a filter notifies: its descriptor, fetched by the parent
//!    │ SeccompTaken ───────────────────────────► │
//!    │ ◄─────────────────────────────── Ready    │ create: waits at the FIFO, which `start` writes to
//!    │ state.json, pid file                      │ exec: no Ready; the socket closes with the exec of the program
//!    │          at any time: Failed(sentence)    │
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use gantry_sys::process::Pid;

use crate::error::{Error, Result};

/// The longest message.
const LIMIT: usize = 16 << 10;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The parent has done what the child waits for.
    Go,
    /// The child's namespaces are there: hooks of the runtime's namespace may run.
    RunHooks,
    /// They have run.
    HooksDone,
    /// The source of a mount, by its place in the list, is to be copied.
    Source(usize),
    /// Here it is: it comes along.
    Copied,
    /// The filter is loaded, and this descriptor of the child hears of calls. Said by write(2), which no filter that notifies holds.
    SeccompListener(RawFd),
    /// The parent has that descriptor.
    SeccompTaken,
    /// The stage's ids are to be mapped.
    Map,
    /// The offsets of its time namespace are to be written.
    Offsets,
    /// The container's process is made: its number; its pidfd comes along.
    Born(Pid),
    /// All is set up.
    Ready,
    /// It failed, and why.
    Failed(String),
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let number;
        let (kind, text) = match self {
            Self::SeccompListener(descriptor) => {
                number = descriptor.to_string();
                (b'S', number.as_str())
            }
            Self::SeccompTaken => (b'T', ""),
            Self::Map => (b'M', ""),
            Self::Offsets => (b'O', ""),
            Self::Born(pid) => {
                number = pid.to_string();
                (b'B', number.as_str())
            }
            Self::Source(at) => {
                number = at.to_string();
                (b'U', number.as_str())
            }
            Self::Copied => (b'C', ""),
            Self::Go => (b'G', ""),
            Self::RunHooks => (b'H', ""),
            Self::HooksDone => (b'D', ""),
            Self::Ready => (b'R', ""),
            Self::Failed(text) => (b'F', text.as_str()),
        };
        let mut bytes = vec![kind];
        bytes.extend(text.bytes().take(LIMIT - 1));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, text) = bytes.split_first()?;
        Some(match kind {
            b'M' => Self::Map,
            b'O' => Self::Offsets,
            b'B' => Self::Born(std::str::from_utf8(text).ok()?.parse().ok()?),
            b'U' => Self::Source(std::str::from_utf8(text).ok()?.parse().ok()?),
            b'C' => Self::Copied,
            b'G' => Self::Go,
            b'H' => Self::RunHooks,
            b'D' => Self::HooksDone,
            b'S' => Self::SeccompListener(std::str::from_utf8(text).ok()?.parse().ok()?),
            b'T' => Self::SeccompTaken,
            b'R' => Self::Ready,
            b'F' => Self::Failed(String::from_utf8_lossy(text).into_owned()),
            _ => return None,
        })
    }
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub fn pair() -> Result<(Self, Self)> {
        let (a, b) = gantry_sys::socket::pair()?;
        Ok((Self(a), Self(b)))
    }

    /// Its number, which the process keeps when it closes all others.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends a message, with a descriptor beside it or not.
    pub fn send(&self, message: &Message, passed: Option<BorrowedFd<'_>>) -> Result<()> {
        Ok(gantry_sys::socket::send(
            self.0.as_fd(),
            &message.encode(),
            passed,
        )?)
    }

    /// Sends a message by a plain write(2), for who has a filter loaded: it may hold everything else.
    pub(crate) fn tell(&self, message: &Message) -> Result<()> {
        gantry_sys::fd::write_all(self.0.as_fd(), &message.encode())
            .map_err(Error::file("failed to write to the", "runtime"))
    }

    /// Waits for one message by a plain read(2).
    pub(crate) fn hear(&self, wanted: &Message) -> Result<()> {
        let mut bytes = [0; 64];
        let count = gantry_sys::fd::read(self.0.as_fd(), &mut bytes)
            .map_err(Error::file("failed to read from the", "runtime"))?;
        match Message::decode(&bytes[..count]) {
            Some(message) if message == *wanted => Ok(()),
            _ => Err(Error::Init(
                "the other process ended before it was done".to_owned(),
            )),
        }
    }

    /// The next message; none when the other side is gone.
    pub fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        const RESET: i32 = 104;
        let received = match gantry_sys::socket::receive(self.0.as_fd(), LIMIT) {
            // The other side ended without reading what we said. What it said before is still to be had.
            Err(error) if error.errno() == RESET => gantry_sys::socket::receive(self.0.as_fd(), LIMIT),
            other => other,
        };
        let (bytes, passed) = received?;
        if bytes.is_empty() {
            return Ok(None);
        }
        match Message::decode(&bytes) {
            Some(message) => Ok(Some((message, passed))),
            None => Err(Error::Init(
                "the container's process said something that is no message".to_owned(),
            )),
        }
    }

    /// Waits for one message of the other side.
    pub fn expect(&self, wanted: &Message) -> Result<()> {
        match self.receive()? {
            Some((message, _)) if message == *wanted => Ok(()),
            Some((Message::Failed(why), _)) => Err(Error::Init(why)),
            _ => Err(Error::Init(
                "the other process ended before it was done".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = Channel::pair().unwrap();
        let all = [
            Message::Go,
            Message::RunHooks,
            Message::HooksDone,
            Message::Ready,
            Message::Map,
            Message::Offsets,
            Message::Born(4711),
            Message::Source(3),
            Message::Copied,
            Message::SeccompListener(7),
            Message::SeccompTaken,
            Message::Failed("no".into()),
        ];
        for message in all {
            a.send(&message, None).unwrap();
            assert_eq!(b.receive().unwrap().unwrap().0, message);
            a.tell(&message).unwrap();
            b.hear(&message).unwrap();
        }
        a.send(&Message::Failed("why".into()), None).unwrap();
        assert_eq!(b.expect(&Message::Go).unwrap_err().to_string(), "why");
        drop(a);
        assert!(b.receive().unwrap().is_none());
        // Who ends with bad news, and did not read what it was told, is heard.
        let (a, b) = Channel::pair().unwrap();
        b.send(&Message::Go, None).unwrap();
        a.send(&Message::Failed("early".into()), None).unwrap();
        drop(a);
        assert_eq!(b.expect(&Message::Ready).unwrap_err().to_string(), "early");
        assert_eq!(Message::decode(b"?"), None);
    }
}
