//! Cgroups of containers, version 1, hybrid and 2.
#![doc = include_str!("../README.md")]

#[allow(unsafe_code)]
mod device_bpf;
mod error;
mod files;
mod freeze;
mod layout;
mod manager;
mod oom;
mod stats;
mod translate;

pub use error::{Error, Result};
pub use freeze::FreezerState;
pub use layout::{Hierarchy, Layout, Version};
pub use manager::{Entrance, Manager};
pub use oom::{Oom, OomWatch};
pub use stats::{BlkioEntry, Cpu, Memory, Pids, Stats};
