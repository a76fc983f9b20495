//! What a start does with the bundles it finds: living shims are connected to again, ends that nobody heard of are told, what was
//! half-made is taken away. Nothing is taken from a container but when it is certain that its shim is gone, or that it was never
//! made: who does not answer in time may do so later.
//!
//! ```text
//! bootstrap.json   shim                  record of the container   what is done
//! none             –                     –                         never made: its processes are ended, all is removed
//! there            gone, no init.pid     there                     never made: removed
//! there            gone                  there                     exit.json, or the shim's `delete`, says how it ended
//! there            gone, or there        none                      nobody asks for it: ended and removed
//! there            answers: no task      there                     the create was cut off: ended and removed
//! there            answers: stopped      there                     told as found, kept until it is deleted
//! there            answers               there                     kept
//! there            does not answer       there                     kept, and asked again and again
//! ```
//!
//! A removal that was begun is gone on with, whatever else is found.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gantry_supervisor_core::Kind;
use gantry_supervisor_core::task::Exit;
use gantry_sys::fault::point;

use super::bundle::{self, Bootstrap, Bundle, Intent};
use super::calls::STOPPED;
use super::entry::Entry;
use super::shim::Shim;
use super::{Tasks, lock, time};
use crate::metadata::containers;
use crate::metadata::db::Db;

/// How many bundles are looked at at once.
const AT_ONCE: usize = 64;

/// The time between two attempts to reach a shim that is there and accepts nobody.
const AGAIN: Duration = Duration::from_secs(1);

impl Tasks {
    /// Goes through all bundles.
    pub(crate) async fn recover(self: &Arc<Self>, db: &Db) {
        let top = self.state.join("shim");
        let mut found = Vec::new();
        for namespace in names(&top) {
            let folder = top.join(&namespace);
            for id in names(&folder) {
                if !bundle::sweep(&folder, &id) {
                    found.push((namespace.clone(), id));
                }
            }
        }
        for (namespace, id) in &found {
            if let Some(bootstrap) = Bundle::new(&self.state, namespace, id).bootstrap() {
                self.join(&bootstrap.address, namespace, id);
            }
        }
        let sockets: HashSet<PathBuf> = stream::iter(found)
            .map(|(namespace, id)| self.recover_one(db, namespace, id))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        self.sweep(&sockets);
    }

    /// Returns the socket of the shim when it is kept.
    async fn recover_one(self: &Arc<Self>, db: &Db, namespace: String, id: String) -> Option<PathBuf> {
        let bundle = Bundle::new(&self.state, &namespace, &id);
        let binary = bundle.shim_binary().unwrap_or_default();
        let entry = Entry::new(&namespace, &id, bundle);
        let _ = entry.binary.set(binary);
        let key = (namespace.clone(), id.clone());
        let known = match db.call(move |tx| containers::get(tx, &key.0, &key.1)).await {
            Ok(_) => true,
            Err(error) if error.kind() == Kind::NotFound => false,
            Err(error) => {
                tracing::warn!(namespace, id, "{}", error.chain());
                true
            }
        };
        let intent = entry.bundle.intent();
        let Some(bootstrap) = entry.bundle.bootstrap() else {
            // Create is only asked of a shim whose address was kept: there is no container.
            tracing::info!(namespace, id, "undoing a task that was not made");
            self.discard(&entry, None).await;
            return None;
        };
        let connected = Shim::connect(&bootstrap);
        if intent == Some(Intent::Undo) {
            self.discard(&entry, connected.ok().map(Arc::new)).await;
            return None;
        }
        if !known {
            tracing::info!(namespace, id, "removing the task of a container that is gone");
            self.discard(&entry, connected.ok().map(Arc::new)).await;
            return None;
        }
        lock(&self.entries).insert((namespace, id), entry.clone());
        let socket = bootstrap.socket().to_owned();
        match connected {
            Ok(shim) if intent == Some(Intent::Delete) => {
                entry.set_shim(Some(Arc::new(shim)));
                if self.delete_on(&entry).await {
                    return None;
                }
                if let Some(shim) = entry.shim() {
                    return self.found_shim(entry, shim).await.then_some(socket);
                }
            }
            Ok(shim) => return self.found_shim(entry, Arc::new(shim)).await.then_some(socket),
            Err(error) if error.kind() == Kind::Unavailable && !entry.bundle.was_made() => {
                tracing::info!(
                    namespace = entry.namespace,
                    id = entry.id,
                    "undoing a task that was not made: {}",
                    error.chain()
                );
                self.discard(&entry, None).await;
                return None;
            }
            Err(error) if error.kind() == Kind::Unavailable => {
                tracing::warn!(
                    namespace = entry.namespace,
                    id = entry.id,
                    "the shim has ended before its task was deleted: {}",
                    error.chain()
                );
                self.bury(&entry).await;
                if intent == Some(Intent::Delete) && self.delete_on(&entry).await {
                    return None;
                }
            }
            Err(error) => {
                tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
                tokio::spawn(self.clone().reach(entry, bootstrap));
            }
        }
        Some(socket)
    }

