//! Where the master of a process's terminal goes: to a socket that the caller named, or to us. The terminal itself is made by the
//! process (`init::console`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::announce::connect;
use crate::error::{Error, Result};
use crate::init::Receiver;

/// The way to it.
pub(crate) enum Console {
    /// There is no terminal.
    None,
    /// The caller's socket.
    Sent(OwnedFd),
    /// The end that we receive at, and that of the process.
    Kept(OwnedFd, OwnedFd),
}

impl Console {
    /// Opens it, before there is a process.
    pub(crate) fn open(socket: Option<&Path>, terminal: bool) -> Result<Self> {
        match (socket, terminal) {
            (Some(path), true) => Ok(Self::Sent(connect(path)?.into())),
            (Some(_), false) => Err(Error::Config(
                "cannot use console socket if runc will not detach or allocate tty".to_owned(),
            )),
            (None, true) => {
                let (ours, theirs) = gantry_sys::socket::pair()?;
                Ok(Self::Kept(ours, theirs))
            }
            (None, false) => Ok(Self::None),
        }
    }

    /// For the process.
    pub(crate) fn receiver(&self) -> Option<Receiver<'_>> {
        let (socket, ours) = match self {
            Self::None => return None,
            Self::Sent(socket) => (socket, false),
            Self::Kept(_, theirs) => (theirs, true),
        };
        Some(Receiver {
            socket: socket.as_fd(),
            ours,
        })
    }

    /// The master, if it comes to us; once the process has made it.
    pub(crate) fn take(self) -> Result<Option<OwnedFd>> {
        match self {
            Self::Kept(ours, _) => Ok(gantry_sys::socket::receive(ours.as_fd(), 256)?.1),
            Self::None | Self::Sent(_) => Ok(None),
        }
    }

    /// Passes on a master that somebody else made; it is returned if it is for us.
    pub(crate) fn give(&self, master: OwnedFd) -> Result<Option<OwnedFd>> {
        match self {
            Self::Sent(socket) => {
                let name = gantry_sys::pty::slave_path(master.as_fd())?;
                let name = name.as_os_str().as_encoded_bytes();
                gantry_sys::socket::send(socket.as_fd(), name, Some(master.as_fd()))?;
                Ok(None)
            }
            Self::Kept(..) => Ok(Some(master)),
            // Of a program of the container's, and nobody asked for it.
            Self::None => Ok(None),
        }
    }
}
