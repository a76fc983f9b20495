//! The supervisor as a library: containers, their shims, images and file systems of every namespace.
#![doc = include_str!("../README.md")]

mod content;
mod events;
mod metadata;
mod runtime_info;
mod snapshots;
mod supervisor;
mod tasks;

pub use supervisor::{Config, Supervisor};
