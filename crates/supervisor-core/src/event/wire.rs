//! The messages inside event envelopes (`containerd.events.*`), field for field as containerd has them, and the one
//! translation between them and [`TaskEvent`]. Knows nothing of who sends them.

use prost::Message;

use super::TaskEvent;
use crate::{Any, Error, Labels, Result, Time};

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Since the epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self {
            seconds: time.0.div_euclid(1_000_000_000) as i64,
            nanos: time.0.rem_euclid(1_000_000_000) as i32,
        }
    }
}

impl From<Timestamp> for Time {
    fn from(stamp: Timestamp) -> Self {
        Self(i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanos))
    }
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident $url:literal { $($field:tt)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message)]
        #[allow(missing_docs)]
        pub struct $name { $($field)* }

        impl $name {
            /// The type URL under which it stands in an envelope.
            pub const TYPE_URL: &'static str = $url;

            /// As it stands in an envelope.
            pub fn to_any(&self) -> Any {
                Any { type_url: Self::TYPE_URL.to_owned(), value: self.encode_to_vec() }
            }
        }
    )*};
}

messages! {
    /// `/tasks/create`, as far as it is read here.
    TaskCreate "containerd.events.TaskCreate" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(string, tag = "2")] pub bundle: String,
        #[prost(uint32, tag = "6")] pub pid: u32,
    }
    /// `/tasks/start`
    TaskStart "containerd.events.TaskStart" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(uint32, tag = "2")] pub pid: u32,
    }
    /// `/tasks/delete`
    TaskDelete "containerd.events.TaskDelete" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(uint32, tag = "2")] pub pid: u32,
        #[prost(uint32, tag = "3")] pub exit_status: u32,
        #[prost(message, optional, tag = "4")] pub exited_at: Option<Timestamp>,
        #[prost(string, tag = "5")] pub id: String,
    }
    /// `/tasks/exit`
    TaskExit "containerd.events.TaskExit" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(string, tag = "2")] pub id: String,
        #[prost(uint32, tag = "3")] pub pid: u32,
        #[prost(uint32, tag = "4")] pub exit_status: u32,
        #[prost(message, optional, tag = "5")] pub exited_at: Option<Timestamp>,
    }
    /// `/tasks/oom`
    TaskOom "containerd.events.TaskOOM" {
        #[prost(string, tag = "1")] pub container_id: String,
    }
    /// `/tasks/exec-added`
    TaskExecAdded "containerd.events.TaskExecAdded" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(string, tag = "2")] pub exec_id: String,
    }
    /// `/tasks/exec-started`
    TaskExecStarted "containerd.events.TaskExecStarted" {
        #[prost(string, tag = "1")] pub container_id: String,
        #[prost(string, tag = "2")] pub exec_id: String,
        #[prost(uint32, tag = "3")] pub pid: u32,
    }
    /// `/tasks/paused`
    TaskPaused "containerd.events.TaskPaused" {
        #[prost(string, tag = "1")] pub container_id: String,
    }
    /// `/tasks/resumed`
    TaskResumed "containerd.events.TaskResumed" {
        #[prost(string, tag = "1")] pub container_id: String,
    }
    /// `/containers/create`, without the runtime's options.
    ContainerCreate "containerd.events.ContainerCreate" {
        #[prost(string, tag = "1")] pub id: String,
        #[prost(string, tag = "2")] pub image: String,
        #[prost(message, optional, tag = "3")] pub runtime: Option<ContainerRuntime>,
    }
    /// `/containers/update`
    ContainerUpdate "containerd.events.ContainerUpdate" {
        #[prost(string, tag = "1")] pub id: String,
        #[prost(string, tag = "2")] pub image: String,
        #[prost(btree_map = "string, string", tag = "3")] pub labels: Labels,
        #[prost(string, tag = "4")] pub snapshot_key: String,
    }
    /// `/containers/delete`
    ContainerDelete "containerd.events.ContainerDelete" {
        #[prost(string, tag = "1")] pub id: String,
    }
    /// `/content/create`
    ContentCreate "containerd.events.ContentCreate" {
        #[prost(string, tag = "1")] pub digest: String,
        #[prost(int64, tag = "2")] pub size: i64,
    }
    /// `/content/delete`
    ContentDelete "containerd.events.ContentDelete" {
        #[prost(string, tag = "1")] pub digest: String,
    }
    /// `/images/create`
    ImageCreate "containerd.services.images.v1.ImageCreate" {
        #[prost(string, tag = "1")] pub name: String,
        #[prost(btree_map = "string, string", tag = "2")] pub labels: Labels,
    }
    /// `/images/update`
    ImageUpdate "containerd.services.images.v1.ImageUpdate" {
        #[prost(string, tag = "1")] pub name: String,
        #[prost(btree_map = "string, string", tag = "2")] pub labels: Labels,
    }
    /// `/images/delete`
    ImageDelete "containerd.services.images.v1.ImageDelete" {
        #[prost(string, tag = "1")] pub name: String,
    }
    /// `/namespaces/create`
    NamespaceCreate "containerd.events.NamespaceCreate" {
        #[prost(string, tag = "1")] pub name: String,
        #[prost(btree_map = "string, string", tag = "2")] pub labels: Labels,
    }
    /// `/namespaces/update`
    NamespaceUpdate "containerd.events.NamespaceUpdate" {
        #[prost(string, tag = "1")] pub name: String,
        #[prost(btree_map = "string, string", tag = "2")] pub labels: Labels,
    }
    /// `/namespaces/delete`
    NamespaceDelete "containerd.events.NamespaceDelete" {
        #[prost(string, tag = "1")] pub name: String,
    }
    /// `/snapshot/prepare`
    SnapshotPrepare "containerd.events.SnapshotPrepare" {
        #[prost(string, tag = "1")] pub key: String,
        #[prost(string, tag = "2")] pub parent: String,
        #[prost(string, tag = "5")] pub snapshotter: String,
    }
    /// `/snapshot/commit`
    SnapshotCommit "containerd.events.SnapshotCommit" {
        #[prost(string, tag = "1")] pub key: String,
        #[prost(string, tag = "2")] pub name: String,
        #[prost(string, tag = "5")] pub snapshotter: String,
    }
    /// `/snapshot/remove`
    SnapshotRemove "containerd.events.SnapshotRemove" {
        #[prost(string, tag = "1")] pub key: String,
        #[prost(string, tag = "5")] pub snapshotter: String,
    }
}

