//! Removing: recorded before it is begun, finished after a restart, and everything of it tried.

use std::sync::Arc;

use gantry_api_types::container::PruneReport;
use gantry_api_types::filters::Filters;
use gantry_errdefs::Error;

use super::Container;
use super::state::Status;
use crate::{Engine, Result, clock, record};

impl Engine {
    /// Removes a container; with `force` a running one too, with `volumes` its unnamed volumes.
    pub async fn container_remove(&self, reference: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.find(reference)?;
        let reference = reference.to_owned();
        self.whole(async move |engine| {
            let _operation = container.hold(&reference).await?;
            let record = container.record();
            if record.state.status.is_up() && !record.state.removing {
                if !force {
                    let what = match record.state.status {
                        Status::Paused => "paused and must be unpaused first".to_owned(),
                        status => format!(
                            "{}: stop the container before removing or force remove",
                            status.word()
                        ),
                    };
                    return Err(Error::failed_precondition(format!(
                        "cannot remove container \"/{}\": container is {what}",
                        record.name
                    )));
                }
                engine.end_now(&container).await?;
            }
            engine.remove(&container, volumes).await
        })
        .await
    }

    /// Ends a container that is to be removed.
    async fn end_now(&self, container: &Arc<Container>) -> Result<()> {
        let record = self.change(container, |record| record.state.give_up()).await?;
        if record.state.status.is_running() {
            self.kill_and_wait(container).await?;
        }
        Ok(())
    }

    /// Removes a container whose operation the caller holds.
    pub(crate) async fn remove(&self, container: &Arc<Container>, volumes: bool) -> Result<()> {
        let record = self
            .change(container, |record| {
                record.state.removing = true;
                record.state.removing_volumes |= volumes || record.host.auto_remove;
            })
            .await?;
        self.clear_task(&record.id).await;
        self.unfurnish(&record).await?;
        if record.state.removing_volumes {
            // An unnamed volume is named by an id, and belongs to this container alone.
            let unnamed = record
                .mounts
                .iter()
                .filter(|point| point.r#type == "volume" && point.name.len() == 64);
            for point in unnamed {
                if let Some(folder) = std::path::Path::new(&point.source).parent() {
                    let _ = std::fs::remove_dir_all(folder);
                }
            }
        }
        self.db.delete_container(&record.id).await?;
        self.all.remove(&record.id);
        container.changes.send_replace(true);
        super::lock(&container.waiting).clear();
        self.tell(&record, "destroy", &[]);
        Ok(())
    }

    /// Removes a container as soon as nobody else is at work on it.
    pub(crate) fn remove_later(&self, container: &Arc<Container>) {
        let Some(engine) = self.me.upgrade() else {
            return;
        };
        let container = container.clone();
        tokio::spawn(async move {
            let _operation = container.operation.lock().await;
            if container.is_gone() || container.read(|record| record.state.status.is_up()) {
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
        let mut until = None;
        for text in filters.get("until") {
            if until.is_some() {
                return Err(Error::invalid("more than one until filter specified"));
            }
            let time = clock::parse_until(text)
                .ok_or_else(|| Error::invalid(format!("invalid filter 'until={text}'")))?;
            until = Some(record::nanoseconds(time));
        }
        let mut report = PruneReport::default();
        for container in self.all.list() {
            let record = container.record();
            let labels = &record.config.labels;
            let spared = record.state.status.is_up()
                || !filters.labels("label", labels)
                || (filters.contains("label!") && filters.labels("label!", labels))
                || until.is_some_and(|until| record.created > until);
            if spared {
                continue;
            }
            let size = self.size(&record.id).await;
            let removed = self.whole(async move |engine| {
                let _operation = container.operation.lock().await;
                if container.is_gone() || container.read(|record| record.state.status.is_up()) {
                    return Ok(false);
                }
                engine.remove(&container, false).await.map(|()| true)
            });
            match removed.await {
                Ok(true) => {
                    report.space_reclaimed += u64::try_from(size).unwrap_or_default();
                    report.containers_deleted.push(record.id);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(id = record.id, "failed to prune a container: {}", error.chain())
                }
            }
        }
        let reclaimed = [("reclaimed".to_owned(), report.space_reclaimed.to_string())].into();
        self.events.send("container", "prune", "", reclaimed);
        Ok(report)
    }
}
