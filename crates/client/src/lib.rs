//! A client of the Docker Engine API, for one engine at a time.
#![doc = include_str!("../README.md")]

mod address;
mod client;
mod container;
mod error;
mod exec;
mod hijack;
mod image;
mod query;
mod stream;
mod system;
mod transport;

pub use address::Address;
pub use client::{Client, Connection};
pub use container::{AttachOptions, ListOptions, LogsOptions, WaitCondition, Waiting};
pub use error::{Error, Result};
pub use hijack::Hijacked;
pub use image::PullOptions;
pub use stream::{Body, Channel, Demux, JsonStream, Messages};
