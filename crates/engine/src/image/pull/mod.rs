//! Pulling: from a reference to an image that can be run. The name is written last, so that nothing half-made is seen.
//!
//! ```text
//! resolve ─ top document ─ (index: choose) ─ manifest ─ configuration
//!                                                │
//!                     layers: fetch, three at a time, in any order
//!                                                │
//!                     layers: unpack, each as soon as it is there and the one below is committed
//!                                                │
//!                           manifest, index, name
//! ```

mod fetch;
mod report;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_api_types::auth::AuthConfig;
use gantry_api_types::progress::Message;
use gantry_errdefs::{Error, Kind};
use gantry_oci::image::{Document, ImageConfig, Manifest};
use gantry_oci::{Descriptor, Digest, Platform, Reference, media_type};
use gantry_registry::{Credentials, Repository};
use gantry_supervisor_core::Labels;
use gantry_supervisor_core::content::read_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use self::report::Report;
pub(crate) use self::shared::Pulls;
use super::remove::Parts;
use super::resolve::{LARGEST, choose, parse, platform_of};
use super::unpack::{core, layers, references, sha256};
use crate::{Engine, Result, fail};

/// How deep indexes may hold each other.
const DEPTH: usize = 4;
/// How many layers an image may have: an overlay takes no more than about 500.
const LAYERS: usize = 500;

/// A document as it came.
struct Held {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    document: Document,
}

/// One layer of an image: what is fetched, what it unpacks to, and the name of the snapshot.
type Layer = (Descriptor, Digest, String);

/// One pull.
struct Pull {
    engine: Arc<Engine>,
    reference: Reference,
    platform: Platform,
    repository: Repository,
    messages: mpsc::Sender<Message>,
}

/// Ends the pull when nobody listens any more.
struct EndOnDrop(tokio::task::AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// Errors before the first message are returned, later ones are the stream's last message. Dropping the stream
    /// ends the pull; what was fetched stays and the next pull goes on from there.
    pub async fn image_pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        auth: Option<AuthConfig>,
    ) -> Result<BoxStream<'static, Message>> {
        let engine = self
            .me
            .upgrade()
            .ok_or_else(|| Error::internal("the engine is closing"))?;
        let parsed = parse(reference)?;
        let reference = match parsed.digest() {
            Some(digest) => parsed.with_digest(digest.clone()),
            None => parsed.with_default_tag(),
        };
        let platform = platform_of(platform)?;
        let client = self.pulls.client(&self.config).clone();
        let repository = client
            .repository(&reference, auth.map(credentials))
            .await
            .map_err(plain)?;
        let target = repository.resolve(&reference).await.map_err(plain)?;
        let (messages, receiver) = mpsc::channel(256);
        let pull = Pull {
            engine,
            reference,
            platform,
            repository,
            messages,
        };
        let top = pull.document(&target).await.map_err(plain)?;
        let task = tokio::spawn(pull.run(top));
        let end = EndOnDrop(task.abort_handle());
        let stream = ReceiverStream::new(receiver).map(move |message| {
            let _ = &end;
            message
        });
        Ok(stream.boxed())
    }
}

/// Docker answers 500 when a registry cannot be reached: the client shows the words.
fn plain(error: impl Into<Error>) -> Error {
    let error = error.into();
    match error.kind() {
        Kind::Unavailable => Error::internal(error.chain()),
        _ => error,
    }
}

fn credentials(auth: AuthConfig) -> Credentials {
    let mut credentials = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    };
    if credentials == Credentials::default()
        && let Some(read) = Credentials::from_basic(&auth.auth)
    {
        credentials = read;
    }
    credentials
}

