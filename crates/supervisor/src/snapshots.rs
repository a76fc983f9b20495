//! Layered file systems: one driver for all namespaces, whose names carry the namespace in front; and layers applied to them.

use async_trait::async_trait;
use gantry_oci::Digest;
use gantry_snapshots::Snapshotter;
use gantry_supervisor_core::event::wire;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::image::Descriptor;
use gantry_supervisor_core::snapshot::{Diff, Info, Mount, SnapshotKind, Snapshots, Usage};
use gantry_supervisor_core::{Error, Labels, Result};

use crate::metadata::db;
use crate::supervisor::{Bound, blocking};

/// The driver, by the name that clients know.
const DRIVER: &str = "overlayfs";

/// The drivers there are.
fn check(snapshotter: &str) -> Result<()> {
    match snapshotter {
        "" | DRIVER | "overlay" => Ok(()),
        other => Err(Error::not_found(format!(
            "snapshotter {other} was not found: not found"
        ))),
    }
}

impl Bound {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    fn parent(&self, name: &str) -> String {
        if name.is_empty() {
            String::new()
        } else {
            self.key(name)
        }
    }

    fn strip(&self, name: &str) -> String {
        name.strip_prefix(&format!("{}/", self.namespace))
            .unwrap_or(name)
            .to_owned()
    }

    fn info_of(&self, info: gantry_snapshots::Info) -> Info {
        Info {
            name: self.strip(&info.name),
            parent: self.strip(&info.parent),
            kind: match info.kind {
                gantry_snapshots::Kind::View => SnapshotKind::View,
                gantry_snapshots::Kind::Active => SnapshotKind::Active,
                gantry_snapshots::Kind::Committed => SnapshotKind::Committed,
            },
            created_at: info.created_at.into(),
            updated_at: info.updated_at.into(),
            labels: info.labels,
        }
    }

    /// Runs work of the driver on a thread for disks. An error names snapshots without the namespace.
    async fn driver<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Snapshotter) -> Result<T, gantry_snapshots::Error> + Send + 'static,
    ) -> Result<T> {
        let overlay = self.shared.overlay.clone();
        let done = blocking(move || work(&*overlay).map_err(Error::from)).await;
        done.map_err(|error| {
            let message = error.chain().replace(&format!("{}/", self.namespace), "");
            Error::new(error.kind(), message)
        })
    }

    async fn touch(&self) -> Result<()> {
        let namespace = self.namespace.clone();
        self.shared
            .db
            .call(move |tx| db::touch_namespace(tx, &namespace))
            .await
    }
}

fn mounts(mounts: Vec<gantry_snapshots::Mount>) -> Vec<Mount> {
    let one = |mount: gantry_snapshots::Mount| Mount {
        kind: mount.kind,
        source: mount.source,
        target: String::new(),
        options: mount.options,
    };
    mounts.into_iter().map(one).collect()
}

