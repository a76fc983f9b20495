//! The daemon as a library: everything of `gantryd` but reading the process's arguments and signals.
#![doc = include_str!("../README.md")]

mod error;
mod extract;
mod foreign;
mod hijack;
mod routes;
mod stream;
mod version;

pub mod args;
pub mod listener;
pub mod pidfile;
pub mod run;
pub mod server;
pub mod supervisor;
