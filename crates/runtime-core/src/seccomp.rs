//! The container's system-call filter: compiled before anything is made, handed on to who listens.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use gantry_oci::runtime::{ContainerProcessState, LinuxSeccomp, State};
use gantry_sys::process::Pid;

use crate::error::{Error, Result, chain};
use crate::protocol::{Channel, Message};

/// A compiled filter.
pub(crate) type Filter = gantry_seccomp::Program;

/// Compiles the profile, if there is one.
pub(crate) fn compile(profile: Option<&LinuxSeccomp>) -> Result<Option<Filter>> {
    let compiled = profile.map(gantry_seccomp::compile).transpose();
    let filter =
        compiled.map_err(|error| Error::Config(format!("invalid seccomp profile: {}", chain(&error))))?;
    let unheard = profile.is_none_or(|profile| profile.listener_path.is_empty());
    match filter.as_ref().is_some_and(|filter| filter.notifies) && unheard {
        true => Err(Error::Config("seccomp listenerPath is not set".to_owned())),
        false => Ok(filter),
    }
}

/// Fetches the listener of a filter that notifies from the process that loaded it, and sends it to the socket that the
/// profile names, with what is known of the process.
pub(crate) fn hand_over(
    profile: Option<&LinuxSeccomp>,
    channel: &Channel,
    pid: Pid,
    number: RawFd,
    state: State,
) -> Result<()> {
    let Some(profile) = profile else {
        return Err(Error::Init("a filter notifies that nobody asked for".to_owned()));
    };
    let process = gantry_sys::process::pidfd_open(pid)?;
    let listener = gantry_sys::process::pidfd_getfd(process.as_fd(), number)?;
    // Before it is sent: whoever listens may have to answer for what the process does when it hears this.
    channel.send(&Message::SeccompTaken, None)?;
    let message = ContainerProcessState {
        oci_version: state.oci_version.clone(),
        fds: vec!["seccompFd".to_owned()],
        pid,
        metadata: profile.listener_metadata.clone(),
        state,
        other: Default::default(),
    };
    let path = Path::new(&profile.listener_path);
    let text = serde_json::to_vec(&message).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    let socket = connect(&profile.listener_path).map_err(Error::file(
        "failed to connect with seccomp agent specified in the seccomp profile:",
        path,
    ))?;
    let sent = gantry_sys::socket::send_all(socket.as_fd(), &text, listener.as_fd());
    sent.map_err(|error| {
        Error::Init(format!(
            "cannot send seccomp fd to {}: {}",
            path.display(),
            chain(&error)
        ))
    })
}

/// A name that begins with `@` is not one of a file, as in Go.
fn connect(path: &str) -> io::Result<UnixStream> {
    match path.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => gantry_sys::socket::connect(Path::new(path)),
    }
}
