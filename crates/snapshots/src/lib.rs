//! Layered file systems: the trait of a snapshotter, its test suite, and the overlay driver.
#![doc = include_str!("../README.md")]

mod disk;
mod error;
mod metadata;
mod overlay;
mod snapshotter;
pub mod testsuite;

pub use error::Error;
pub use overlay::Overlay;
pub use snapshotter::{Info, Kind, Labels, Mount, Snapshotter, Usage};
