//! The container's terminal: made in its own devpts, its master sent away, its slave the process's standard streams.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use gantry_oci::runtime::ConsoleSize;
use gantry_sys::{mount, path, pty, socket};

use crate::error::{Error, Result};

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const O_PATH: i32 = 0o10_000_000;

/// Where the master of a terminal goes.
#[derive(Clone, Copy)]
pub(crate) struct Receiver<'a> {
    /// The socket.
    pub(crate) socket: BorrowedFd<'a>,
    /// Whether it is the runtime itself, whose output is a terminal with carriage returns of its own, or none that wants any.
    pub(crate) ours: bool,
}

/// Makes a terminal and sends its master away; with `mount_console` its slave is `/dev/console` too.
pub(crate) fn send_terminal(to: Receiver<'_>, size: Option<&ConsoleSize>, mount_console: bool) -> Result<()> {
    let master =
        pty::open_master(Path::new("/dev/pts/ptmx")).or_else(|_| pty::open_master(Path::new("/dev/ptmx")))?;
    // What the image put there must not be taken for a terminal.
    if path::file_system(master.as_fd())? != DEVPTS_SUPER_MAGIC {
        return Err(Error::Init(
            "/dev/pts/ptmx is not on a devpts file system".to_owned(),
        ));
    }
    let slave = pty::open_slave(master.as_fd())?;
    if to.ours {
        pty::set_onlcr(slave.as_fd(), false)?;
    }
    if let Some(size) = size {
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        pty::set_size(slave.as_fd(), number(size.height), number(size.width))?;
    }
    if mount_console {
        let root = path::open(Path::new("/"), O_PATH)?;
        let place = path::make_file_in_root(root.as_fd(), Path::new("/dev/console"), 0o620)?;
        // A link in the image could have led to what the kernel is told through, and hidden it.
        if path::file_system(place.as_fd())? == PROC_SUPER_MAGIC {
            return Err(Error::Init("/dev/console leads into /proc".to_owned()));
        }
        let copy = mount::open_tree(slave.as_fd(), "", false)?;
        mount::move_mount(copy.as_fd(), place.as_fd())?;
    }
    let name = pty::slave_path(master.as_fd())?;
    socket::send(
        to.socket,
        name.as_os_str().as_encoded_bytes(),
        Some(master.as_fd()),
    )?;
    pty::make_controlling(slave.as_fd())?;
    pty::take_stdio(slave.as_fd())?;
    Ok(())
}
