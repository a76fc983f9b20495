//! Layered file systems over any border, and the layers that fill them. The drivers are `gantry-snapshots`.

use async_trait::async_trait;

use crate::image::Descriptor;
use crate::{Labels, Result, Time};

/// One mount, as containerd's `types.Mount`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The file system type, `bind`, `overlay` …
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Where, below the root; mostly empty.
    pub target: String,
    /// Options in fstab's form.
    pub options: Vec<String>,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Read-only.
    View,
    /// Writable.
    #[default]
    Active,
    /// Closed: may be a parent.
    Committed,
}

/// One snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its key (active) or name (committed).
    pub name: String,
    /// The committed snapshot below; empty for a base layer.
    pub parent: String,
    /// View, active or committed.
    pub kind: SnapshotKind,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// Free labels.
    pub labels: Labels,
}

/// Disk use of one snapshot, without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In bytes.
    pub size: u64,
    /// How many.
    pub inodes: u64,
}

/// The snapshots of one namespace. `snapshotter` names the driver; empty means the default (`overlayfs`).
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// A writable snapshot on `parent` (empty: on nothing). `AlreadyExists`, `NotFound` (parent).
    async fn prepare(&self, snapshotter: &str, key: &str, parent: &str, labels: Labels)
    -> Result<Vec<Mount>>;
    /// A read-only snapshot of `parent`.
    async fn view(&self, snapshotter: &str, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>>;
    /// The mounts of an active snapshot or view.
    async fn mounts(&self, snapshotter: &str, key: &str) -> Result<Vec<Mount>>;
    /// Closes the active snapshot `key` as `name`. `AlreadyExists`, `NotFound`.
    async fn commit(&self, snapshotter: &str, name: &str, key: &str, labels: Labels) -> Result<()>;
    /// Removes one. `FailedPrecondition` while others stand on it.
    async fn remove(&self, snapshotter: &str, key: &str) -> Result<()>;
    /// About one.
    async fn stat(&self, snapshotter: &str, key: &str) -> Result<Info>;
    /// Changes labels.
    async fn update(&self, snapshotter: &str, info: Info, fields: &[String]) -> Result<Info>;
    /// All that match.
    async fn list(&self, snapshotter: &str, filters: &[String]) -> Result<Vec<Info>>;
    /// Disk use.
    async fn usage(&self, snapshotter: &str, key: &str) -> Result<Usage>;
    /// Removes directories that no snapshot owns.
    async fn cleanup(&self, snapshotter: &str) -> Result<()>;
}

/// Layers to file systems and back.
#[async_trait]
pub trait Diff: Send + Sync {
    /// Unpacks the layer `descriptor` (tar, gzip or zstd) into `mounts`. Returns the descriptor of the uncompressed
    /// tar: its digest is the diff id. `InvalidArgument` for a layer that would leave the root or cannot be read.
    async fn apply(&self, descriptor: &Descriptor, mounts: &[Mount]) -> Result<Descriptor>;
}
