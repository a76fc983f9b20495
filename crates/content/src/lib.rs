//! The content store on one disk: blobs by digest, and the ingests that become blobs.
#![doc = include_str!("../README.md")]

mod blob;
mod error;
mod hash;
mod ingest;
mod store;
mod writer;

pub use blob::{Info, Reader};
pub use error::Error;
pub use hash::{Hasher, digest_of};
pub use ingest::Status;
pub use store::Store;
pub use writer::Writer;
