//! Running containers: which there are, whose shim each has, and how the first process of each ended. What is on disk and in the
//! shims is the truth; what is held here is only what a restart finds again.

pub(crate) mod bundle;
mod calls;
mod entry;
mod execs;
mod record;
mod recovery;
mod removal;
pub(crate) mod shim;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_shim_api::client::serve;
use gantry_shim_api::frame::Request;
use gantry_shim_api::messages as m;
use gantry_supervisor_core::event::{Envelope, TaskEvent, wire};
use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Any, Error, Kind, Result, Time};
use gantry_sys::fault::point;
use prost::Message;
use tokio::net::UnixStream;

use crate::events::{Exchange, Told};
use entry::Entry;
use shim::{Environment, Shim};

/// The status of a process that SIGKILL ended.
const KILLED: u32 = 137;

/// How long is waited before a lost connection is made again: a shim that dies closes one thing after the other.
const SOON: Duration = Duration::from_millis(20);

/// The same after a connection that did not hold.
const LATER: Duration = Duration::from_millis(500);

/// All of them.
pub(crate) struct Tasks {
    state: PathBuf,
    environment: Environment,
    events: Arc<Exchange>,
    entries: Mutex<HashMap<(String, String), Arc<Entry>>>,
    /// Whose tasks each shim has, by its address: a shim may serve a pod.
    served: Mutex<HashMap<String, HashSet<(String, String)>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A time of the shim's messages.
pub(crate) fn time(at: Option<m::Timestamp>) -> Time {
    at.map(|at| Time(i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos)))
        .unwrap_or_default()
}

impl Tasks {
    pub(crate) fn new(state: PathBuf, environment: Environment, events: Arc<Exchange>) -> Self {
        Self {
            state,
            environment,
            events,
            entries: Mutex::new(HashMap::new()),
            served: Mutex::new(HashMap::new()),
        }
    }

    /// Whether a container has a task.
    pub(crate) fn has(&self, namespace: &str, id: &str) -> bool {
        lock(&self.entries).contains_key(&(namespace.to_owned(), id.to_owned()))
    }

    fn get(&self, namespace: &str, id: &str) -> Result<Arc<Entry>> {
        let found = lock(&self.entries)
            .get(&(namespace.to_owned(), id.to_owned()))
            .cloned();
        found
            .ok_or_else(|| Error::not_found(format!("no running task found: task {id} not found: not found")))
    }

    /// Whether it is the task of its name, and not one that was removed.
    fn is_current(&self, entry: &Arc<Entry>) -> bool {
        lock(&self.entries)
            .get(&entry.key())
            .is_some_and(|current| Arc::ptr_eq(current, entry))
    }

    /// Takes the task out. Another one that has its name by now is left alone.
    fn remove(&self, entry: &Arc<Entry>) {
        if self.is_current(entry) {
            lock(&self.entries).remove(&entry.key());
            self.events.forget(&entry.namespace, &entry.id, None);
        }
        self.leave(entry);
        entry.set_gone();
    }

    /// Keeps that a shim serves a task.
    fn join(&self, address: &str, namespace: &str, id: &str) {
        let key = (namespace.to_owned(), id.to_owned());
        lock(&self.served)
            .entry(address.to_owned())
            .or_default()
            .insert(key);
    }

    /// Takes that back. Returns whether the shim serves others, so that it must be left alone.
    fn leave(&self, entry: &Entry) -> bool {
        let key = entry.key();
        let mut others = false;
        lock(&self.served).retain(|_, tasks| {
            others |= tasks.remove(&key) && !tasks.is_empty();
            !tasks.is_empty()
        });
        others
    }

    /// Passes on what a shim, or a client in a shim's name, tells.
    pub(crate) fn forward(&self, envelope: Envelope) {
        if envelope.topic == "/tasks/exit"
            && let Some(event) = &envelope.event
            && let Ok(Some(TaskEvent::Exit {
                container_id,
                exec_id,
                pid,
                exit_status,
                exited_at,
            })) = wire::decode(event)
            && let Ok(entry) = self.get(&envelope.namespace, &container_id)
        {
            point("exit heard");
            if !entry.first(&exec_id, pid, exited_at) {
                return;
            }
            let exit = Exit {
                pid,
                exit_status,
                exited_at,
            };
            match exec_id.as_str() {
                "" => self.set_exit(&entry, exit),
                exec => entry.execs.ended(exec, exit),
            }
            return self.events.send(envelope, Told::Exit(container_id, exec_id));
        }
        // Its process is kept by who started it too, if that has lived until the answer.
        if envelope.topic == "/tasks/exec-started"
            && let Some(event) = &envelope.event
            && let Ok(Some(TaskEvent::ExecStarted {
                container_id,
                exec_id,
                pid,
            })) = wire::decode(event)
            && let Ok(entry) = self.get(&envelope.namespace, &container_id)
        {
            let _ = entry.execs.start(&exec_id, pid);
        }
        point("event heard");
        self.events.send(envelope, Told::Once);
    }

    /// Keeps how a first process ended, on disk before anybody is told.
    fn set_exit(&self, entry: &Entry, exit: Exit) {
        if let Err(error) = entry.bundle.keep_exit(&exit) {
            tracing::warn!(
                namespace = entry.namespace,
                id = entry.id,
                "failed to record an exit: {error}"
            );
        }
        entry.set_exit(exit);
    }