/// The runtime in [`ContainerCreate`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerRuntime {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A task event as topic and message.
pub fn encode(event: &TaskEvent) -> (&'static str, Any) {
    match event.clone() {
        TaskEvent::Create { container_id, pid } => (
            "/tasks/create",
            TaskCreate {
                container_id,
                pid,
                bundle: String::new(),
            }
            .to_any(),
        ),
        TaskEvent::Start { container_id, pid } => ("/tasks/start", TaskStart { container_id, pid }.to_any()),
        TaskEvent::ExecAdded {
            container_id,
            exec_id,
        } => (
            "/tasks/exec-added",
            TaskExecAdded {
                container_id,
                exec_id,
            }
            .to_any(),
        ),
        TaskEvent::ExecStarted {
            container_id,
            exec_id,
            pid,
        } => (
            "/tasks/exec-started",
            TaskExecStarted {
                container_id,
                exec_id,
                pid,
            }
            .to_any(),
        ),
        TaskEvent::Exit {
            container_id,
            exec_id,
            pid,
            exit_status,
            exited_at,
        } => {
            let id = id_of_exit(&container_id, exec_id);
            let exited_at = Some(exited_at.into());
            (
                "/tasks/exit",
                TaskExit {
                    container_id,
                    id,
                    pid,
                    exit_status,
                    exited_at,
                }
                .to_any(),
            )
        }
        TaskEvent::Delete {
            container_id,
            pid,
            exit_status,
            exited_at,
        } => {
            let id = container_id.clone();
            let exited_at = Some(exited_at.into());
            (
                "/tasks/delete",
                TaskDelete {
                    container_id,
                    pid,
                    exit_status,
                    exited_at,
                    id,
                }
                .to_any(),
            )
        }
        TaskEvent::Oom { container_id } => ("/tasks/oom", TaskOom { container_id }.to_any()),
        TaskEvent::Paused { container_id } => ("/tasks/paused", TaskPaused { container_id }.to_any()),
        TaskEvent::Resumed { container_id } => ("/tasks/resumed", TaskResumed { container_id }.to_any()),
    }
}

/// The task event in a message; `None` when it is none. `InvalidArgument` when it cannot be read. A deleted exec is none:
/// an engine hears of it from its own call.
pub fn decode(event: &Any) -> Result<Option<TaskEvent>> {
    fn read<M: Message + Default>(event: &Any) -> Result<M> {
        M::decode(event.value.as_slice()).map_err(|source| {
            Error::invalid(format!("failed to decode event {}", event.type_url)).with_source(source)
        })
    }
    let name = event.type_url.rsplit('/').next().unwrap_or_default();
    Ok(Some(match name {
        TaskCreate::TYPE_URL => {
            let TaskCreate {
                container_id, pid, ..
            } = read(event)?;
            TaskEvent::Create { container_id, pid }
        }
        TaskStart::TYPE_URL => {
            let TaskStart { container_id, pid } = read(event)?;
            TaskEvent::Start { container_id, pid }
        }
        TaskExecAdded::TYPE_URL => {
            let TaskExecAdded {
                container_id,
                exec_id,
            } = read(event)?;
            TaskEvent::ExecAdded {
                container_id,
                exec_id,
            }
        }
        TaskExecStarted::TYPE_URL => {
            let TaskExecStarted {
                container_id,
                exec_id,
                pid,
            } = read(event)?;
            TaskEvent::ExecStarted {
                container_id,
                exec_id,
                pid,
            }
        }
        TaskExit::TYPE_URL => {
            let TaskExit {
                container_id,
                id,
                pid,
                exit_status,
                exited_at,
            } = read(event)?;
            let exec_id = if id == container_id { String::new() } else { id };
            let exited_at = exited_at.map(Time::from).unwrap_or_default();
            TaskEvent::Exit {
                container_id,
                exec_id,
                pid,
                exit_status,
                exited_at,
            }
        }
        TaskDelete::TYPE_URL => {
            let TaskDelete {
                container_id,
                pid,
                exit_status,
                exited_at,
                id,
            } = read(event)?;
            if !id.is_empty() && id != container_id {
                return Ok(None);
            }
            let exited_at = exited_at.map(Time::from).unwrap_or_default();
            TaskEvent::Delete {
                container_id,
                pid,
                exit_status,
                exited_at,
            }
        }
        TaskOom::TYPE_URL => TaskEvent::Oom {
            container_id: read::<TaskOom>(event)?.container_id,
        },
        TaskPaused::TYPE_URL => TaskEvent::Paused {
            container_id: read::<TaskPaused>(event)?.container_id,
        },
        TaskResumed::TYPE_URL => TaskEvent::Resumed {
            container_id: read::<TaskResumed>(event)?.container_id,
        },
        _ => return Ok(None),
    }))
}

