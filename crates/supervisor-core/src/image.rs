//! Names of images: a reference and the descriptor it points to.

use async_trait::async_trait;

use crate::{Labels, Result, Time};

/// A content descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// `sha256:…`
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// Free annotations.
    pub annotations: Labels,
}

/// A named image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The full reference, for example `docker.io/library/debian:12`.
    pub name: String,
    /// Free labels.
    pub labels: Labels,
    /// The index or manifest.
    pub target: Descriptor,
    /// When it was made: set by the store.
    pub created_at: Time,
    /// When it was last changed: set by the store.
    pub updated_at: Time,
}

/// The image store of one namespace.
#[async_trait]
pub trait Images: Send + Sync {
    /// One image. `NotFound`.
    async fn get(&self, name: &str) -> Result<Image>;
    /// All that match any of the filters.
    async fn list(&self, filters: &[String]) -> Result<Vec<Image>>;
    /// A new one. `AlreadyExists`.
    async fn create(&self, image: Image) -> Result<Image>;
    /// Replaces the named fields (`labels`, `labels.KEY`, `target`; none: all). `NotFound`.
    async fn update(&self, image: Image, fields: &[String]) -> Result<Image>;
    /// Removes the name; with `sync` what only it referred to is collected before this returns. `NotFound`.
    async fn delete(&self, name: &str, sync: bool) -> Result<()>;
}
