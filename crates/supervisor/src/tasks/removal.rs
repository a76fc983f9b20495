//! How tasks are taken away: one that has ended, and one that was not made or that nobody asks for. What is begun is kept in the
//! bundle, and a restart goes on with it.

use std::sync::Arc;

use gantry_shim_api::messages as m;
use gantry_supervisor_core::task::{Exit, Status};
use gantry_supervisor_core::{Error, Kind, Result};
use gantry_sys::fault::point;

use super::bundle::Intent;
use super::calls::{named, status};
use super::entry::Entry;
use super::shim::{self, RUNTIME, Shim};
use super::{Tasks, time};
use crate::supervisor::blocking;

impl Tasks {
    /// Takes the task away. Only one does, and only with the task that was there when it was asked to.
    pub(super) async fn unmake(&self, entry: &Arc<Entry>) -> Result<Exit> {
        let id = &entry.id;
        let _held = entry.operation.lock().await;
        if !self.is_current(entry) {
            return Err(Error::not_found(format!(
                "no running task found: task {id} not found: not found"
            )));
        }
        point("task to be deleted");
        // From here on a restart goes on with it: nobody may ask again.
        self.intend(entry, Intent::Delete).await;
        let deleted = self.delete_init(entry).await;
        let exit = match deleted {
            Ok(exit) => exit,
            Err(error) => {
                self.give_up(entry).await;
                return Err(error);
            }
        };
        point("task deleted");
        // Asked for meanwhile, it is what it was: stopped.
        entry.set_exit(exit);
        let shim = entry.shim();
        entry.set_shim(None);
        let shared = self.leave(entry);
        match shim {
            // With the tasks of others it goes on.
            Some(_) if shared => {}
            Some(shim) => shim.shutdown(id).await,
            None => {
                let (binary, environment) = (entry.binary(), &self.environment);
                if let Err(error) =
                    shim::delete(binary, &entry.bundle, &entry.namespace, id, environment).await
                {
                    tracing::warn!(id, "{}", error.chain());
                }
                self.tell_deleted(entry, exit);
            }
        }
        point("shim ended");
        let bundle = entry.bundle.clone();
        blocking(move || bundle.remove(shared)).await?;
        point("bundle removed");
        self.remove(entry);
        Ok(exit)
    }

    /// Has the shim delete what has ended. Without a shim, when it is certain that there is none any more, what is known of
    /// the end is the answer.
    async fn delete_init(&self, entry: &Arc<Entry>) -> Result<Exit> {
        let id = &entry.id;
        let mut again = false;
        while let Some(shim) = entry.shim() {
            let deleted: Result<m::DeleteResponse> = shim.call("Delete", &named(id, ""), RUNTIME).await;
            match deleted {
                Ok(answer) => {
                    return Ok(Exit {
                        pid: answer.pid,
                        exit_status: answer.exit_status,
                        exited_at: time(answer.exited_at),
                    });
                }
                Err(_) if shim.is_lost() => {
                    if !self.mend(entry, &shim).await {
                        if entry.take_shim(&shim) {
                            self.bury(entry).await;
                        }
                    } else if std::mem::replace(&mut again, true) {
                        return Err(Error::unavailable(format!(
                            "the connection to the shim of task {id} does not hold"
                        )));
                    }
                }
                // It was told before.
                Err(error) if error.kind() == Kind::NotFound => break,
                // Some shims say so without the code for it.
                Err(error) => {
                    let state = shim.state(id, "").await;
                    let runs = state.is_ok_and(|state| status(state.status) != Status::Stopped);
                    return Err(match runs {
                        true => Error::failed_precondition(error.chain()),
                        false => error,
                    });
                }
            }
        }
        let known = entry.exit().or_else(|| entry.bundle.exit_record());
        Ok(known.unwrap_or_default())
    }

    /// Takes away what is left of a task that nobody asks for. Its shim is ended if it serves nobody else, and its processes
    /// too: a runtime that is still making the container would go on after the `delete`, and what it makes would stay.
    pub(super) async fn discard(&self, entry: &Arc<Entry>, shim: Option<Arc<Shim>>) {
        let warn =
            |error: Error| tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
        // What it was is gone with its shim: a restart must not take the rest for a task that has ended.
        self.intend(entry, Intent::Undo).await;
        let shared = self.leave(entry);
        if !shared {
            if let Some(shim) = shim {
                shim.shutdown_now(&entry.id).await;
            }
            let bundle = entry.bundle.clone();
            let ended = blocking(move || {
                bundle.end_processes();
                Ok::<_, Error>(())
            });
            if let Err(error) = ended.await {
                warn(error);
            }
        }
        point("processes ended");
        let (binary, environment) = (entry.binary(), &self.environment);
        if let Err(error) =
            shim::delete(binary, &entry.bundle, &entry.namespace, &entry.id, environment).await
        {
            tracing::debug!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
        }
        point("remains deleted");
        let bundle = entry.bundle.clone();
        if let Err(error) = blocking(move || bundle.remove(shared)).await {
            warn(error);
        }
        self.remove(entry);
    }

    /// Keeps what is begun. A disk that does not take that is no reason not to do it.
    async fn intend(&self, entry: &Entry, intent: Intent) {
        let bundle = entry.bundle.clone();
        if let Err(error) = blocking(move || bundle.intend(intent)).await {
            tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
        }
    }

    /// It is not done after all.
    async fn give_up(&self, entry: &Entry) {
        let bundle = entry.bundle.clone();
        let _ = blocking(move || {
            bundle.intend_no_more();
            Ok::<_, Error>(())
        })
        .await;
    }
}
