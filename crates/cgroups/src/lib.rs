//! Cgroups of containers, version 1, hybrid and 2.
#![doc = include_str!("../README.md")]

mod error;
mod layout;
mod manager;
mod stats;
mod translate;

pub use error::{Error, Result};
pub use layout::{Hierarchy, Layout, Version};
pub use manager::{FreezerState, Manager};
pub use stats::{BlkioEntry, Cpu, Memory, OomWatch, Pids, Stats};
