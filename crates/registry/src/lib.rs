//! A client of the OCI distribution specification: what a reference names, and the bytes behind it.
#![doc = include_str!("../README.md")]

mod auth;
mod blob;
mod challenge;
mod client;
mod endpoint;
mod error;
mod http;
mod pull;
#[cfg(any(test, feature = "testserver"))]
pub mod testserver;

pub use auth::Credentials;
pub use blob::Blob;
pub use challenge::{Challenge, parse as parse_challenges};
pub use client::{Client, Settings};
pub use error::{Error, Result};
pub use pull::{MANIFEST_MAX, Manifest, Repository};
