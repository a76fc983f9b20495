//! Cgroups of containers, version 1, hybrid and 2.
#![doc = include_str!("../README.md")]

#[allow(unsafe_code)]
mod device_bpf;
mod entrance;
mod error;
mod files;
mod freeze;
mod layout;
mod limits;
mod make;
mod manager;
mod oom;
mod stats;
mod systemd;
mod translate;

pub use entrance::Entrance;
pub use error::{Error, Result};
pub use freeze::FreezerState;
pub use layout::{Hierarchy, Layout, Version};
pub use limits::rootless;
pub use manager::{Manager, Named};
pub use oom::{Oom, OomWatch};
pub use stats::{BlkioEntry, Cpu, Memory, Pids, Stats};
pub use systemd::Unit;
