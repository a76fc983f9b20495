//! Taking names away, and with the last one what only that image used.

use std::collections::BTreeSet;

use gantry_api_types::image::DeleteResponse;
use gantry_errdefs::{Error, Kind};
use gantry_oci::image::Document;
use gantry_supervisor_core::image::Image;

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

impl Engine {
    /// Removes a name, or by its id an image with all its names.
    pub async fn image_remove(
        &self,
        reference: &str,
        force: bool,
        noprune: bool,
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
        let short = target
            .strip_prefix("sha256:")
            .unwrap_or(&target)
            .chars()
            .take(12)
            .collect::<String>();
        let going: Vec<Image> = if by_id { all.clone() } else { named };
        let last = going.len() == all.len();
        if by_id && all.len() > 1 && !force {
            return Err(Error::failed_precondition(format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )));
        }
        if last && let Some(user) = users.iter().find(|user| user.running).or(users.first()) {
            let container = &user.container_id[..12];
            if user.running {
                return Err(Error::failed_precondition(match by_id {
                    true => format!(
                        "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}"
                    ),
                    false => format!(
                        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {short}"
                    ),
                }));
            }
            if !force {
                return Err(Error::failed_precondition(match by_id {
                    true => format!(
                        "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}"
                    ),
                    false => format!(
                        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is using its referenced image {short}"
                    ),
                }));
            }
        }
        let mut answer = Vec::new();
        for image in &going {
            if last && !users.is_empty() && image.name == going[going.len() - 1].name {
                // A stopped container still stands on it: it stays without a name.
                self.name_image(&format!("dangling@{target}"), &image.target)
                    .await?;
            }
            fail::gone(self.services.images.delete(&image.name, false).await).map_err(fail::flat)?;
            if !image.name.starts_with("dangling@") {
                answer.push(untagged(familiar(&image.name)));
                self.tell_image("untag", &target, &image.name);
            }
        }
        if last && users.is_empty() {
            self.discard(&target, &going[0].target.media_type, noprune)
                .await?;
            answer.push(deleted(target.clone()));
            self.tell_image("delete", &target, &target);
        }
        Ok(answer)
    }

    /// Removes what no other image uses of one that has no name any more.
    async fn discard(&self, target: &str, media_type: &str, _noprune: bool) -> Result<()> {
        let gone = self.parts(target, media_type).await;
        self.discard_parts(gone).await
    }

    /// Removes what neither an image nor a pull uses. The caller holds the lock on images.
    pub(super) async fn discard_parts(&self, gone: Parts) -> Result<()> {
        let mut kept = BTreeSet::new();
        let mut chains = BTreeSet::new();
        for (other, images) in self.by_target().await? {
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
                        parts.chains.push(chain_ids(&config.rootfs.diff_ids));
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
