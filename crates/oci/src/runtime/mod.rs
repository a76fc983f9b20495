//! The runtime specification's types, version 1.3: what stands in a bundle's `config.json`, what
//! `state` prints and what seccomp's notify socket carries.
//!
//! The types follow the specification's names. They hold what was written: an unknown property is
//! passed over, JSON's `null` is the same as nothing, and words whose set grows (capabilities,
//! seccomp architectures and flags, mount options) stay strings, so that a file from a newer tool is
//! read and written back without loss of what is known. Whether a value makes sense is not
//! judged here. Nothing here may touch a file, a process or the clock.
//!
//! Source: <https://github.com/opencontainers/runtime-spec>, `config.md`, `config-linux.md`,
//! `runtime.md`.
#![allow(
    missing_docs,
    reason = "each field is the specification's property of the same name, described there"
)]

use serde::{Deserialize, Deserializer};

/// Declares types in which every property may be absent, and is then left out when written.
macro_rules! optional {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(
                    deserialize_with = "crate::runtime::null_is_default",
                    skip_serializing_if = "crate::runtime::is_default"
                )]
                pub $field: $ty,
            )*
        }
    )*};
}

mod linux;
mod process;
mod resources;
mod seccomp;
mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use linux::*;
pub use process::*;
pub use resources::*;
pub use seccomp::*;
pub use spec::*;
pub use state::*;

/// The newest version of the specification that these types know.
pub const SPEC_VERSION: &str = "1.3.0";

/// The kernel parameters of an IPC namespace, beside those below `fs.mqueue.`; see ipc_namespaces(7).
pub const IPC_SYSCTLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
