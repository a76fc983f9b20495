//! Leases: what a client wants kept until it is done. Nothing is collected behind a client's back yet, so that a lease
//! protects by being there; who holds one and what it names are recorded.

use async_trait::async_trait;

use crate::{Labels, Result, Time};

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Unique in the namespace.
    pub id: String,
    /// When it was made.
    pub created_at: Time,
    /// Free labels; `containerd.io/gc.expire` says until when it is wanted.
    pub labels: Labels,
}

/// What a lease holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// A digest or a key.
    pub id: String,
    /// `content`, `ingests`, `images` or `snapshots/NAME`.
    pub kind: String,
}

/// The leases of one namespace.
#[async_trait]
pub trait Leases: Send + Sync {
    /// A new one. `AlreadyExists`, `InvalidArgument` (no id).
    async fn create(&self, id: &str, labels: Labels) -> Result<Lease>;
    /// Gives one up. `NotFound`.
    async fn delete(&self, id: &str) -> Result<()>;
    /// All that any of `filters` matches.
    async fn list(&self, filters: &[String]) -> Result<Vec<Lease>>;
    /// Adds what it holds; what is held already is no error. `NotFound` (lease), `InvalidArgument` (kind).
    async fn add_resource(&self, id: &str, resource: Resource) -> Result<()>;
    /// Takes something off; what is not held is no error. `NotFound` (lease).
    async fn delete_resource(&self, id: &str, resource: Resource) -> Result<()>;
    /// What it holds. `NotFound`.
    async fn resources(&self, id: &str) -> Result<Vec<Resource>>;
}
