#![doc = include_str!("../README.md")]

pub mod client;
pub mod convert;
pub mod server;
pub mod trace;

mod attach;
mod socket;

pub use gantry_supervisor_core::Supervisor;
pub use socket::connect as connect_socket;

/// The messages, clients and servers generated from `proto/`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}