impl Pull {
    async fn run(self, top: Held) {
        let target = top.descriptor.clone();
        let said = match self.reference.tag() {
            Some(tag) => tag.to_owned(),
            None => target.digest.to_string(),
        };
        self.tell(Message {
            id: said,
            ..Message::status(format!("Pulling from {}", self.reference.path()))
        })
        .await;
        let outcome = self.all(top).await;
        match outcome {
            Ok(new) => {
                self.tell(Message::status(format!("Digest: {}", target.digest)))
                    .await;
                let what = if new {
                    "Downloaded newer image for"
                } else {
                    "Image is up to date for"
                };
                self.tell(Message::status(format!(
                    "Status: {what} {}",
                    self.reference.familiar()
                )))
                .await;
            }
            Err(error) => {
                tracing::info!(reference = %self.reference, "pull failed: {}", error.chain());
                self.tell(Message::failed(error.chain())).await;
            }
        }
    }

    async fn tell(&self, message: Message) {
        let _ = self.messages.send(message).await;
    }

    /// Everything below the top document. Whether anything was new.
    async fn all(&self, top: Held) -> Result<bool> {
        let engine = &self.engine;
        let target = core(&top.descriptor);
        let (held, manifest) = self.choose(top).await?;
        self.judge(&manifest)?;
        let mut blobs: Vec<String> = held
            .iter()
            .map(|held| held.descriptor.digest.to_string())
            .collect();
        blobs.push(manifest.config.digest.to_string());
        blobs.extend(manifest.layers.iter().map(|layer| layer.digest.to_string()));
        // From here on nobody removes what we are about to find there.
        let pin = {
            let _images = engine.images.lock().await;
            engine.pulls.pin(blobs.clone())
        };
        let config = self.config(&manifest).await?;
        let stack = layers(&manifest, &config)?;
        let chains: Vec<String> = stack.iter().map(|(_, _, chain)| chain.clone()).collect();
        let chain_pin = {
            let _images = engine.images.lock().await;
            engine.pulls.pin(chains.clone())
        };
        let name = self.reference.to_string();
        let before = engine
            .services
            .images
            .get(&name)
            .await
            .ok()
            .map(|image| image.target.digest);
        let changed = before.as_ref() != Some(&target.digest);
        let made = self.make(&held, &stack, changed).await;
        if let Err(error) = made.as_ref() {
            drop((pin, chain_pin));
            if !is_passing(error) {
                // Nothing would come of what is there: it goes, but for what others use.
                let parts = Parts {
                    blobs: blobs.into_iter().collect::<BTreeSet<_>>(),
                    chains: vec![chains],
                };
                for layer in &manifest.layers {
                    engine.abandon_layer(layer.digest.as_str()).await;
                }
                let _images = engine.images.lock().await;
                if let Err(error) = engine.discard_parts(parts, None).await {
                    tracing::warn!(name, "failed to clear up after a pull: {}", error.chain());
                }
            }
            return made;
        }
        {
            let _images = engine.images.lock().await;
            engine.name_image(&name, &target).await?;
        }
        drop((pin, chain_pin));
        let attributes = [("name".to_owned(), self.reference.familiar_name())].into();
        engine
            .events
            .send("image", "pull", &self.reference.familiar(), attributes);
        made
    }

    /// The documents from the top down to the manifest of the platform.
    async fn choose(&self, top: Held) -> Result<(Vec<Held>, Manifest)> {
        let mut held = vec![top];
        loop {
            let Some(last) = held.last() else {
                return Err(Error::internal("a pull without a document"));
            };
            let index = match &last.document {
                Document::Manifest(manifest) => {
                    let manifest = manifest.clone();
                    return Ok((held, manifest));
                }
                Document::Index(index) => index,
            };
            if held.len() > DEPTH {
                return Err(Error::invalid(format!(
                    "{}: the index is nested too deeply",
                    self.reference.familiar()
                )));
            }
            let entry = choose(&index.manifests, &self.platform).ok_or_else(|| {
                Error::not_found(format!(
                    "no matching manifest for {} in the manifest list entries",
                    self.platform
                ))
            })?;
            let next = self.document(&entry.clone()).await?;
            held.push(next);
        }
    }