    /// Tells an end that nobody may have heard of when it happened.
    fn tell_found(&self, entry: &Entry, exec_id: &str, exit: Exit) {
        match exec_id {
            "" => self.set_exit(entry, exit),
            exec => entry.execs.ended(exec, exit),
        }
        let first = entry.first(exec_id, exit.pid, exit.exited_at);
        let event = wire::TaskExit {
            container_id: entry.id.clone(),
            id: match exec_id {
                "" => entry.id.clone(),
                exec => exec.to_owned(),
            },
            pid: exit.pid,
            exit_status: exit.exit_status,
            exited_at: Some(exit.exited_at.into()),
        };
        if first {
            let envelope = self.envelope(entry, "/tasks/exit", event.to_any());
            self.events
                .send(envelope, Told::Exit(entry.id.clone(), exec_id.to_owned()));
        }
    }

    /// Tells that a task is gone whose shim could not tell it.
    fn tell_deleted(&self, entry: &Entry, exit: Exit) {
        let event = wire::TaskDelete {
            container_id: entry.id.clone(),
            pid: exit.pid,
            exit_status: exit.exit_status,
            exited_at: Some(exit.exited_at.into()),
            ..Default::default()
        };
        self.events
            .send(self.envelope(entry, "/tasks/delete", event.to_any()), Told::Once);
    }

    fn envelope(&self, entry: &Entry, topic: &str, event: Any) -> Envelope {
        Envelope {
            timestamp: Time::now(),
            namespace: entry.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event),
        }
    }

    /// Waits for the end of a task's first process, and for that of its shim, for as long as both take.
    fn watch(self: &Arc<Self>, entry: Arc<Entry>) {
        let tasks = self.clone();
        tokio::spawn(async move {
            while let Some(shim) = entry.shim() {
                if entry.exit().is_none()
                    && let Ok(answer) = shim.wait(&entry.id, "").await
                {
                    let pid = entry.bundle.init_pid().unwrap_or_default();
                    let exit = Exit {
                        pid,
                        exit_status: answer.exit_status,
                        exited_at: time(answer.exited_at),
                    };
                    tasks.set_exit(&entry, exit);
                }
                shim.closed().await;
                if tasks.mend(&entry, &shim).await {
                    continue;
                }
                let _held = entry.operation.lock().await;
                // Gone with its task, or without it.
                if entry.take_shim(&shim) && tasks.is_current(&entry) {
                    tracing::warn!(
                        namespace = entry.namespace,
                        id = entry.id,
                        "the shim has ended before its task was deleted"
                    );
                    tasks.bury(&entry).await;
                }
                return;
            }
        });
    }

    /// Connects again to a shim whose connection is lost. That is no proof of its end: it is gone when nobody listens any more,
    /// and then the answer is no.
    async fn mend(&self, entry: &Arc<Entry>, lost: &Arc<Shim>) -> bool {
        tokio::time::sleep(if lost.held() { SOON } else { LATER }).await;
        loop {
            if !entry.has_shim(lost) {
                // Another one has mended it, or it was deleted.
                return entry.shim().is_some();
            }
            match Shim::connect(lost.bootstrap()) {
                Ok(shim) => {
                    tracing::warn!(
                        namespace = entry.namespace,
                        id = entry.id,
                        "connected to the shim again"
                    );
                    entry.replace_shim(lost, Arc::new(shim));
                    return true;
                }
                Err(error) if error.kind() == Kind::Unavailable => return false,
                Err(error) => {
                    tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
                    tokio::time::sleep(LATER).await;
                }
            }
        }
    }

    /// Finds out how the task of a shim that is gone has ended, and tells it. What the shim recorded is the truth; without a
    /// record the container is killed and what it left undone.
    async fn bury(&self, entry: &Arc<Entry>) {
        let exit = match entry.bundle.exit_record() {
            Some(exit) => exit,
            None => {
                let deleted = shim::delete(
                    entry.binary(),
                    &entry.bundle,
                    &entry.namespace,
                    &entry.id,
                    &self.environment,
                )
                .await;
                match deleted {
                    Ok(answer) => Exit {
                        pid: answer.pid,
                        exit_status: answer.exit_status,
                        exited_at: time(answer.exited_at),
                    },
                    Err(error) => {
                        tracing::warn!(namespace = entry.namespace, id = entry.id, "{}", error.chain());
                        let pid = entry.bundle.init_pid().unwrap_or_default();
                        Exit {
                            pid,
                            exit_status: 255,
                            exited_at: Time::now(),
                        }
                    }
                }
            }
        };
        point("shim buried");
        let exit = entry.exit().unwrap_or(exit);
        // Its execs have died with it, and nobody is left to say so.
        for (exec_id, pid, ended) in entry.execs.started() {
            let exit = ended.unwrap_or(Exit {
                pid,
                exit_status: KILLED,
                exited_at: exit.exited_at,
            });
            self.tell_found(entry, &exec_id, exit);
        }
        self.tell_found(entry, "", exit);
    }
}

/// Hears one shim.
pub(crate) async fn hear(tasks: Arc<Tasks>, stream: UnixStream) {
    serve(stream, |request: Request| {
        let tasks = tasks.clone();
        async move {
            if request.service != gantry_shim_api::EVENTS || request.method != "Forward" {
                return Err(Error::not_implemented(format!(
                    "{}/{}",
                    request.service, request.method
                )));
            }
            let message = m::ForwardRequest::decode(request.payload.as_slice())
                .map_err(|error| Error::invalid("failed to decode an event").with_source(error))?;
            let envelope = message
                .envelope
                .ok_or_else(|| Error::invalid("the event has no envelope"))?;
            tasks.forward(Envelope {
                timestamp: time(envelope.timestamp),
                namespace: envelope.namespace,
                topic: envelope.topic,
                event: envelope.event.map(|any| Any {
                    type_url: any.type_url,
                    value: any.value,
                }),
            });
            Ok(Vec::new())
        }
    })
    .await;
}
