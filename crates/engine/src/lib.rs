//! Containers and images as Docker knows them, made of what a supervisor offers.
#![doc = include_str!("../README.md")]

mod clock;
mod container;
mod db;
mod engine;
mod event;
mod fail;
mod image;
mod names;
mod options;
mod record;
mod skeleton;

pub use engine::Engine;
pub use options::{
    AttachOptions, Config, EventOptions, GANTRY_RUNTIME_NAME, ListOptions, LogOptions, Result, WaitCondition,
};
pub use skeleton::{Attach, ExecAttach, Logs, Wait};
