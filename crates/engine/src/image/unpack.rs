//! Layers made into snapshots: each on the one below, named by the chain of what it holds.

use gantry_errdefs::{Error, Kind};
use gantry_oci::image::{Document, ImageConfig, Manifest};
use gantry_oci::{Descriptor, Digest};
use gantry_supervisor_core::Labels;
use gantry_supervisor_core::image::Descriptor as CoreDescriptor;
use gantry_supervisor_core::snapshot::{Mount, SnapshotKind};
use sha2::{Digest as _, Sha256};

use super::{ResolvedImage, init_layer};
use crate::{Engine, Result, fail, names};

/// How the names of snapshots begin that a layer is being unpacked into.
const EXTRACT: &str = "extract-";

/// The names of the snapshots of a stack of layers, the lowest first.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => diff_id.to_string(),
            Some(below) => sha256(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chain
}

/// A digest in its usual form.
pub(super) fn sha256(data: &[u8]) -> String {
    let hex: String = Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A descriptor as the supervisor's services have it.
pub(super) fn core(descriptor: &Descriptor) -> CoreDescriptor {
    CoreDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
        annotations: Labels::new(),
    }
}

/// The layers with their chain, checked to be as many as the configuration says.
pub(super) fn layers(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<(Descriptor, Digest, String)>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::invalid(format!(
            "mismatched image rootfs and manifest layers: {} diff ids, {} layers",
            diff_ids.len(),
            manifest.layers.len()
        )));
    }
    let chain = chain_ids(diff_ids);
    Ok(manifest
        .layers
        .iter()
        .cloned()
        .zip(diff_ids.iter().cloned())
        .zip(chain)
        .map(|((l, d), c)| (l, d, c))
        .collect())
}

/// The labels of a document that say to a collector of garbage what it refers to.
pub(super) fn references(document: &Document) -> Labels {
    let of = |kind: &str, all: &[Descriptor]| {
        let all = all.iter().enumerate();
        all.map(|(n, one)| {
            (
                format!("containerd.io/gc.ref.content.{kind}.{n}"),
                one.digest.to_string(),
            )
        })
        .collect::<Labels>()
    };
    match document {
        Document::Manifest(manifest) => {
            let mut labels = of("l", &manifest.layers);
            labels.insert(
                "containerd.io/gc.ref.content.config".to_owned(),
                manifest.config.digest.to_string(),
            );
            labels
        }
        Document::Index(index) => of("m", &index.manifests),
    }
}

impl Engine {
    /// Makes one layer a snapshot, if it is none yet. What is not what the configuration says is thrown away.
    pub(super) async fn unpack_layer(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        chain: &str,
        parent: &str,
    ) -> Result<()> {
        let snapshots = &self.services.snapshots;
        if snapshots.stat("", chain).await.is_ok() {
            return Ok(());
        }
        self.lay(chain, parent, async |mounts| {
            let applied = self
                .services
                .diff
                .apply(&core(layer), &mounts)
                .await
                .map_err(fail::flat)?;
            if applied.digest != diff_id.to_string() {
                return Err(Error::new(
                    Kind::DataLoss,
                    format!(
                        "wrong diff id calculated on extraction \"{}\", expected \"{diff_id}\" for layer {}",
                        applied.digest, layer.digest
                    ),
                ));
            }
            Ok(())
        })
        .await
    }

    /// Makes a snapshot on `parent` of what `fill` puts there. What fails is thrown away.
    async fn lay(
        &self,
        name: &str,
        parent: &str,
        fill: impl AsyncFnOnce(Vec<Mount>) -> Result<()>,
    ) -> Result<()> {
        let snapshots = &self.services.snapshots;
        let key = format!("{EXTRACT}{} {name}", &names::new_id()?[..12]);
        // An image that is unpacked is kept by its name; nothing is collected behind our back.
        let labels: Labels = [("containerd.io/gc.root".to_owned(), "true".to_owned())].into();
        let mounts = snapshots
            .prepare("", &key, parent, labels.clone())
            .await
            .map_err(fail::flat)?;
        let filled = async {
            fill(mounts).await?;
            match snapshots.commit("", name, &key, labels).await {
                // Somebody else was as fast.
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    let _ = snapshots.remove("", &key).await;
                    Ok(())
                }
                other => other.map_err(fail::flat),
            }
        };
        let done = filled.await;
        if done.is_err()
            && let Err(error) = snapshots.remove("", &key).await
        {
            tracing::warn!(key, "failed to remove a half-made snapshot: {}", error.chain());
        }
        done
    }

    /// Removes what was being unpacked when an engine before this one was cut off. Nothing is unpacked yet.
    pub(crate) async fn sweep_unpacking(&self) -> Result<()> {
        for info in self.services.snapshots.list("", &[]).await? {
            let active = info.kind == SnapshotKind::Active;
            if active
                && info.name.starts_with(EXTRACT)
                && let Err(error) = fail::gone(self.services.snapshots.remove("", &info.name).await)
            {
                tracing::warn!(
                    name = info.name,
                    "failed to remove a half-made snapshot: {}",
                    error.chain()
                );
            }
        }
        Ok(())
    }

    /// Makes all of an image's layers snapshots, and the init layer on top. Returns its name: containers stand on that.
    pub(crate) async fn image_ensure_unpacked(&self, image: &ResolvedImage) -> Result<String> {
        let init = init_layer::name(&image.chain_id);
        if self.services.snapshots.stat("", &init).await.is_ok() {
            return Ok(init);
        }
        let mut parent = String::new();
        if let Some(manifest) = &image.manifest {
            for (layer, diff_id, chain) in layers(manifest, &image.config)? {
                self.unpack_layer(&layer, &diff_id, &chain, &parent).await?;
                parent = chain;
            }
        }
        self.lay(&init, &image.chain_id, async |mounts| {
            init_layer::write(&crate::user::layers(&mounts)).map_err(|error| {
                Error::internal(format!("write the init layer of {}: {error}", image.chain_id))
            })
        })
        .await?;
        Ok(init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_made_of_what_is_below() {
        let ids: Vec<Digest> = ["a", "b"]
            .iter()
            .map(|c| format!("sha256:{}", c.repeat(64)).parse().unwrap())
            .collect();
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0].to_string());
        assert_eq!(chain[1], sha256(format!("{} {}", ids[0], ids[1]).as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }
}
