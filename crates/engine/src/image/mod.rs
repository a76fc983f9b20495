//! Images: names, pulling, loading, and what a container takes from one. Knows no container but by `image_users`.

use futures_util::stream::BoxStream;
use gantry_api_types::{auth, filters::Filters, image, progress};
use gantry_errdefs::Error;
use gantry_oci::image::ImageConfig;
use gantry_supervisor_core::image::Descriptor;
use tokio::io::AsyncRead;

use crate::{Engine, Result};

/// Pulls under way.
#[derive(Default)]
pub(crate) struct Pulls;

/// An image as a container is made of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResolvedImage {
    /// The digest of what the name points to.
    pub(crate) id: String,
    /// The full reference; empty when it was found by its id and has no name.
    pub(crate) reference: String,
    /// The manifest of the platform.
    pub(crate) manifest: Descriptor,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// The name of the snapshot of its topmost layer; empty for an image without layers.
    pub(crate) chain_id: String,
    /// `linux/amd64`
    pub(crate) platform: String,
}

fn nyi() -> Error {
    Error::not_implemented("not yet")
}

#[allow(unused_variables, clippy::unused_async, missing_docs)]
impl Engine {
    /// The image of a reference (name, digest or id) for a platform; empty or none: the host's. `NotFound`: `No such image: REF`.
    pub(crate) async fn image_resolve(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<ResolvedImage> {
        Err(nyi())
    }
    pub(crate) async fn image_count(&self) -> Result<i64> {
        Err(nyi())
    }
    /// Its layers are snapshots up to its chain id.
    pub(crate) async fn image_ensure_unpacked(&self, image: &ResolvedImage) -> Result<()> {
        Err(nyi())
    }
    /// Errors before the first message are returned, later ones are the stream's last message.
    pub async fn image_pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<auth::AuthConfig>,
    ) -> Result<BoxStream<'static, progress::Message>> {
        Err(nyi())
    }
    pub async fn image_list(&self, filters: &Filters, all: bool) -> Result<Vec<image::Summary>> {
        Err(nyi())
    }
    pub async fn image_inspect(&self, reference: &str) -> Result<image::Inspect> {
        Err(nyi())
    }
    pub async fn image_history(&self, reference: &str) -> Result<Vec<image::History>> {
        Err(nyi())
    }
    /// `target` is `repository`, `tag` the tag (empty: `latest`).
    pub async fn image_tag(&self, reference: &str, repository: &str, tag: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn image_remove(
        &self,
        reference: &str,
        force: bool,
        noprune: bool,
    ) -> Result<Vec<image::DeleteResponse>> {
        Err(nyi())
    }
    pub async fn image_load<R: AsyncRead + Send + Unpin + 'static>(
        &self,
        tar: R,
        quiet: bool,
    ) -> Result<BoxStream<'static, progress::Message>> {
        Err(nyi())
    }
}
