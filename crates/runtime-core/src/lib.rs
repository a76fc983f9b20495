//! The OCI runtime as a library: a configuration is read, checked and planned, then done.
#![doc = include_str!("../README.md")]

pub mod check;
pub mod checkpoint;
pub mod config;
pub mod create;
pub mod error;
pub mod events;
pub mod exec;
pub mod features;
pub mod foreground;
pub mod lifecycle;
pub mod log;
pub mod plan;
pub mod protocol;
pub mod state;

mod announce;
mod birth;
mod console;
mod folder;
mod hooks;
mod idmap;
mod init;
mod making;
mod netdev;
mod oom;
mod seccomp;
mod sources;
mod sysctl;

pub use error::{Error, Result};
pub use gantry_oci::runtime::{self as oci, SPEC_VERSION};
/// What a cgroup has used.
pub mod stats {
    pub use gantry_cgroups::{BlkioEntry, Cpu, Memory, Pids, Stats};
}
pub use gantry_sys::trace::rfc3339;
pub use gantry_sys::{exe, signal};

/// Whether root runs us.
pub fn is_root() -> bool {
    gantry_sys::process::euid() == 0
}

/// Whether the machine's cgroups are of version 2 alone.
pub fn cgroups_are_unified() -> bool {
    gantry_cgroups::Layout::detect().is_ok_and(|layout| layout.version == gantry_cgroups::Version::V2)
}

/// Who runs us: user and group.
pub fn ids() -> (u32, u32) {
    (gantry_sys::process::euid(), gantry_sys::process::egid())
}

/// Makes us adopt the container's orphans.
pub fn become_subreaper() -> Result<()> {
    Ok(gantry_sys::process::set_subreaper()?)
}

/// Adds a line to the trace, if there is one.
pub fn trace(message: &str, took: std::time::Duration) {
    gantry_sys::trace::line("runtime", message, Some(took));
}