    /// A manifest or index: from the store when it is there.
    async fn document(&self, descriptor: &Descriptor) -> Result<Held> {
        let digest = descriptor.digest.to_string();
        let content = &*self.engine.services.content;
        if let Ok(bytes) = read_all(content, &digest, LARGEST).await
            && let Ok(document) = Document::parse(&descriptor.media_type, &bytes)
        {
            let descriptor = Descriptor::new(
                document.media_type(),
                descriptor.digest.clone(),
                bytes.len() as u64,
            );
            return Ok(Held {
                descriptor,
                bytes,
                document,
            });
        }
        let reference = self.reference.with_digest(descriptor.digest.clone());
        let manifest = self.repository.manifest(&reference).await?;
        Ok(Held {
            descriptor: manifest.descriptor,
            bytes: manifest.bytes,
            document: manifest.document,
        })
    }

    /// Refuses what is no image that we can unpack.
    fn judge(&self, manifest: &Manifest) -> Result<()> {
        let kind = manifest.config.media_type.as_str();
        if !media_type::is_config(kind) && !matches!(kind, "" | "application/octet-stream") {
            return Err(Error::invalid(format!(
                "{} is not an image: its configuration has media type {kind:?}",
                self.reference.familiar()
            )));
        }
        if manifest.layers.len() > LAYERS {
            return Err(Error::invalid(format!(
                "{} has more than {LAYERS} layers",
                self.reference.familiar()
            )));
        }
        for layer in &manifest.layers {
            if media_type::is_foreign_layer(&layer.media_type) {
                return Err(Error::invalid(format!(
                    "layer {} of {} is a foreign layer, which is not supported",
                    layer.digest,
                    self.reference.familiar()
                )));
            }
        }
        Ok(())
    }

