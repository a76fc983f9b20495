//! From what a user typed to an image: name, tag, digest or the beginning of an id; and the documents behind it.

use gantry_errdefs::{Error, Kind};
use gantry_oci::image::{Document, ImageConfig, Manifest};
use gantry_oci::{Descriptor, Digest, Platform, Reference};
use gantry_supervisor_core::content::read_all;
use gantry_supervisor_core::image::Image;

use crate::{Engine, Result, fail};

/// The largest manifest or configuration that is read.
pub(super) const LARGEST: u64 = 8 << 20;

/// An image as a container is made of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResolvedImage {
    /// The digest of what the name points to.
    pub(crate) id: String,
    /// The manifest of the platform.
    pub(crate) manifest: Option<Manifest>,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// The name of the snapshot of its topmost layer; empty for an image without layers.
    pub(crate) chain_id: String,
}

pub(crate) fn no_such_image(reference: &str) -> Error {
    Error::not_found(format!("No such image: {reference}"))
}

/// A reference as Docker's messages have it.
pub(super) fn familiar(text: &str) -> String {
    Reference::parse(text).map_or_else(
        |_| text.to_owned(),
        |reference| reference.with_default_tag().familiar(),
    )
}

pub(super) fn parse(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|error| Error::invalid(gantry_errdefs::chain(&error)))
}

