//! Blobs by digest, over any border. The store on disk is `gantry-content`; this is what its users see.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{Labels, Result, Time};

/// A blob that is there, whole and verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `sha256:…`
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// When it was committed.
    pub created_at: Time,
    /// When its labels last changed.
    pub updated_at: Time,
    /// Free labels.
    pub labels: Labels,
}

/// A blob that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The name of the ingest.
    pub reference: String,
    /// Bytes written.
    pub offset: u64,
    /// Bytes expected; 0 when not known.
    pub total: u64,
    /// The digest expected; may be empty.
    pub expected: String,
    /// When it was begun.
    pub started_at: Time,
    /// When it was last written to.
    pub updated_at: Time,
}

/// One open ingest. Dropping it keeps what was written: the next [`Content::writer`] with the same reference resumes.
#[async_trait]
pub trait Writer: Send {
    /// Where it stands.
    fn status(&self) -> &Status;
    /// Appends.
    async fn write(&mut self, data: Bytes) -> Result<()>;
    /// Cuts back to `size` (only to 0 need be supported).
    async fn truncate(&mut self, size: u64) -> Result<()>;
    /// Verifies size (0: any) and digest (empty: any), makes the blob visible and ends the ingest. Returns the digest.
    /// `FailedPrecondition` on a mismatch, after which the ingest is still there; `AlreadyExists` when the blob was there.
    async fn commit(&mut self, size: u64, expected: &str, labels: Labels) -> Result<String>;
}

/// The content store of one namespace. A blob is visible in a namespace only once it was written there
/// (a blob that another namespace has is not stored twice).
#[async_trait]
pub trait Content: Send + Sync {
    /// About one blob. `NotFound`.
    async fn info(&self, digest: &str) -> Result<Info>;
    /// Changes labels: the fields named (`labels`, `labels.KEY`; none: all labels).
    async fn update(&self, info: Info, fields: &[String]) -> Result<Info>;
    /// All blobs that match.
    async fn list(&self, filters: &[String]) -> Result<Vec<Info>>;
    /// Deletes one. `NotFound`.
    async fn delete(&self, digest: &str) -> Result<()>;
    /// The bytes from `offset`, `size` of them (0: to the end), in chunks of at most 1 MiB. `NotFound`, `OutOfRange`.
    async fn read(&self, digest: &str, offset: u64, size: u64) -> Result<BoxStream<'static, Result<Bytes>>>;
    /// Opens an ingest by reference, or resumes it. `AlreadyExists` when `expected` is there already; `Unavailable`
    /// while another writer holds the reference.
    async fn writer(&self, reference: &str, total: u64, expected: &str) -> Result<Box<dyn Writer>>;
    /// One ingest. `NotFound`.
    async fn status(&self, reference: &str) -> Result<Status>;
    /// All ingests.
    async fn statuses(&self, filters: &[String]) -> Result<Vec<Status>>;
    /// Throws an ingest away. `NotFound`.
    async fn abort(&self, reference: &str) -> Result<()>;
}

/// Reads a whole blob of at most `limit` bytes into memory. `OutOfRange` when it is larger.
pub async fn read_all(content: &dyn Content, digest: &str, limit: u64) -> Result<Vec<u8>> {
    use futures_util::StreamExt;
    let mut stream = content.read(digest, 0, 0).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if (all.len() + chunk.len()) as u64 > limit {
            let message = format!("blob {digest} is larger than {limit} bytes");
            return Err(crate::Error::new(crate::Kind::OutOfRange, message));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}
