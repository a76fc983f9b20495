#![doc = include_str!("../README.md")]

pub mod attach;
pub mod container;
pub mod content;
pub mod event;
pub mod filter;
pub mod image;
pub mod lease;
pub mod snapshot;
pub mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
pub use gantry_errdefs::{Error, Kind, Result};

/// Labels of any object: keys and values of at most 4096 bytes together.
pub type Labels = BTreeMap<String, String>;

/// A typed blob: `google.protobuf.Any` without protobuf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Any {
    /// The type, for example `types.containerd.io/opencontainers/runtime-spec/1/Spec`.
    pub type_url: String,
    /// The value: JSON for types of OCI, protobuf for the others.
    pub value: Vec<u8>,
}

/// A point in time: nanoseconds since the epoch (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i128);

impl Time {
    /// The system clock now.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self(since.as_nanos() as i128)
    }
}

impl From<std::time::SystemTime> for Time {
    fn from(time: std::time::SystemTime) -> Self {
        Self(
            time.duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos() as i128,
        )
    }
}

impl From<Time> for std::time::SystemTime {
    fn from(time: Time) -> Self {
        let nanos = u64::try_from(time.0).unwrap_or_default();
        std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos)
    }
}

/// The type URL under which an OCI runtime specification is stored in a container, as JSON.
pub const RUNTIME_SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// The type URL of runc's options (`containerd.runc.v1.Options`).
pub const RUNC_OPTIONS_TYPE: &str = "containerd.runc.v1.Options";

/// The name under which our own shim is asked for.
pub const GANTRY_RUNTIME: &str = "io.containerd.gantry.v2";

/// Everything of one namespace.
#[derive(Clone)]
pub struct Services {
    /// The namespace all of these are bound to.
    pub namespace: String,
    /// Blobs.
    pub content: Arc<dyn content::Content>,
    /// Names of images.
    pub images: Arc<dyn image::Images>,
    /// Layered file systems.
    pub snapshots: Arc<dyn snapshot::Snapshots>,
    /// Layers applied to mounts, and made from them.
    pub diff: Arc<dyn snapshot::Diff>,
    /// Container records.
    pub containers: Arc<dyn container::Containers>,
    /// Running containers.
    pub tasks: Arc<dyn task::Tasks>,
    /// What happened.
    pub events: Arc<dyn event::Events>,
}

/// The name and version of what implements the services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// For example `0.1.0`.
    pub version: String,
    /// The commit it was built from; empty when not known.
    pub revision: String,
}

/// A supervisor: the entrance to every namespace.
#[async_trait]
pub trait Supervisor: Send + Sync {
    /// The services of one namespace. The namespace is made on the first write into it, as containerd does.
    /// `InvalidArgument` when the name is not one.
    fn namespace(&self, name: &str) -> Result<Services>;

    /// All namespaces with their labels, by name.
    async fn namespaces(&self) -> Result<Vec<(String, Labels)>>;

    /// Makes a namespace: `AlreadyExists` when there is one.
    async fn create_namespace(&self, name: &str, labels: Labels) -> Result<()>;

    /// Sets labels: with `replace` all of them, otherwise those given (an empty value removes one).
    async fn update_namespace(&self, name: &str, labels: Labels, replace: bool) -> Result<Labels>;

    /// Deletes an empty namespace: `FailedPrecondition` while it holds anything.
    async fn delete_namespace(&self, name: &str) -> Result<()>;

    /// Its version.
    async fn version(&self) -> Result<Version>;

    /// What a shim says of itself and of the runtime below it, given by a runtime's name and its options:
    /// `containerd.types.RuntimeInfo`, protobuf. `NotFound` when there is no such shim, `NotImplemented` where none is asked.
    async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<Any> {
        let _ = options;
        Err(Error::not_implemented(format!(
            "information about the runtime {runtime:?} is not implemented"
        )))
    }

    /// The leases of one namespace. `NotImplemented` where there are none.
    fn leases(&self, namespace: &str) -> Result<Arc<dyn lease::Leases>> {
        Err(Error::not_implemented(format!(
            "leases of namespace {namespace:?} are not implemented"
        )))
    }
}

/// Refuses what containerd refuses as an identifier (namespace, container, exec): 1 to 76 characters of
/// `[A-Za-z0-9]` in groups joined by single `.`, `_` or `-`.
pub fn validate_identifier(id: &str) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("identifier {id:?} {why}")));
    if id.is_empty() {
        return bad("must not be empty");
    }
    if id.len() > 76 {
        return bad("is longer than 76 characters");
    }
    let separator = |c: u8| matches!(c, b'.' | b'_' | b'-');
    let bytes = id.as_bytes();
    let well_formed = bytes.iter().enumerate().all(|(i, &c)| {
        c.is_ascii_alphanumeric()
            || (separator(c) && i > 0 && i + 1 < bytes.len() && bytes[i - 1].is_ascii_alphanumeric())
    });
    if well_formed {
        Ok(())
    } else {
        bad("must consist of letters and digits, joined by single '.', '_' or '-'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_containerd() {
        for good in ["a", "moby", "k8s.io", "a-b_c.d", &"x".repeat(76)] {
            assert!(validate_identifier(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "-a",
            "a-",
            "a..b",
            "a/b",
            "a b",
            "..",
            "ä",
            &"x".repeat(77),
        ] {
            assert!(validate_identifier(bad).is_err(), "{bad}");
        }
    }
}
