//! What a snapshotter is, whatever its driver: the trait and its contract. Knows no disk.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::Error;

/// Free labels of a snapshot.
pub type Labels = BTreeMap<String, String>;

/// One mount, in containerd's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The file system type: `bind`, `overlay`.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options in fstab's form.
    pub options: Vec<String>,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read-only, and no parent of others.
    View,
    /// Writable, and no parent of others.
    Active,
    /// Closed for ever; others may stand on it.
    Committed,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Key of an active snapshot or a view, name of a committed one.
    pub name: String,
    /// The committed snapshot below; empty for none.
    pub parent: String,
    /// What it is.
    pub kind: Kind,
    /// When it was made or, once committed, when that was.
    pub created_at: SystemTime,
    /// When its labels last changed.
    pub updated_at: SystemTime,
    /// Free labels.
    pub labels: Labels,
}

/// Disk use of a snapshot without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes allocated.
    pub size: u64,
    /// Files, folders and whatever else has an inode; hard links count once.
    pub inodes: u64,
}

/// Layered file systems.
///
/// Keys and names are one space of names. Everything an operation did is on the disk when it returns; a crash in
/// the middle of one leaves it done or not begun. All methods may be called from many threads at once.
pub trait Snapshotter: Send + Sync {
    /// About one snapshot. `NotFound`.
    fn stat(&self, key: &str) -> Result<Info, Error>;

    /// Changes the labels of `info.name`: those of the fields named (`labels`, `labels.KEY`), all when none is named.
    /// A label that `info` does not have, or has empty, goes. `NotFound`, `InvalidArgument` for other fields.
    fn update(&self, info: &Info, fields: &[String]) -> Result<Info, Error>;

    /// Disk use of one: of an active one as it is now, of a view nothing.
    fn usage(&self, key: &str) -> Result<Usage, Error>;

    /// How an active snapshot or a view is mounted. `FailedPrecondition` for a committed one.
    fn mounts(&self, key: &str) -> Result<Vec<Mount>, Error>;

    /// Makes a writable snapshot `key` on the committed `parent`, on nothing if that is empty. `AlreadyExists`,
    /// `NotFound` (parent), `InvalidArgument` for a parent that is not committed.
    fn prepare(&self, key: &str, parent: &str, labels: &Labels) -> Result<Vec<Mount>, Error>;

    /// Makes a read-only snapshot; the rest as [`Snapshotter::prepare`].
    fn view(&self, key: &str, parent: &str, labels: &Labels) -> Result<Vec<Mount>, Error>;

    /// Closes the active snapshot `key`, which from then on is `name` and has these labels only. `AlreadyExists` for
    /// the name, `NotFound` for the key, `FailedPrecondition` for a view or a committed one.
    fn commit(&self, name: &str, key: &str, labels: &Labels) -> Result<(), Error>;

    /// Removes one with all that is in it. `NotFound`, `FailedPrecondition` while others stand on it.
    fn remove(&self, key: &str) -> Result<(), Error>;

    /// All snapshots, oldest first.
    fn list(&self) -> Result<Vec<Info>, Error>;

    /// Removes from the disk what no snapshot owns. Goes on after an error and returns all of them.
    fn cleanup(&self) -> Result<(), Error>;
}
