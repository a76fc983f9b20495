//! Lists of images, what is known of one, and its names.

use std::collections::BTreeMap;

use gantry_api_types::Map;
use gantry_api_types::container::{DriverData, HealthConfig};
use gantry_api_types::filters::Filters;
use gantry_api_types::image::{
    Descriptor, History, ImageConfig as ApiConfig, Inspect, Metadata, RootFs, Summary,
};
use gantry_errdefs::Error;
use gantry_oci::Reference;
use gantry_supervisor_core::image::Image;

use super::resolve::{ResolvedImage, digest, familiar, no_such_image, parse};
use crate::{Engine, Result, clock, fail};

/// Names that Docker shows: none for an image that has lost its last.
fn is_dangling(name: &str) -> bool {
    name.starts_with("dangling@")
}

/// The tags and digests that an image is known by.
fn names(images: &[Image]) -> (Vec<String>, Vec<String>) {
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for image in images.iter().filter(|image| !is_dangling(&image.name)) {
        let Ok(reference) = Reference::parse(&image.name) else {
            continue;
        };
        if reference.tag().is_some() {
            tags.push(reference.familiar());
        }
        digests.push(format!("{}@{}", reference.familiar_name(), image.target.digest));
    }
    tags.sort();
    digests.sort();
    digests.dedup();
    (tags, digests)
}

fn seconds(created: Option<&str>) -> i64 {
    created.and_then(clock::parse_rfc3339).map_or(0, clock::seconds)
}

impl Engine {
    /// All images, by their targets.
    pub(super) async fn by_target(&self) -> Result<BTreeMap<String, Vec<Image>>> {
        let mut by_target: BTreeMap<String, Vec<Image>> = BTreeMap::new();
        for image in self.services.images.list(&[]).await.map_err(fail::flat)? {
            by_target
                .entry(image.target.digest.clone())
                .or_default()
                .push(image);
        }
        Ok(by_target)
    }

    /// The images that are wanted, newest first.
    pub async fn image_list(&self, filters: &Filters, _all: bool) -> Result<Vec<Summary>> {
        if let Some(key) =
            filters.unknown_key(&["before", "dangling", "label", "reference", "since", "until"])
        {
            return Err(Error::invalid(format!("invalid filter '{key}'")));
        }
        let dangling = filters
            .boolean("dangling")
            .map_err(|values| Error::invalid(format!("invalid filter 'dangling={}'", values.join(","))))?;
        let mut bounds = [None, None];
        for (bound, key) in bounds.iter_mut().zip(["before", "since"]) {
            if let Some(name) = filters.get(key).next() {
                *bound = Some(seconds(
                    self.image_resolve(name, None).await?.config.created.as_deref(),
                ));
            }
        }
        let mut summaries = Vec::new();
        for (id, images) in self.by_target().await? {
            let (mut tags, mut digests) = names(&images);
            if dangling.is_some_and(|wanted| wanted != tags.is_empty()) {
                continue;
            }
            let matches = |tag: &String| {
                filters
                    .get("reference")
                    .any(|pattern| reference_matches(tag, pattern))
            };
            if filters.contains("reference") {
                tags.retain(matches);
                if tags.is_empty() {
                    continue;
                }
                digests.clear();
            }
            let target = &images[0].target;
            let found = self.manifest_shown(&target.digest, &target.media_type).await;
            // On its way out: it is still there.
            let (created, labels, size) = match found {
                Ok((manifest, config)) => {
                    let size =
                        manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + manifest.config.size;
                    (seconds(config.created.as_deref()), config.config.labels, size)
                }
                Err(_) => (0, Map::new(), target.size),
            };
            let wanted = filters.labels("label", &labels)
                && bounds[0].is_none_or(|bound| created < bound)
                && bounds[1].is_none_or(|bound| created > bound);
            if wanted {
                summaries.push(Summary {
                    containers: -1,
                    created,
                    id,
                    labels,
                    repo_digests: digests,
                    repo_tags: tags,
                    shared_size: -1,
                    size: i64::try_from(size).unwrap_or(i64::MAX),
                    ..Summary::default()
                });
            }
        }
        summaries.sort_by(|a, b| {
            b.created
                .cmp(&a.created)
                .then_with(|| a.repo_tags.cmp(&b.repo_tags))
        });
        Ok(summaries)
    }

    /// An image to be looked at: of the host's platform, or of the one it is there for.
    async fn image_shown(&self, reference: &str) -> Result<ResolvedImage> {
        let images = self.images_named(reference).await?;
        let image = images.first().ok_or_else(|| no_such_image(reference))?;
        let (manifest, config) = self
            .manifest_shown(&image.target.digest, &image.target.media_type)
            .await?;
        Ok(ResolvedImage {
            id: image.target.digest.clone(),
            manifest: Some(manifest),
            config,
            ..ResolvedImage::default()
        })
    }

