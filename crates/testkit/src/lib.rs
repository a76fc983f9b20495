//! What the tests share: private roots, bundles, images, a registry, terminals, looks for what is left.
#![doc = include_str!("../README.md")]

pub mod bundle;
pub mod cmd;
pub mod debian;
pub mod dockerd;
pub mod image;
pub mod kernel;
pub mod place;
pub mod pty;
pub mod registry;
pub mod skip;
