//! What happened, as containerd tells it: envelopes with a topic and one message.

pub mod wire;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, Stream, StreamExt};

use crate::{Any, Result, Time};

/// One event with where and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// When it happened.
    pub timestamp: Time,
    /// In which namespace.
    pub namespace: String,
    /// For example `/tasks/exit`.
    pub topic: String,
    /// The message, protobuf `containerd.events.*`.
    pub event: Option<Any>,
}

/// What a task event says, decoded: the part of the messages that an engine acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEvent {
    /// `/tasks/create`
    Create {
        /// The container.
        container_id: String,
        /// Its init.
        pid: u32,
    },
    /// `/tasks/start`
    Start {
        /// The container.
        container_id: String,
        /// Its init.
        pid: u32,
    },
    /// `/tasks/exec-added`
    ExecAdded {
        /// The container.
        container_id: String,
        /// The exec.
        exec_id: String,
    },
    /// `/tasks/exec-started`
    ExecStarted {
        /// The container.
        container_id: String,
        /// The exec.
        exec_id: String,
        /// Its process.
        pid: u32,
    },
    /// `/tasks/exit`: of the init when `exec_id` is empty, otherwise of an exec.
    Exit {
        /// The container.
        container_id: String,
        /// The exec; empty for the init.
        exec_id: String,
        /// The process that exited.
        pid: u32,
        /// Exit code, or 128 + signal.
        exit_status: u32,
        /// When.
        exited_at: Time,
    },
    /// `/tasks/delete`
    Delete {
        /// The container.
        container_id: String,
        /// The process.
        pid: u32,
        /// Exit code.
        exit_status: u32,
        /// When it exited.
        exited_at: Time,
    },
    /// `/tasks/oom`
    Oom {
        /// The container.
        container_id: String,
    },
    /// `/tasks/paused`
    Paused {
        /// The container.
        container_id: String,
    },
    /// `/tasks/resumed`
    Resumed {
        /// The container.
        container_id: String,
    },
}

/// A decoded event of a task, with the time of its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedTaskEvent {
    /// When it was sent.
    pub timestamp: Time,
    /// What happened.
    pub event: TaskEvent,
}

/// The task events of a stream; an envelope that is none is left out.
pub fn decode_tasks(
    stream: impl Stream<Item = Result<Envelope>> + Send + 'static,
) -> BoxStream<'static, Result<TimedTaskEvent>> {
    let decode = |envelope: Result<Envelope>| async move {
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(error) => return Some(Err(error)),
        };
        match wire::decode(envelope.event.as_ref()?) {
            Ok(event) => Some(Ok(TimedTaskEvent {
                timestamp: envelope.timestamp,
                event: event?,
            })),
            Err(error) => Some(Err(error)),
        }
    };
    stream.filter_map(decode).boxed()
}

/// The events of a supervisor.
#[async_trait]
pub trait Events: Send + Sync {
    /// All events of every namespace that any of the filters matches (none: all), from now on. The stream ends when the
    /// peer goes away, and with `Unavailable` when the subscriber was too slow; it then subscribes anew and compares with
    /// [`crate::task::Tasks::list`]. A supervisor of ours begins with what the subscriber may have missed: the ends of processes
    /// that are not deleted yet, and events of tasks that nobody has heard.
    async fn subscribe(&self, filters: &[String]) -> Result<BoxStream<'static, Result<Envelope>>>;
    /// The task events of this handle's namespace, decoded: subscribed once this returns.
    async fn subscribe_tasks(&self) -> Result<BoxStream<'static, Result<TimedTaskEvent>>>;
    /// Publishes one in this handle's namespace.
    async fn publish(&self, topic: &str, event: Any) -> Result<()>;
    /// Publishes one with the time and namespace it carries.
    async fn forward(&self, envelope: Envelope) -> Result<()>;
}
