//! Taking names away, and with the last one what only that image used.

use std::collections::BTreeSet;

use gantry_api_types::image::DeleteResponse;
use gantry_errdefs::{Error, Kind};
use gantry_oci::Reference;
use gantry_oci::image::Document;
use gantry_supervisor_core::image::Image;

use super::init_layer;
use super::resolve::{familiar, no_such_image};
use super::unpack::chain_ids;
use crate::{Engine, Result, fail};

/// What an image is made of.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) blobs: BTreeSet<String>,
    /// The chains of its platforms that are there, the topmost last.
    pub(super) chains: Vec<Vec<String>>,
}

fn untagged(name: String) -> DeleteResponse {
    DeleteResponse {
        untagged: name,
        ..DeleteResponse::default()
    }
}

fn deleted(id: String) -> DeleteResponse {
    DeleteResponse {
        deleted: id,
        ..DeleteResponse::default()
    }
}

/// A tag that goes takes the digests of its repository along when no other tag is left there.
fn with_digests(named: Vec<Image>, all: &[Image]) -> Vec<Image> {
    let of = |image: &Image| Reference::parse(&image.name).ok();
    let goes = |image: &Image| named.iter().any(|other| other.name == image.name);
    let Some(repository) = named.first().and_then(of).map(|reference| reference.name()) else {
        return named;
    };
    let stay: Vec<&Image> = all.iter().filter(|image| !goes(image)).collect();
    let digests_only = stay.iter().all(|image| {
        of(image).is_some_and(|reference| reference.tag().is_none() && reference.name() == repository)
    });
    if digests_only {
        return all.to_vec();
    }
    named
}

fn named_type(all: &[Image]) -> String {
    all.first()
        .map(|image| image.target.media_type.clone())
        .unwrap_or_default()
}

/// Whether there is at most one tag, and everything is of one repository.
fn is_single(all: &[Image]) -> bool {
    let references: Vec<Reference> = all
        .iter()
        .filter_map(|image| Reference::parse(&image.name).ok())
        .collect();
    references
        .iter()
        .filter(|reference| reference.tag().is_some())
        .count()
        <= 1
        && references.windows(2).all(|pair| pair[0].name() == pair[1].name())
}

impl Engine {
    /// Removes a name, or by its id an image with all its names.
    pub async fn image_remove(
        &self,
        reference: &str,
        force: bool,
        _noprune: bool,
    ) -> Result<Vec<DeleteResponse>> {
        let _images = self.images.lock().await;
        let named = self.images_named(reference).await?;
        let target = named
            .first()
            .ok_or_else(|| no_such_image(reference))?
            .target
            .digest
            .clone();
        let all = self.by_target().await?.remove(&target).unwrap_or_default();
        let by_id = !named
            .iter()
            .any(|image| familiar(&image.name) == familiar(reference));
        let users = self.image_users(&target);
        let short: String = target.trim_start_matches("sha256:").chars().take(12).collect();
        let going: Vec<Image> = if by_id { all } else { with_digests(named, &all) };
        let last = by_id || going.len() == self.by_target().await?.get(&target).map_or(0, Vec::len);
        if by_id && !force && !is_single(&going) {
            return Err(Error::failed_precondition(format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )));
        }
        let user = users.iter().find(|user| user.running).or(users.first());
        if last && let Some(user) = user {
            let container = &user.container_id[..12];
            let why = match (by_id, user.running, force) {
                (false, _, false) => Some(format!(
                    "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {short}"
                )),
                (true, true, _) => Some(format!(
                    "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}"
                )),
                (true, false, false) => Some(format!(
                    "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}"
                )),
                // The image stays, without a name.
                (_, _, true) => None,
            };
            if let Some(why) = why {
                return Err(Error::failed_precondition(why));
            }
        }
        let mut answer = Vec::new();
        let media_type = named_type(&going);
        // Until all that was its own is gone, an image that goes is one without a name: if we are cut off it can be
        // seen, and removed again. While a container stands on it, it stays so.
        let nameless = format!("dangling@{target}");
        if last && let Some(first) = going.first() {
            self.name_image(&nameless, &first.target).await?;
        }
        for image in going.iter().filter(|image| image.name != nameless) {
            fail::gone(self.services.images.delete(&image.name, false).await).map_err(fail::flat)?;
            answer.push(untagged(familiar(&image.name)));
            self.tell_image("untag", &target, &image.name);
        }
        if last && users.is_empty() {
            let gone = self.parts(&target, &media_type).await;
            self.discard_parts(gone, Some(&target)).await?;
            fail::gone(self.services.images.delete(&nameless, false).await).map_err(fail::flat)?;
            answer.push(deleted(target.clone()));
            self.tell_image("delete", &target, &target);
        }
        Ok(answer)
    }

    /// Removes what neither an image (but the one that goes) nor a pull uses. The caller holds the lock on images.
    pub(super) async fn discard_parts(&self, gone: Parts, goes: Option<&str>) -> Result<()> {
        let mut kept = BTreeSet::new();
        let mut chains = BTreeSet::new();
        for (other, images) in self.by_target().await? {
            if goes == Some(other.as_str()) {
                continue;
            }
            let parts = self.parts(&other, &images[0].target.media_type).await;
            kept.extend(parts.blobs);
            chains.extend(parts.chains.into_iter().flatten());
        }
        for chain in &gone.chains {
            let unused = |name: &&String| !chains.contains(*name) && !self.pulls.is_pinned(name);
            for name in chain.iter().rev().filter(unused) {
                match self.services.snapshots.remove("", name).await {
                    // Something stands on it, and then on all below.
                    Err(error) if error.kind() == Kind::FailedPrecondition => break,
                    Err(error) if error.kind() != Kind::NotFound => return Err(fail::flat(error)),
                    _ => {}
                }
            }
        }
        for blob in gone
            .blobs
            .difference(&kept)
            .filter(|blob| !self.pulls.is_pinned(blob))
        {
            fail::gone(self.services.content.delete(blob).await).map_err(fail::flat)?;
        }
        Ok(())
    }

    /// Everything behind a target that is there.
    async fn parts(&self, target: &str, media_type: &str) -> Parts {
        let mut parts = Parts::default();
        let mut next = vec![(target.to_owned(), media_type.to_owned())];
        while let Some((digest, kind)) = next.pop() {
            if !parts.blobs.insert(digest.clone()) {
                continue;
            }
            match self.document(&digest, &kind).await {
                Ok(Document::Index(index)) => {
                    next.extend(
                        index
                            .manifests
                            .into_iter()
                            .map(|entry| (entry.digest.to_string(), entry.media_type)),
                    );
                }
                Ok(Document::Manifest(manifest)) => {
                    if let Ok(config) = self.config_of(&manifest).await {
                        let mut chain = chain_ids(&config.rootfs.diff_ids);
                        let top = chain.last().map_or("", String::as_str);
                        chain.push(init_layer::name(top));
                        parts.chains.push(chain);
                    }
                    parts.blobs.insert(manifest.config.digest.to_string());
                    parts
                        .blobs
                        .extend(manifest.layers.iter().map(|layer| layer.digest.to_string()));
                }
                // Of another platform, and never fetched.
                Err(_) => {}
            }
        }
        parts
    }
}
