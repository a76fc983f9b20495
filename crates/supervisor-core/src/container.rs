//! Container records: what is to run, kept whether it runs or not. Knows nothing of processes.

use async_trait::async_trait;

use crate::{Any, Labels, Result, Time};

/// The runtime (shim) of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// `io.containerd.NAME.VERSION`, or the absolute path of a shim binary.
    pub name: String,
    /// Options the shim understands, for example `containerd.runc.v1.Options`.
    pub options: Option<Any>,
}

/// A container: its specification and where its root file system comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Unique in the namespace; see [`crate::validate_identifier`].
    pub id: String,
    /// Free labels.
    pub labels: Labels,
    /// The name of the image it was made from; may be empty.
    pub image: String,
    /// Which shim runs it.
    pub runtime: Runtime,
    /// The OCI runtime specification ([`crate::RUNTIME_SPEC_TYPE`]).
    pub spec: Option<Any>,
    /// Which snapshotter holds the root file system; may be empty.
    pub snapshotter: String,
    /// The key of its active snapshot; may be empty.
    pub snapshot_key: String,
    /// When it was made: set by the store.
    pub created_at: Time,
    /// When it was last changed: set by the store.
    pub updated_at: Time,
    /// Extensions by name.
    pub extensions: std::collections::BTreeMap<String, Any>,
    /// The sandbox it belongs to; may be empty.
    pub sandbox: String,
}

/// The container store of one namespace.
#[async_trait]
pub trait Containers: Send + Sync {
    /// One container. `NotFound`.
    async fn get(&self, id: &str) -> Result<Container>;
    /// All that any of `filters` matches (containerd's filter language); all of them without filters.
    async fn list(&self, filters: &[String]) -> Result<Vec<Container>>;
    /// Stores a new one. `AlreadyExists`, `InvalidArgument`.
    async fn create(&self, container: Container) -> Result<Container>;
    /// Replaces the fields named in `fields` (`labels`, `labels.KEY`, `spec`, `image`, `snapshotkey`, `extensions` …;
    /// none: all that may change). `NotFound`.
    async fn update(&self, container: Container, fields: &[String]) -> Result<Container>;
    /// Deletes it. `NotFound`; `FailedPrecondition` while it has a task.
    async fn delete(&self, id: &str) -> Result<()>;
}
