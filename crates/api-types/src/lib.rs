//! The JSON of the Docker Engine API: vocabulary only, no file, network, clock or task.
#![doc = include_str!("../README.md")]

#[macro_use]
mod go;

pub mod auth;
pub mod compat;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod filters;
pub mod image;
pub mod network;
pub mod progress;
pub mod system;
pub mod volume;

pub use go::{Empty, Map, StrSlice, ZERO_TIME};

/// The newest version of the API that these types describe.
pub const API_VERSION: &str = "1.50";

/// The oldest version whose requests are understood.
pub const MIN_API_VERSION: &str = "1.24";
