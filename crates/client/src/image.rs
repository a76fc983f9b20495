//! The endpoints of images.

use std::io;

use bytes::Bytes;
use gantry_api_types::filters::Filters;
use gantry_api_types::image::{DeleteResponse, History, PruneReport, Summary};
use gantry_api_types::progress;
use http::Method;
use tokio::sync::mpsc::Receiver;

use crate::client::{Client, Content};
use crate::error::{Error, Result};
use crate::query::{Query, escape};
use crate::stream::{Body, Messages};

/// What to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The repository, without its tag.
    pub image: String,
    /// A tag or a digest; all tags if empty.
    pub tag: String,
    /// `os/arch/variant`; the engine's own if empty.
    pub platform: String,
}

fn at(name: &str, rest: &str) -> Result<String> {
    if name.trim().is_empty() {
        return Err(Error::EmptyName("image"));
    }
    Ok(format!("/images/{}{rest}", escape(name)))
}

impl Client {
    /// Pulls an image.
    pub async fn image_pull(&self, options: &PullOptions) -> Result<Messages<progress::Message>> {
        let path = Query::default()
            .with("fromImage", &options.image)
            .text("tag", &options.tag)
            .text("platform", &options.platform)
            .on("/images/create".to_owned());
        let body = self.request(Method::POST, &path, Content::None).await?;
        Ok(Messages::new(body))
    }

    /// Lists images.
    pub async fn image_list(&self, all: bool, filters: &Filters) -> Result<Vec<Summary>> {
        let query = Query::default().flag("all", all).filters(filters);
        self.get(&query.on("/images/json".to_owned())).await
    }

    /// Everything about an image, as the engine wrote it.
    pub async fn image_inspect_raw(&self, name: &str) -> Result<Bytes> {
        self.call_raw(Method::GET, &at(name, "/json")?, Content::None)
            .await
    }

    /// The steps that made an image.
    pub async fn image_history(&self, name: &str) -> Result<Vec<History>> {
        self.get(&at(name, "/history")?).await
    }

    /// Gives an image a further name.
    pub async fn image_tag(&self, source: &str, repository: &str, tag: &str) -> Result<()> {
        let query = Query::default().with("repo", repository).with("tag", tag);
        self.post(&query.on(at(source, "/tag")?)).await
    }

    /// Removes a name of an image, and the image with its last one.
    pub async fn image_remove(&self, name: &str, force: bool, no_prune: bool) -> Result<Vec<DeleteResponse>> {
        let path = Query::default()
            .flag("force", force)
            .flag("noprune", no_prune)
            .on(at(name, "")?);
        self.call(Method::DELETE, &path, Content::None).await
    }

    /// Reads images from an archive. The answer is JSON messages or text, as its media type says.
    pub async fn image_load(&self, archive: Receiver<io::Result<Bytes>>, quiet: bool) -> Result<Body> {
        let path = Query::default()
            .with("quiet", u8::from(quiet))
            .on("/images/load".to_owned());
        let content = Content::Stream("application/x-tar", archive);
        self.request(Method::POST, &path, content).await
    }

    /// Removes images that nothing uses.
    pub async fn image_prune(&self, filters: &Filters) -> Result<PruneReport> {
        let path = Query::default().filters(filters).on("/images/prune".to_owned());
        self.call(Method::POST, &path, Content::None).await
    }
}