    /// Goes on with a deletion. Returns whether the task is gone.
    async fn delete_on(&self, entry: &Arc<Entry>) -> bool {
        tracing::info!(
            namespace = entry.namespace,
            id = entry.id,
            "going on with a deletion"
        );
        match self.unmake(entry).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
                false
            }
        }
    }

    /// Takes a living shim up again. Returns whether its task is kept.
    async fn found_shim(self: &Arc<Self>, entry: Arc<Entry>, shim: Arc<Shim>) -> bool {
        point("shim found");
        entry.set_shim(Some(shim.clone()));
        match shim.state(&entry.id, "").await {
            // It waits to be deleted; who would have deleted it may not know.
            Ok(state) if state.status == STOPPED => {
                let exit = Exit {
                    pid: state.pid,
                    exit_status: state.exit_status,
                    exited_at: time(state.exited_at),
                };
                self.found_execs(&entry, &shim).await;
                self.tell_found(&entry, "", exit);
            }
            Ok(_) => self.found_execs(&entry, &shim).await,
            Err(error) if error.kind() == Kind::NotFound => {
                tracing::info!(
                    namespace = entry.namespace,
                    id = entry.id,
                    "undoing a task that was not made: {}",
                    error.chain()
                );
                entry.set_shim(None);
                self.discard(&entry, Some(shim)).await;
                return false;
            }
            Err(error) => {
                tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
            }
        }
        self.watch(entry);
        true
    }

    /// Asks for the execs: who wants to hear of their ends may have heard nothing of them.
    async fn found_execs(&self, entry: &Arc<Entry>, shim: &Shim) {
        for exec_id in entry.execs.added() {
            match shim.state(&entry.id, &exec_id).await {
                Ok(state) if state.status == STOPPED => {
                    let exit = Exit {
                        pid: state.pid,
                        exit_status: state.exit_status,
                        exited_at: time(state.exited_at),
                    };
                    self.tell_found(entry, &exec_id, exit);
                }
                // Started just before we died, so that its process was not kept.
                Ok(state) if state.pid != 0 => {
                    if let Err(error) = entry.execs.start(&exec_id, state.pid) {
                        tracing::warn!(id = entry.id, "failed to keep the process of an exec: {error}");
                    }
                }
                Err(error) if error.kind() == Kind::NotFound => entry.execs.remove(&exec_id),
                // Once more would take as long.
                Err(error) if error.kind() == Kind::DeadlineExceeded => return,
                _ => {}
            }
        }
    }

    /// Tries until the shim can be connected to, is gone, or the task was deleted.
    async fn reach(self: Arc<Self>, entry: Arc<Entry>, bootstrap: Bootstrap) {
        while self.has(&entry.namespace, &entry.id) {
            tokio::time::sleep(AGAIN).await;
            match Shim::connect(&bootstrap) {
                Ok(shim) => {
                    self.found_shim(entry, Arc::new(shim)).await;
                    return;
                }
                Err(error) if error.kind() == Kind::Unavailable => return self.bury(&entry).await,
                Err(_) => {}
            }
        }
    }

    /// Removes sockets that no shim we know of listens on, and nobody else.
    fn sweep(&self, kept: &HashSet<PathBuf>) {
        let folder = &self.environment.sockets;
        for path in names(folder).into_iter().map(|name| folder.join(name)) {
            let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
            if !kept.contains(&path) && gantry_sys::socket::connect_now(&path).is_err_and(refused) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
