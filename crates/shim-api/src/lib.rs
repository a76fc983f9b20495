//! The shim's seams: ttrpc framing, the messages of the task service and of events.
#![doc = include_str!("../README.md")]

#[cfg(feature = "async")]
pub mod client;
pub mod frame;
pub mod messages;
mod proto;

/// The task service's names, oldest first: they do not differ in what is used here.
pub const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// Where shims publish events.
pub const EVENTS: &str = "containerd.services.events.ttrpc.v1.Events";

/// The type URL of runc's options.
pub const RUNC_OPTIONS: &str = "containerd.runc.v1.Options";