    /// The configuration, verified and stored. It keeps nothing yet: its labels come with the layers.
    async fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        let descriptor = &manifest.config;
        let digest = descriptor.digest.to_string();
        let content = &*self.engine.services.content;
        let bytes = match read_all(content, &digest, LARGEST).await {
            Ok(bytes) => bytes,
            Err(_) => {
                if descriptor.size > LARGEST {
                    return Err(Error::invalid(format!(
                        "image configuration {digest} is larger than {LARGEST} bytes"
                    )));
                }
                let mut blob = self.repository.blob(descriptor, 0);
                let mut bytes = Vec::new();
                while let Some(chunk) = blob.chunk().await? {
                    bytes.extend_from_slice(&chunk);
                }
                if descriptor.digest.algorithm() == gantry_oci::digest::Algorithm::Sha256
                    && sha256(&bytes) != digest
                {
                    return Err(Error::new(
                        Kind::DataLoss,
                        format!("image config verification failed for digest {digest}"),
                    ));
                }
                bytes
            }
        };
        let config = ImageConfig::parse(&bytes)
            .map_err(|error| Error::invalid(format!("{digest}: {}", gantry_errdefs::chain(&error))))?;
        let chain = super::unpack::chain_ids(&config.rootfs.diff_ids).pop();
        let labels: Labels = chain
            .map(|chain| ("containerd.io/gc.ref.snapshot.overlayfs".to_owned(), chain))
            .into_iter()
            .chain([self.source()])
            .collect();
        if !self.engine.label_blob(&digest, &labels).await? {
            self.engine.put_blob(&digest, bytes, labels).await?;
        }
        Ok(config)
    }

    /// Where a blob came from, as containerd notes it.
    fn source(&self) -> (String, String) {
        let key = format!("containerd.io/distribution.source.{}", self.reference.domain());
        (key, self.reference.path().to_owned())
    }

    /// Layers, then the documents above them. Whether anything was fetched or unpacked.
    async fn make(&self, held: &[Held], stack: &[Layer], changed: bool) -> Result<bool> {
        let engine = &self.engine;
        let mut there = Vec::new();
        for (layer, _, chain) in stack {
            let blob = engine.services.content.info(layer.digest.as_str()).await;
            let snapshot = engine.services.snapshots.stat("", chain).await;
            there.push(blob.is_ok() && snapshot.is_ok());
        }
        let new = changed || there.contains(&false);
        if new {
            for ((layer, _, _), there) in stack.iter().zip(&there) {
                let word = if *there {
                    "Already exists"
                } else {
                    "Pulling fs layer"
                };
                Report::new(&self.messages, layer).say(word).await;
            }
        }
        let (fetching, fetched) = self.fetch(stack, &there);
        let mut unpacking = std::pin::pin!(self.unpack(stack, fetched));
        let mut fetching = std::pin::pin!(joined(fetching));
        tokio::select! {
            unpacked = &mut unpacking => {
                unpacked?;
                fetching.await?;
            }
            fetched = &mut fetching => {
                // What is being unpacked has its end first: whoever clears up behind us must find no snapshot half made.
                let unpacked = unpacking.await;
                fetched?;
                unpacked?;
            }
        }
        for held in held.iter().rev() {
            let mut labels: Labels = [self.source()].into();
            labels.extend(references(&held.document));
            let digest = held.descriptor.digest.to_string();
            if !engine.label_blob(&digest, &labels).await? {
                engine.put_blob(&digest, held.bytes.clone(), labels).await?;
            }
        }
        Ok(new)
    }

    /// Begins to fetch all layers; each receiver gets word when its layer is there.
    fn fetch(&self, stack: &[Layer], there: &[bool]) -> (JoinSet<Result<()>>, Vec<oneshot::Receiver<bool>>) {
        let mut tasks = JoinSet::new();
        let mut receivers = Vec::new();
        let mut waiting = 0;
        for ((layer, _, _), there) in stack.iter().zip(there.iter().copied()) {
            let (done, receiver) = oneshot::channel();
            receivers.push(receiver);
            waiting += usize::from(!there);
            let late = waiting > 3;
            let mut report = Report::new(&self.messages, layer);
            let (engine, repository, layer) = (self.engine.clone(), self.repository.clone(), layer.clone());
            let labels: Labels = [self.source()].into();
            tasks.spawn(async move {
                if there {
                    engine.label_blob(layer.digest.as_str(), &labels).await?;
                } else {
                    if late {
                        report.say("Waiting").await;
                    }
                    engine
                        .fetch_layer(&repository, &layer, labels, &mut report)
                        .await?;
                    report.say("Download complete").await;
                }
                let _ = done.send(there);
                Ok(())
            });
        }
        (tasks, receivers)
    }

    /// Unpacks the layers in their order, each when it is there.
    async fn unpack(&self, stack: &[Layer], fetched: Vec<oneshot::Receiver<bool>>) -> Result<()> {
        let mut parent = String::new();
        for ((layer, diff_id, chain), fetched) in stack.iter().zip(fetched) {
            let Ok(there) = fetched.await else {
                // The fetch failed and says why.
                return Ok(());
            };
            if !there {
                let report = Report::new(&self.messages, layer);
                report.say("Extracting").await;
                let turn = self.engine.pulls.work(chain).turn().await;
                let engine = self.engine.clone();
                let (layer, diff_id, chain) = (layer.clone(), diff_id.clone(), chain.clone());
                // A task of its own: a pull that is cut off must not leave half a snapshot.
                let task = tokio::spawn(async move {
                    let _turn = turn;
                    engine.unpack_layer(&layer, &diff_id, &chain, &parent).await
                });
                let done = task.await.map_err(|_| Error::internal("unpacking was cut off"))?;
                done.map_err(|error| fail::during("failed to register layer", error))?;
                report.say("Pull complete").await;
            }
            parent = chain.clone();
        }
        Ok(())
    }
}

/// All tasks, or the first failure.
async fn joined(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|_| Error::internal("a download was cut off"))??;
    }
    Ok(())
}

/// Whether the next pull may go on from where this one stopped: what failed is the way to the registry, not what came.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unavailable | Kind::DeadlineExceeded | Kind::Canceled
    )
}
