//! The vocabulary of OCI: references, digests, platforms, descriptors, image and runtime specifications.
#![doc = include_str!("../README.md")]

pub mod descriptor;
pub mod digest;
pub mod image;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod runtime;

pub use descriptor::Descriptor;
pub use digest::Digest;
pub use platform::Platform;
pub use reference::Reference;