#[async_trait]
impl Snapshots for Bound {
    async fn prepare(
        &self,
        snapshotter: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>> {
        check(snapshotter)?;
        self.touch().await?;
        let event = wire::SnapshotPrepare {
            key: key.to_owned(),
            parent: parent.to_owned(),
            snapshotter: DRIVER.to_owned(),
        };
        let (key, parent) = (self.key(key), self.parent(parent));
        let made = self
            .driver(move |driver| driver.prepare(&key, &parent, &labels))
            .await?;
        self.tell("/snapshot/prepare", event.to_any());
        Ok(mounts(made))
    }

    async fn view(&self, snapshotter: &str, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        check(snapshotter)?;
        self.touch().await?;
        let (key, parent) = (self.key(key), self.parent(parent));
        self.driver(move |driver| driver.view(&key, &parent, &labels))
            .await
            .map(mounts)
    }

    async fn mounts(&self, snapshotter: &str, key: &str) -> Result<Vec<Mount>> {
        check(snapshotter)?;
        let key = self.key(key);
        self.driver(move |driver| driver.mounts(&key)).await.map(mounts)
    }

    async fn commit(&self, snapshotter: &str, name: &str, key: &str, labels: Labels) -> Result<()> {
        check(snapshotter)?;
        let event = wire::SnapshotCommit {
            key: key.to_owned(),
            name: name.to_owned(),
            snapshotter: DRIVER.to_owned(),
        };
        let (name, key) = (self.key(name), self.key(key));
        self.driver(move |driver| driver.commit(&name, &key, &labels))
            .await?;
        self.tell("/snapshot/commit", event.to_any());
        Ok(())
    }

    async fn remove(&self, snapshotter: &str, key: &str) -> Result<()> {
        check(snapshotter)?;
        let event = wire::SnapshotRemove {
            key: key.to_owned(),
            snapshotter: DRIVER.to_owned(),
        };
        let key = self.key(key);
        self.driver(move |driver| driver.remove(&key)).await?;
        self.tell("/snapshot/remove", event.to_any());
        Ok(())
    }

    async fn stat(&self, snapshotter: &str, key: &str) -> Result<Info> {
        check(snapshotter)?;
        let key = self.key(key);
        self.driver(move |driver| driver.stat(&key))
            .await
            .map(|info| self.info_of(info))
    }

    async fn update(&self, snapshotter: &str, info: Info, fields: &[String]) -> Result<Info> {
        check(snapshotter)?;
        let (key, fields) = (self.key(&info.name), fields.to_vec());
        let updated = self
            .driver(move |driver| {
                let mut kept = driver.stat(&key)?;
                kept.labels = info.labels;
                driver.update(&kept, &fields)
            })
            .await?;
        Ok(self.info_of(updated))
    }

    async fn list(&self, snapshotter: &str, filters: &[String]) -> Result<Vec<Info>> {
        check(snapshotter)?;
        let filters = Filters::parse(filters)?;
        let prefix = self.key("");
        let all = self.driver(|driver| driver.list()).await?;
        let mine = all
            .into_iter()
            .filter(|info| info.name.starts_with(&prefix))
            .map(|info| self.info_of(info));
        let field = |info: &Info, path: &[String]| match path.iter().map(String::as_str).collect::<Vec<_>>()[..]
        {
            ["name"] => Some(info.name.clone()),
            ["parent"] => Some(info.parent.clone()),
            ["kind"] => Some(format!("{:?}", info.kind).to_lowercase()),
            ["labels", ref key @ ..] => info.labels.get(&key.join(".")).cloned(),
            _ => None,
        };
        Ok(mine
            .filter(|info| filters.matches(&|path: &[String]| field(info, path)))
            .collect())
    }

    async fn usage(&self, snapshotter: &str, key: &str) -> Result<Usage> {
        check(snapshotter)?;
        let key = self.key(key);
        let usage = self.driver(move |driver| driver.usage(&key)).await?;
        Ok(Usage {
            size: usage.size,
            inodes: usage.inodes,
        })
    }

    async fn cleanup(&self, snapshotter: &str) -> Result<()> {
        check(snapshotter)?;
        self.driver(|driver| driver.cleanup()).await
    }
}

/// The media type of an uncompressed layer.
const UNCOMPRESSED: &str = "application/vnd.oci.image.layer.v1.tar";

#[async_trait]
impl Diff for Bound {
    async fn apply(&self, descriptor: &Descriptor, mounts: &[Mount]) -> Result<Descriptor> {
        let [mount] = mounts else {
            return Err(Error::not_implemented(format!(
                "apply to {} mounts: one is supported",
                mounts.len()
            )));
        };
        let digest: Digest = descriptor.digest.parse().map_err(|_| {
            Error::invalid(format!(
                "invalid digest {:?}: invalid argument",
                descriptor.digest
            ))
        })?;
        // This namespace must have it, not only the store.
        gantry_supervisor_core::content::Content::info(self, &descriptor.digest).await?;
        let (store, mount) = (self.shared.content.clone(), mount.clone());
        let name = descriptor.digest.clone();
        let applied = blocking(move || {
            let target = gantry_layer::Target::from_mount(&mount.kind, &mount.source, &mount.options)
                .map_err(Error::from)?;
            let reader = store.reader(&digest).map_err(Error::from)?;
            gantry_layer::apply(reader, &target, &gantry_layer::Options::default()).map_err(Error::from)
        })
        .await
        .map_err(|error| error.context(format!("failed to extract layer {name}")))?;
        Ok(Descriptor {
            media_type: UNCOMPRESSED.to_owned(),
            digest: applied.diff_id.to_string(),
            size: applied.size,
            annotations: Labels::new(),
        })
    }
}
