//! Containers and images as Docker knows them, made of what a supervisor offers.
#![doc = include_str!("../README.md")]

mod options;
mod skeleton;

pub use options::{
    AttachOptions, Config, EventOptions, GANTRY_RUNTIME_NAME, ListOptions, LogOptions, Result, WaitCondition,
};
pub use skeleton::{Attach, ExecAttach, Logs, Wait};

/// The engine: one per pair of roots.
pub struct Engine {}
