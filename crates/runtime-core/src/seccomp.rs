//! The container's system-call filter: compiled before anything is made, handed on to who listens.

use std::os::fd::BorrowedFd;

use gantry_oci::runtime::{LinuxSeccomp, State};
use gantry_sys::process::Pid;

use crate::error::{Error, Result};

/// A compiled filter.
pub(crate) type Filter = gantry_seccomp::Program;

/// Compiles the profile, if there is one.
pub(crate) fn compile(profile: Option<&LinuxSeccomp>) -> Result<Option<Filter>> {
    let compiled = profile.map(gantry_seccomp::compile).transpose();
    compiled.map_err(|error| {
        Error::Config(format!(
            "invalid seccomp profile: {}",
            crate::error::chain(&error)
        ))
    })
}

/// Sends the listener of a filter that notifies to the socket that the profile names.
pub(crate) fn hand_over(
    profile: Option<&LinuxSeccomp>,
    listener: BorrowedFd<'_>,
    pid: Pid,
    state: State,
) -> Result<()> {
    let Some(profile) = profile.filter(|profile| !profile.listener_path.is_empty()) else {
        return Err(Error::Config(
            "the seccomp profile notifies but has no listenerPath".to_owned(),
        ));
    };
    let path = std::path::Path::new(&profile.listener_path);
    let message = gantry_oci::runtime::ContainerProcessState {
        oci_version: state.oci_version.clone(),
        fds: vec!["seccompFd".to_owned()],
        pid,
        metadata: profile.listener_metadata.clone(),
        state,
        other: Default::default(),
    };
    let text = serde_json::to_vec(&message).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    let socket = gantry_sys::socket::connect(path).map_err(Error::file("failed to connect to", path))?;
    gantry_sys::socket::send(std::os::fd::AsFd::as_fd(&socket), &text, Some(listener))?;
    Ok(())
}
