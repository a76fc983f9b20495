//! One blob from a registry to the content store: what is there is not fetched, what was begun goes on, what is wrong is
//! thrown away. Knows no image.

use std::time::Duration;

use gantry_errdefs::{Error, Kind};
use gantry_oci::Descriptor;
use gantry_registry::Repository;
use gantry_supervisor_core::Labels;
use gantry_supervisor_core::content::{Info, Writer};

use super::report::Report;
use crate::{Engine, Result, fail};

/// How long an ingest may be held by a writer that was cut off a moment ago.
const HELD: u32 = 50;
const HELD_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Fetches a layer, unless it is there. Whether anything was fetched.
    pub(super) async fn fetch_layer(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        labels: Labels,
        report: &mut Report,
    ) -> Result<bool> {
        let digest = layer.digest.to_string();
        let work = self.pulls.work(&digest);
        let mut far = work.done.subscribe();
        let _turn = loop {
            tokio::select! {
                biased;
                turn = work.turn() => break turn,
                // Another pull is at it: its progress is ours.
                _ = far.changed() => report.bytes("Downloading", *far.borrow_and_update()),
            }
        };
        if self.label_blob(&digest, &labels).await? {
            return Ok(false);
        }
        let permit = self.pulls.downloads.acquire().await;
        let _permit = permit.map_err(|_| Error::internal("downloads are closed"))?;
        let ingest = format!("layer-{digest}");
        for last in [false, true] {
            let Some(mut writer) = self.ingest(&ingest, layer).await? else {
                return Ok(false);
            };
            let mut offset = writer.status().offset;
            if offset > layer.size || (last && offset > 0) {
                writer.truncate(0).await.map_err(fail::flat)?;
                offset = 0;
            }
            let mut blob = repository.blob(layer, offset);
            loop {
                let chunk = match blob.chunk().await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(error) => {
                        drop(writer);
                        // What is fetched stays for the next pull only when that may do better.
                        if !error.is_passing() {
                            self.abandon(&ingest).await;
                        }
                        return Err(error.into());
                    }
                };
                if let Err(error) = writer.write(chunk).await {
                    drop(writer);
                    self.abandon(&ingest).await;
                    return Err(fail::flat(error));
                }
                work.done.send_replace(blob.offset());
                report.bytes("Downloading", blob.offset());
            }
            report.say("Verifying Checksum").await;
            match writer.commit(layer.size, &digest, labels.clone()).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == Kind::AlreadyExists => return Ok(true),
                Err(error) => {
                    drop(writer);
                    self.abandon(&ingest).await;
                    if error.kind() != Kind::FailedPrecondition {
                        return Err(fail::flat(error));
                    }
                    // What was there from an earlier time may have been the wrong part: once more from the beginning.
                    tracing::warn!(digest, "a layer is not what its digest says: {}", error.chain());
                }
            }
        }
        Err(Error::new(
            Kind::DataLoss,
            format!("filesystem layer verification failed for digest {digest}"),
        ))
    }

    /// Sets labels on a blob, if it is there.
    pub(in crate::image) async fn label_blob(&self, digest: &str, labels: &Labels) -> Result<bool> {
        let content = &self.services.content;
        let info = match content.info(digest).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(false),
            other => other.map_err(fail::flat)?,
        };
        let missing: Vec<String> = labels
            .iter()
            .filter(|(key, value)| info.labels.get(*key) != Some(value))
            .map(|(key, _)| format!("labels.{key}"))
            .collect();
        if !missing.is_empty() {
            let info = Info {
                digest: digest.to_owned(),
                labels: labels.clone(),
                ..Info::default()
            };
            content.update(info, &missing).await.map_err(fail::flat)?;
        }
        Ok(true)
    }

    /// Opens an ingest; `None` when the blob is there.
    async fn ingest(&self, name: &str, blob: &Descriptor) -> Result<Option<Box<dyn Writer>>> {
        let digest = blob.digest.to_string();
        let mut tries = 0;
        loop {
            match self.services.content.writer(name, blob.size, &digest).await {
                Ok(writer) => return Ok(Some(writer)),
                Err(error) if error.kind() == Kind::AlreadyExists => return Ok(None),
                Err(error) if error.kind() == Kind::Unavailable && tries < HELD => {
                    tries += 1;
                    tokio::time::sleep(HELD_PAUSE).await;
                }
                Err(error) => return Err(fail::flat(error)),
            }
        }
    }

    /// Throws away what was begun of a layer, once nobody writes it any more.
    pub(super) async fn abandon_layer(&self, digest: &str) {
        let work = self.pulls.work(digest);
        if let Ok(_turn) = tokio::time::timeout(Duration::from_secs(5), work.turn()).await {
            self.abandon(&format!("layer-{digest}")).await;
        }
    }

    async fn abandon(&self, ingest: &str) {
        if let Err(error) = fail::gone(self.services.content.abort(ingest).await) {
            tracing::warn!(ingest, "failed to throw an ingest away: {}", error.chain());
        }
    }
}
