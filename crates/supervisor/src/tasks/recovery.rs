//! What a start does with the bundles it finds: living shims are connected to again, ends that nobody heard of are told, what was
//! half-made is taken away.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use gantry_supervisor_core::task::Exit;

use super::bundle::Bundle;
use super::calls::STOPPED;
use super::shim::{self, Shim};
use super::{Entry, Tasks, lock, time};
use crate::metadata::containers;
use crate::metadata::db::Db;

impl Tasks {
    /// Goes through all bundles, all at once.
    pub(crate) async fn recover(self: &Arc<Self>, db: &Db) {
        let top = self.state.join("shim");
        let mut found = Vec::new();
        for namespace in names(&top) {
            for id in names(&top.join(&namespace)) {
                found.push((namespace.clone(), id));
            }
        }
        join_all(
            found
                .into_iter()
                .map(|(namespace, id)| self.recover_one(db, namespace, id)),
        )
        .await;
    }

    async fn recover_one(self: &Arc<Self>, db: &Db, namespace: String, id: String) {
        let bundle = Bundle::new(&self.state, &namespace, &id);
        let binary = bundle.shim_binary().unwrap_or_default();
        let entry = Entry::new(&namespace, &id, bundle, binary);
        let key = (namespace.clone(), id.clone());
        let known = db
            .call(move |tx| containers::get(tx, &key.0, &key.1))
            .await
            .is_ok();
        let connected = entry
            .bundle
            .bootstrap()
            .and_then(|bootstrap| Shim::connect(&bootstrap).ok());
        match connected {
            Some(shim) if known => {
                let shim = Arc::new(shim);
                *lock(&entry.shim) = Some(shim.clone());
                lock(&self.entries).insert((namespace, id.clone()), entry.clone());
                match shim.state(&id, "").await {
                    // It waits to be deleted; who would have deleted it may not know.
                    Ok(state) if state.status == STOPPED => {
                        let exited_at = time(state.exited_at);
                        self.tell_found(
                            &entry,
                            Exit {
                                pid: state.pid,
                                exit_status: state.exit_status,
                                exited_at,
                            },
                        );
                    }
                    Ok(_) => {}
                    // A create that was cut off before the container was made.
                    Err(error) => {
                        tracing::warn!(
                            namespace = entry.namespace,
                            id,
                            "undoing a task that was not made: {}",
                            error.chain()
                        );
                        *lock(&entry.shim) = None;
                        shim.shutdown_now(&id).await;
                        self.discard(&entry).await;
                        return;
                    }
                }
                self.watch(entry);
            }
            None if known && entry.bundle.bootstrap().is_some() => {
                lock(&self.entries).insert((namespace, id), entry.clone());
                self.bury(&entry).await;
            }
            connected => {
                if let Some(shim) = connected {
                    shim.shutdown_now(&id).await;
                }
                self.discard(&entry).await;
            }
        }
    }

    /// Takes away what is left of a task that nobody asks for.
    async fn discard(&self, entry: &Arc<Entry>) {
        if let Err(error) = shim::delete(
            &entry.binary,
            &entry.bundle,
            &entry.namespace,
            &entry.id,
            &self.environment,
        )
        .await
        {
            tracing::debug!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
        }
        self.remove(entry);
        if let Err(error) = entry.bundle.remove() {
            tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