/// What containerd's message names as the process: the init has the container's id.
fn id_of_exit(container_id: &str, exec_id: String) -> String {
    match exec_id.is_empty() {
        true => container_id.to_owned(),
        false => exec_id,
    }
}

/// Fields of a message that filters may ask for (`event.container_id`, `event.name` …).
pub fn field(event: &Any, name: &str) -> Option<String> {
    if let Ok(Some(task)) = decode(event) {
        let (container, id) = match task {
            TaskEvent::Exit {
                container_id,
                exec_id,
                ..
            } => {
                let id = id_of_exit(&container_id, exec_id);
                (container_id, id)
            }
            TaskEvent::ExecAdded {
                container_id,
                exec_id,
            }
            | TaskEvent::ExecStarted {
                container_id,
                exec_id,
                ..
            } => (container_id, exec_id),
            TaskEvent::Create { container_id, .. }
            | TaskEvent::Start { container_id, .. }
            | TaskEvent::Delete { container_id, .. }
            | TaskEvent::Oom { container_id }
            | TaskEvent::Paused { container_id }
            | TaskEvent::Resumed { container_id } => (container_id.clone(), container_id),
        };
        return match name {
            "container_id" => Some(container),
            "id" | "exec_id" => Some(id),
            _ => None,
        };
    }
    // The first field of all the other messages is the string that names the object.
    let first = match event.type_url.rsplit(['.', '/']).next().unwrap_or_default() {
        "ContainerCreate" | "ContainerUpdate" | "ContainerDelete" => "id",
        "ContentCreate" | "ContentDelete" => "digest",
        "SnapshotPrepare" | "SnapshotCommit" | "SnapshotRemove" => "key",
        "ImageCreate" | "ImageUpdate" | "ImageDelete" => "name",
        "NamespaceCreate" | "NamespaceUpdate" | "NamespaceDelete" => "name",
        _ => return None,
    };
    if first != name {
        return None;
    }
    ContainerDelete::decode(event.value.as_slice())
        .ok()
        .map(|message| message.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_events_survive_the_wire() {
        let id = || "c1".to_owned();
        let at = Time(1_700_000_000_123_456_789);
        for event in [
            TaskEvent::Create {
                container_id: id(),
                pid: 7,
            },
            TaskEvent::Start {
                container_id: id(),
                pid: 7,
            },
            TaskEvent::ExecAdded {
                container_id: id(),
                exec_id: "e".into(),
            },
            TaskEvent::ExecStarted {
                container_id: id(),
                exec_id: "e".into(),
                pid: 8,
            },
            TaskEvent::Exit {
                container_id: id(),
                exec_id: String::new(),
                pid: 7,
                exit_status: 42,
                exited_at: at,
            },
            TaskEvent::Exit {
                container_id: id(),
                exec_id: "e".into(),
                pid: 8,
                exit_status: 137,
                exited_at: at,
            },
            TaskEvent::Delete {
                container_id: id(),
                pid: 7,
                exit_status: 42,
                exited_at: at,
            },
            TaskEvent::Oom { container_id: id() },
            TaskEvent::Paused { container_id: id() },
            TaskEvent::Resumed { container_id: id() },
        ] {
            let (topic, any) = encode(&event);
            assert!(topic.starts_with("/tasks/"));
            assert_eq!(field(&any, "container_id").as_deref(), Some("c1"));
            assert_eq!(decode(&any).unwrap(), Some(event));
        }
        assert_eq!(decode(&ImageDelete { name: "x".into() }.to_any()).unwrap(), None);
        assert_eq!(
            field(&ImageDelete { name: "x".into() }.to_any(), "name").as_deref(),
            Some("x")
        );
        let bad = Any {
            type_url: TaskExit::TYPE_URL.into(),
            value: vec![0xff],
        };
        assert!(decode(&bad).is_err());
    }
}
