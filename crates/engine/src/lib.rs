//! Containers and images as Docker knows them, made of what a supervisor offers.
#![doc = include_str!("../README.md")]

mod clock;
mod container;
mod db;
mod event;
mod fail;
mod image;
mod names;
mod open;
mod options;
mod record;
mod spec;
mod system;
mod user;

pub use container::{Attach, ExecAttach, Logs, Wait};
pub use open::Engine;
pub use options::{
    ATTACH_LINK, AttachOptions, Config, EventOptions, Foreign, GANTRY_RUNTIME_NAME, ListOptions, LogOptions,
    Result, WaitCondition,
};
