//! The one room for system calls.
#![doc = include_str!("../README.md")]
#![allow(unsafe_code)]

pub mod caps;
pub mod clock;
pub mod epoll;
pub mod error;
pub mod exe;
pub mod fault;
pub mod fd;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod ns;
pub mod path;
pub mod prctl;
pub mod process;
pub mod procfs;
pub mod pty;
pub mod rlimit;
pub mod signal;
pub mod socket;
pub mod trace;
pub mod xattr;

pub use error::{Error, Result};
