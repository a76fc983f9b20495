//! What the suites of Gantry's real binaries share: private engines, and the looks at what they did. See `README.md`.
#![doc = include_str!("README.md")]

pub mod containerd;
pub mod engine;
pub mod limits;
pub mod podman;