    /// About an image.
    pub async fn image_inspect(&self, reference: &str) -> Result<Inspect> {
        let image = self.image_shown(reference).await?;
        let by_target = self.by_target().await?;
        let images = by_target.get(&image.id).ok_or_else(|| no_such_image(reference))?;
        let (repo_tags, repo_digests) = names(images);
        let config = &image.config;
        let from = &config.config;
        let empty = |map: &BTreeMap<String, serde_json::Map<String, serde_json::Value>>| {
            map.keys()
                .map(|key| (key.clone(), Some(gantry_api_types::Empty {})))
                .collect()
        };
        let size = image
            .manifest
            .iter()
            .flat_map(|manifest| &manifest.layers)
            .map(|layer| layer.size)
            .sum::<u64>();
        Ok(Inspect {
            id: image.id.clone(),
            repo_tags,
            repo_digests,
            comment: config
                .history
                .last()
                .map(|entry| entry.comment.clone())
                .unwrap_or_default(),
            created: config.created.clone().unwrap_or_default(),
            author: config.author.clone(),
            config: ApiConfig {
                user: from.user.clone(),
                exposed_ports: empty(&from.exposed_ports),
                env: from.env.clone(),
                entrypoint: from.entrypoint.clone().map(gantry_api_types::StrSlice),
                cmd: from.cmd.clone().map(gantry_api_types::StrSlice),
                volumes: empty(&from.volumes),
                working_dir: from.working_dir.clone(),
                labels: from.labels.clone(),
                stop_signal: from.stop_signal.clone(),
                args_escaped: from.args_escaped,
                on_build: from.on_build.clone(),
                shell: from.shell.clone().map(gantry_api_types::StrSlice),
                healthcheck: from.healthcheck.as_ref().map(|check| HealthConfig {
                    test: check.test.clone(),
                    interval: check.interval,
                    timeout: check.timeout,
                    start_period: check.start_period,
                    start_interval: check.start_interval,
                    retries: check.retries,
                }),
            },
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            graph_driver: DriverData {
                name: "overlayfs".to_owned(),
                ..DriverData::default()
            },
            root_fs: RootFs {
                r#type: "layers".to_owned(),
                layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            },
            metadata: Metadata {
                last_tag_time: images
                    .iter()
                    .map(|image| image.updated_at)
                    .max()
                    .map(clock::rfc3339)
                    .unwrap_or_default(),
            },
            descriptor: images.first().map(|image| Descriptor {
                media_type: image.target.media_type.clone(),
                digest: image.target.digest.clone(),
                size: i64::try_from(image.target.size).unwrap_or(i64::MAX),
                ..Descriptor::default()
            }),
            ..Inspect::default()
        })
    }

    /// How an image was made, the newest step first.
    pub async fn image_history(&self, reference: &str) -> Result<Vec<History>> {
        let image = self.image_shown(reference).await?;
        let sizes: Vec<u64> = image
            .manifest
            .iter()
            .flat_map(|m| &m.layers)
            .map(|layer| layer.size)
            .collect();
        let mut sizes = sizes.into_iter();
        let mut steps: Vec<History> = Vec::new();
        for entry in &image.config.history {
            steps.push(History {
                comment: entry.comment.clone(),
                created: seconds(entry.created.as_deref()),
                created_by: entry.created_by.clone(),
                id: "<missing>".to_owned(),
                size: if entry.empty_layer {
                    0
                } else {
                    sizes.next().map_or(0, |size| size as i64)
                },
                ..History::default()
            });
        }
        steps.reverse();
        if let Some(newest) = steps.first_mut() {
            newest.id = image.id.clone();
            newest.tags = names(self.by_target().await?.get(&image.id).map_or(&[], Vec::as_slice)).0;
        }
        Ok(steps)
    }

    /// `target` is `repository`, `tag` the tag (empty: `latest`).
    pub async fn image_tag(&self, reference: &str, repository: &str, tag: &str) -> Result<()> {
        let images = self.images_named(reference).await?;
        let image = images.first().ok_or_else(|| no_such_image(reference))?;
        let parsed = parse(repository)?;
        if parsed.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        let named = match tag {
            "" => parsed.with_default_tag(),
            tag => parsed
                .with_tag(tag)
                .map_err(|error| Error::invalid(gantry_errdefs::chain(&error)))?,
        };
        let name = named.to_string();
        digest(&image.target.digest)?;
        self.name_image(&name, &image.target).await?;
        // One that had lost its last name has one again.
        for lost in images.iter().filter(|image| is_dangling(&image.name)) {
            let _ = self.services.images.delete(&lost.name, false).await;
        }
        self.tell_image("tag", &image.target.digest, &name);
        Ok(())
    }
}

/// Docker's patterns: a name, a name with a tag, either with `*` and `?`.
fn reference_matches(tag: &str, pattern: &str) -> bool {
    let name = tag.rsplit_once(':').map_or(tag, |(name, _)| name);
    glob(pattern.as_bytes(), tag.as_bytes())
        || glob(pattern.as_bytes(), name.as_bytes())
        || familiar(pattern) == tag
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len())
            .take_while(|at| !text[..*at].contains(&b'/'))
            .any(|at| glob(rest, &text[at..])),
        Some((b'?', rest)) => text
            .split_first()
            .is_some_and(|(first, text)| *first != b'/' && glob(rest, text)),
        Some((byte, rest)) => text
            .split_first()
            .is_some_and(|(first, text)| first == byte && glob(rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_tags() {
        for (tag, pattern) in [
            ("a/b:1", "a/b"),
            ("a/b:1", "a/b:1"),
            ("a/b:1", "a/*"),
            ("busybox:latest", "busy*"),
            ("x:1", "?"),
        ] {
            assert!(reference_matches(tag, pattern), "{tag} {pattern}");
        }
        for (tag, pattern) in [("a/b:1", "a"), ("a/b:1", "*"), ("a/b:1", "a/b:2")] {
            assert!(!reference_matches(tag, pattern), "{tag} {pattern}");
        }
    }
}
