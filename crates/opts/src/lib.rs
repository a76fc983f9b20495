//! The little languages of the command line: pure, and to Docker's grammar and words.
#![doc = include_str!("../README.md")]

pub mod boolean;
pub mod cap;
pub mod cpus;
pub mod csv;
pub mod detach;
pub mod device;
pub mod duration;
pub mod env;
pub mod filter;
pub mod host;
pub mod image;
pub mod mount;
pub mod port;
pub mod restart;
pub mod signal;
pub mod size;
pub mod tmpfs;
pub mod ulimit;
pub mod user;
pub mod volume;

#[cfg(test)]
mod proptests;
