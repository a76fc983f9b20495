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
pub mod host;
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
pub use gantry_sys::clock::rfc3339;
pub use gantry_sys::{exe, signal};