/// Whether a text may be the beginning of an id.
fn is_prefix(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    !hex.is_empty()
        && hex.len() <= 64
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Engine {
    /// All names, those that mean what the user typed first.
    pub(super) async fn images_named(&self, reference: &str) -> Result<Vec<Image>> {
        let images = &self.services.images;
        if let Ok(parsed) = Reference::parse(reference) {
            let full = parsed.clone().with_default_tag();
            match (full.tag(), full.digest()) {
                (Some(_), None) => match images.get(&full.to_string()).await {
                    Ok(image) => return Ok(vec![image]),
                    Err(error) if error.kind() != Kind::NotFound => return Err(fail::flat(error)),
                    Err(_) => {}
                },
                (_, Some(digest)) => {
                    let all = images.list(&[]).await.map_err(fail::flat)?;
                    let repository = full.name();
                    let same = |image: &Image| {
                        image.target.digest == digest.as_str()
                            && Reference::parse(&image.name).is_ok_and(|name| name.name() == repository)
                    };
                    let found: Vec<Image> = all.into_iter().filter(same).collect();
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                _ => {}
            }
        }
        if is_prefix(reference) {
            let all = images.list(&[]).await.map_err(fail::flat)?;
            let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
            let mine = |image: &Image| {
                image
                    .target
                    .digest
                    .strip_prefix("sha256:")
                    .is_some_and(|own| own.starts_with(hex))
            };
            let found: Vec<Image> = all.into_iter().filter(mine).collect();
            if let Some(first) = found.first() {
                if found
                    .iter()
                    .any(|image| image.target.digest != first.target.digest)
                {
                    return Err(Error::invalid(format!("ambiguous reference: {reference}")));
                }
                return Ok(found);
            }
        }
        Err(no_such_image(&familiar(reference)))
    }

    /// A document of the content store.
    pub(super) async fn document(&self, digest: &str, media_type: &str) -> Result<Document> {
        let body = read_all(&*self.services.content, digest, LARGEST)
            .await
            .map_err(fail::flat)?;
        Document::parse(media_type, &body)
            .map_err(|error| Error::internal(format!("{digest}: {}", gantry_errdefs::chain(&error))))
    }

    /// The manifest of a platform behind a target, with its digest.
    pub(super) async fn manifest_of(
        &self,
        target: &str,
        media_type: &str,
        platform: &Platform,
    ) -> Result<(String, Manifest)> {
        let mut next = (target.to_owned(), media_type.to_owned());
        // An index may hold indexes, but not without end.
        for _ in 0..4 {
            match self.document(&next.0, &next.1).await? {
                Document::Manifest(manifest) => return Ok((next.0, manifest)),
                Document::Index(index) => {
                    let chosen = choose(&index.manifests, platform);
                    let chosen = chosen.ok_or_else(|| {
                        Error::not_found(format!(
                            "no matching manifest for {platform} in the manifest list entries"
                        ))
                    })?;
                    next = (chosen.digest.to_string(), chosen.media_type.clone());
                }
            }
        }
        Err(Error::invalid(format!(
            "{target}: the index is nested too deeply"
        )))
    }

    /// The manifest to show of an image: the host's, or the first that is there.
    pub(super) async fn manifest_shown(
        &self,
        target: &str,
        media_type: &str,
    ) -> Result<(Manifest, ImageConfig)> {
        let host = self.manifest_of(target, media_type, &Platform::host()).await;
        let mut missing = match host {
            Ok((_, manifest)) => match self.config_of(&manifest).await {
                Ok(config) => return Ok((manifest, config)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if let Ok(Document::Index(index)) = self.document(target, media_type).await {
            for entry in &index.manifests {
                let kind = &entry.media_type;
                let Ok(Document::Manifest(manifest)) = self.document(entry.digest.as_str(), kind).await
                else {
                    continue;
                };
                match self.config_of(&manifest).await {
                    Ok(config) => return Ok((manifest, config)),
                    Err(error) => missing = error,
                }
            }
        }
        Err(missing)
    }

    /// The image of a reference for a platform; none: the host's.
    pub(crate) async fn image_resolve(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<ResolvedImage> {
        let images = self.images_named(reference).await?;
        let image = images.first().ok_or_else(|| no_such_image(reference))?;
        let wanted = platform_of(platform)?;
        let (_, manifest) = self
            .manifest_of(&image.target.digest, &image.target.media_type, &wanted)
            .await?;
        let config = self.config_of(&manifest).await?;
        if platform.is_some() && wanted.preference(&config.platform()).is_none() {
            return Err(Error::not_found(format!(
                "image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {}",
                familiar(reference),
                config.platform()
            )));
        }
        let chain_id = super::unpack::chain_ids(&config.rootfs.diff_ids)
            .pop()
            .unwrap_or_default();
        Ok(ResolvedImage {
            id: image.target.digest.clone(),
            manifest: Some(manifest),
            config,
            chain_id,
        })
    }

    /// The configuration of a manifest.
    pub(super) async fn config_of(&self, manifest: &Manifest) -> Result<ImageConfig> {
        let digest = manifest.config.digest.to_string();
        let body = read_all(&*self.services.content, &digest, LARGEST)
            .await
            .map_err(fail::flat)?;
        ImageConfig::parse(&body)
            .map_err(|error| Error::internal(format!("{digest}: {}", gantry_errdefs::chain(&error))))
    }

    /// How many images there are.
    pub(crate) async fn image_count(&self) -> Result<i64> {
        let mut targets: Vec<String> = self
            .services
            .images
            .list(&[])
            .await
            .map_err(fail::flat)?
            .into_iter()
            .map(|image| image.target.digest)
            .collect();
        targets.sort();
        targets.dedup();
        Ok(targets.len() as i64)
    }
}

/// A platform that was asked for, or the host's.
pub(super) fn platform_of(text: Option<&str>) -> Result<Platform> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|error| Error::invalid(format!("{error}"))),
    }
}

/// The entry of an index that fits best.
pub(super) fn choose<'a>(entries: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let fits = |entry: &&Descriptor| match &entry.platform {
        Some(own) => platform.preference(own).is_some(),
        // Without a word on it, it is for everybody.
        None => {
            gantry_oci::media_type::is_manifest(&entry.media_type)
                || gantry_oci::media_type::is_index(&entry.media_type)
        }
    };
    entries.iter().filter(fits).min_by_key(|entry| {
        entry
            .platform
            .as_ref()
            .map_or(usize::MAX, |own| platform.preference(own).unwrap_or(usize::MAX))
    })
}

/// A digest as the content store's text.
pub(super) fn digest(text: &str) -> Result<Digest> {
    text.parse()
        .map_err(|_| Error::invalid(format!("invalid digest {text:?}")))
}
