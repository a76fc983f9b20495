//! What the build made of `proto/`, a module for each package. Other rooms give its parts their names.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; documented in proto/, where it has documentation"
)]

include!(concat!(env!("OUT_DIR"), "/proto.rs"));
