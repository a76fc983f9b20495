//! System-call filters: profiles, their compiler and their loading.
#![doc = include_str!("../README.md")]

pub mod arch;
#[allow(unsafe_code)]
pub mod load;
pub mod machine;
pub mod profile;

mod compile;

pub use compile::{CompileError, FLAGS, Instruction, Program, compile, unknown_names};
