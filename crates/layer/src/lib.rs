//! OCI layers: decompressing them, reading their tar and applying them to a folder or an overlay.
#![doc = include_str!("../README.md")]

mod apply;
pub mod chain;
mod compress;
mod error;
mod stream;
pub mod tar;
mod target;

pub use apply::{Applied, Options, apply};
pub use compress::Compression;
pub use error::Error;
pub use target::Target;
