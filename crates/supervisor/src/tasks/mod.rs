//! Running containers: which there are, whose shim each has, and how the first process of each ended. What is on disk and in the
//! shims is the truth; what is held here is only what a restart finds again.

pub(crate) mod bundle;
mod calls;
mod recovery;
pub(crate) mod shim;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_shim_api::client::serve;
use gantry_shim_api::frame::Request;
use gantry_shim_api::messages as m;
use gantry_supervisor_core::event::{Envelope, wire};
use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Any, Error, Result, Time};
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::events::Exchange;
use bundle::Bundle;
use shim::{Environment, Shim};

/// How many ends are remembered for each task: those that a shim may tell twice, of a container with many execs.
const TOLD: usize = 128;

/// One task.
pub(crate) struct Entry {
    namespace: String,
    id: String,
    bundle: Bundle,
    binary: PathBuf,
    /// None once the shim is gone.
    shim: Mutex<Option<Arc<Shim>>>,
    /// How the first process ended, once it has.
    exit: watch::Sender<Option<Exit>>,
    /// Ends that were told: exec, pid, time. Shims tell at least once; we tell once.
    told: Mutex<VecDeque<(String, u32, Time)>>,
}

/// All of them.
pub(crate) struct Tasks {
    state: PathBuf,
    environment: Environment,
    events: Arc<Exchange>,
    entries: Mutex<HashMap<(String, String), Arc<Entry>>>,
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

impl Entry {
    fn new(namespace: &str, id: &str, bundle: Bundle, binary: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            bundle,
            binary,
            shim: Mutex::new(None),
            exit: watch::Sender::new(None),
            told: Mutex::new(VecDeque::new()),
        })
    }

    /// The shim, if it is there.
    fn shim(&self) -> Option<Arc<Shim>> {
        lock(&self.shim).clone()
    }

    fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Keeps how the first process ended. The first word holds.
    fn set_exit(&self, exit: Exit) {
        self.exit.send_if_modified(|kept| {
            let new = kept.is_none();
            kept.get_or_insert(exit);
            new
        });
    }

    /// Whether an end is told for the first time.
    fn first(&self, exec_id: &str, pid: u32, at: Time) -> bool {
        let mut told = lock(&self.told);
        let end = (exec_id.to_owned(), pid, at);
        if told.contains(&end) {
            return false;
        }
        if told.len() == TOLD {
            told.pop_front();
        }
        told.push_back(end);
        true
    }
}

impl Tasks {
    pub(crate) fn new(state: PathBuf, environment: Environment, events: Arc<Exchange>) -> Self {
        Self {
            state,
            environment,
            events,
            entries: Mutex::new(HashMap::new()),
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

    fn remove(&self, entry: &Entry) {
        lock(&self.entries).remove(&(entry.namespace.clone(), entry.id.clone()));
        self.events.forget(&entry.namespace, &entry.id);
    }

    /// Passes on what a shim, or a client in a shim's name, tells.
    pub(crate) fn forward(&self, envelope: Envelope) {
        if envelope.topic == "/tasks/exit"
            && let Some(event) = &envelope.event
            && let Ok(Some(gantry_supervisor_core::event::TaskEvent::Exit {
                container_id,
                exec_id,
                pid,
                exit_status,
                exited_at,
            })) = wire::decode(event)
            && let Ok(entry) = self.get(&envelope.namespace, &container_id)
        {
            if !entry.first(&exec_id, pid, exited_at) {
                return;
            }
            if exec_id.is_empty() {
                entry.set_exit(Exit {
                    pid,
                    exit_status,
                    exited_at,
                });
            }
        }
        self.events.send(envelope);
    }

    /// Tells an end that nobody could hear when it happened, now and to those who come later.
    fn tell_found(&self, entry: &Entry, exit: Exit) {
        entry.set_exit(exit);
        // Its shim may have told it already, to nobody: who comes later is told all the same.
        let first = entry.first("", exit.pid, exit.exited_at);
        let event = wire::TaskExit {
            container_id: entry.id.clone(),
            id: entry.id.clone(),
            pid: exit.pid,
            exit_status: exit.exit_status,
            exited_at: Some(exit.exited_at.into()),
        };
        let envelope = Envelope {
            timestamp: Time::now(),
            namespace: entry.namespace.clone(),
            topic: "/tasks/exit".to_owned(),
            event: Some(event.to_any()),
        };
        self.events.found(&entry.id, envelope.clone());
        if first {
            self.events.send(envelope);
        }
    }

    /// Waits for the end of a task's first process, and for that of its shim, for as long as both take.
    fn watch(self: &Arc<Self>, entry: Arc<Entry>) {
        let tasks = self.clone();
        tokio::spawn(async move {
            let Some(shim) = entry.shim() else { return };
            if let Ok(answer) = shim.wait(&entry.id, "").await {
                let pid = entry.bundle.init_pid().unwrap_or_default();
                entry.set_exit(Exit {
                    pid,
                    exit_status: answer.exit_status,
                    exited_at: time(answer.exited_at),
                });
            }
            shim.closed().await;
            // Gone with its task, or without it.
            if lock(&entry.shim).take().is_some() && tasks.has(&entry.namespace, &entry.id) {
                tracing::warn!(
                    namespace = entry.namespace,
                    id = entry.id,
                    "the shim has ended before its task was deleted"
                );
                tasks.bury(&entry).await;
            }
        });
    }

    /// Finds out how the task of a shim that is gone has ended, and tells it. What the shim recorded is the truth; without a
    /// record the container is killed and what it left undone.
    async fn bury(&self, entry: &Arc<Entry>) {
        let exit = match entry.bundle.exit_record() {
            Some(exit) => exit,
            None => {
                let deleted = shim::delete(
                    &entry.binary,
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
        self.tell_found(entry, entry.exit().unwrap_or(exit));
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
