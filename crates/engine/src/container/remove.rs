//! Removing: recorded before it is begun, finished after a restart, and everything of it tried.

use std::sync::Arc;

use gantry_api_types::container::PruneReport;
use gantry_api_types::filters::Filters;
use gantry_errdefs::Error;

use super::Container;
use crate::{Engine, Result};

impl Engine {
    /// Removes a container; with `force` a running one too, with `volumes` its unnamed volumes.
    pub async fn container_remove(&self, reference: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.find(reference)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        if record.state.status.is_running() {
            if !force {
                let what = record.state.status.word();
                return Err(Error::failed_precondition(format!(
                    "cannot remove container \"{}\": container is {what}: stop the container before removing or force remove",
                    reference.strip_prefix('/').unwrap_or(reference)
                )));
            }
            self.change(&container, |record| record.state.stopped_by_user = true)
                .await?;
        }
        self.remove(&container, volumes).await
    }

    /// Removes a container whose operation the caller holds.
    pub(crate) async fn remove(&self, container: &Arc<Container>, volumes: bool) -> Result<()> {
        let record = self
            .change(container, |record| record.state.removing = true)
            .await?;
        self.clear_task(&record.id).await;
        self.unfurnish(&record).await?;
        // An unnamed volume is named by an id, and belongs to this container alone.
        let unnamed = record
            .mounts
            .iter()
            .filter(|point| point.r#type == "volume" && point.name.len() == 64);
        for point in unnamed.filter(|_| volumes || record.host.auto_remove) {
            if let Some(folder) = std::path::Path::new(&point.source).parent() {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
        self.db.delete_container(&record.id).await?;
        self.all.remove(&record.id);
        container.changes.send_replace(true);
        self.tell(&record, "destroy", &[]);
        Ok(())
    }

    /// Removes a container as soon as nobody else is at work on it.
    pub(crate) fn remove_later(&self, container: &Arc<Container>) {
        let Some(engine) = self.me.upgrade() else { return };
        let container = container.clone();
        tokio::spawn(async move {
            let _operation = container.operation.lock().await;
            if *container.changes.borrow() || container.read(|record| record.state.status.is_running()) {
                return;
            }
            if let Err(error) = engine.remove(&container, true).await {
                let id = container.read(|record| record.id.clone());
                tracing::warn!(id, "failed to remove the container: {}", error.chain());
            }
        });
    }

    /// Removes every container that does not run.
    pub async fn container_prune(&self, filters: &Filters) -> Result<PruneReport> {
        if let Some(key) = filters.unknown_key(&["label", "label!", "until"]) {
            return Err(Error::invalid(format!("invalid filter '{key}'")));
        }
        let mut report = PruneReport::default();
        for container in self.all.list() {
            let record = container.record();
            if record.state.status.is_running() || !filters.labels("label", &record.config.labels) {
                continue;
            }
            let _operation = container.operation.lock().await;
            if !container.read(|record| record.state.status.is_running())
                && self.remove(&container, false).await.is_ok()
            {
                report.containers_deleted.push(record.id);
            }
        }
        Ok(report)
    }
}
