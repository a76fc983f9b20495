//! The one translation between the supervisor's types and containerd's messages, and between kinds of error and gRPC
//! codes. Pure.

use std::error::Error as _;

use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::content;
use gantry_supervisor_core::event::Envelope;
use gantry_supervisor_core::event::wire::Timestamp;
use gantry_supervisor_core::image::{Descriptor, Image};
use gantry_supervisor_core::lease::{Lease, Resource};
use gantry_supervisor_core::snapshot::{self, Mount, SnapshotKind};
use gantry_supervisor_core::task::{Process, Status as TaskStatus, Stdio};
use gantry_supervisor_core::{Any, Error, Kind, Time};
use tonic::{Code, Status};

use crate::proto::containerd::services;
use crate::proto::containerd::types;
use crate::proto::containerd::v1::types as task_types;

/// The gRPC code of a kind.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::NotFound => Code::NotFound,
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition | Kind::NotModified => Code::FailedPrecondition,
        Kind::Conflict => Code::Aborted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::NotImplemented => Code::Unimplemented,
        Kind::DataLoss => Code::DataLoss,
        Kind::Canceled => Code::Cancelled,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        _ => Code::Internal,
    }
}

/// The kind of a gRPC code.
pub fn kind(code: Code) -> Kind {
    match code {
        Code::NotFound => Kind::NotFound,
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Conflict,
        Code::Unavailable => Kind::Unavailable,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::ResourceExhausted,
        Code::OutOfRange => Kind::OutOfRange,
        Code::Unimplemented => Kind::NotImplemented,
        Code::DataLoss => Kind::DataLoss,
        Code::Cancelled => Kind::Canceled,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Ok | Code::Internal | Code::Unknown => Kind::Internal,
    }
}

/// An error as it is sent.
pub fn to_status(error: Error) -> Status {
    Status::new(code(error.kind()), error.chain())
}

/// An error as it was received. What the peer did not say itself, the connection did: then the peer is not available.
pub fn from_status(status: Status) -> Error {
    let local = status.source().is_some()
        && matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled);
    let kind = if local {
        Kind::Unavailable
    } else {
        kind(status.code())
    };
    let mut message = status.message().to_owned();
    if let Some(source) = status.source() {
        let cause = gantry_errdefs::chain(source);
        if !cause.is_empty() && !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    Error::new(kind, message)
}

/// A time as it is sent; the epoch, which no object has, is left out.
pub fn timestamp(time: Time) -> Option<prost_types::Timestamp> {
    let Timestamp { seconds, nanos } = time.into();
    (time != Time::default()).then_some(prost_types::Timestamp { seconds, nanos })
}

/// A time as it was received. Go's zero time (year 1) is none.
pub fn time(stamp: Option<prost_types::Timestamp>) -> Time {
    const GO_ZERO: i64 = -62_135_596_800;
    match stamp {
        Some(s) if s.seconds != GO_ZERO => Timestamp {
            seconds: s.seconds,
            nanos: s.nanos,
        }
        .into(),
        _ => Time::default(),
    }
}

/// A typed blob, sent.
pub fn any(any: Any) -> prost_types::Any {
    prost_types::Any {
        type_url: any.type_url,
        value: any.value,
    }
}

/// A typed blob, received.
pub fn from_any(any: prost_types::Any) -> Any {
    Any {
        type_url: any.type_url,
        value: any.value,
    }
}

/// A field mask, received.
pub fn mask(mask: Option<prost_types::FieldMask>) -> Vec<String> {
    mask.map(|mask| mask.paths).unwrap_or_default()
}

/// A field mask, sent: none means all.
pub fn to_mask(fields: &[String]) -> Option<prost_types::FieldMask> {
    (!fields.is_empty()).then(|| prost_types::FieldMask {
        paths: fields.to_vec(),
    })
}

/// A number of bytes, sent.
pub fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A number of bytes, received.
pub fn from_size(bytes: i64) -> Result<u64, Error> {
    u64::try_from(bytes).map_err(|_| Error::new(Kind::OutOfRange, format!("size {bytes} is negative")))
}

/// What a message must hold. `InvalidArgument`.
pub fn required<T>(value: Option<T>, name: &str) -> Result<T, Error> {
    value.ok_or_else(|| Error::invalid(format!("{name} is required")))
}

impl From<Mount> for types::Mount {
    fn from(m: Mount) -> Self {
        Self {
            r#type: m.kind,
            source: m.source,
            target: m.target,
            options: m.options,
        }
    }
}

impl From<types::Mount> for Mount {
    fn from(m: types::Mount) -> Self {
        Self {
            kind: m.r#type,
            source: m.source,
            target: m.target,
            options: m.options,
        }
    }
}

/// A list, converted.
pub fn list<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}

impl From<Descriptor> for types::Descriptor {
    fn from(d: Descriptor) -> Self {
        Self {
            media_type: d.media_type,
            digest: d.digest,
            size: size(d.size),
            annotations: d.annotations,
        }
    }
}

impl TryFrom<types::Descriptor> for Descriptor {
    type Error = Error;

    fn try_from(d: types::Descriptor) -> Result<Self, Error> {
        let size = from_size(d.size)?;
        Ok(Self {
            media_type: d.media_type,
            digest: d.digest,
            size,
            annotations: d.annotations,
        })
    }
}

impl From<Container> for services::containers::v1::Container {
    fn from(c: Container) -> Self {
        Self {
            id: c.id,
            labels: c.labels,
            image: c.image,
            runtime: Some(services::containers::v1::container::Runtime {
                name: c.runtime.name,
                options: c.runtime.options.map(any),
            }),
            spec: c.spec.map(any),
            snapshotter: c.snapshotter,
            snapshot_key: c.snapshot_key,
            created_at: timestamp(c.created_at),
            updated_at: timestamp(c.updated_at),
            extensions: c.extensions.into_iter().map(|(k, v)| (k, any(v))).collect(),
            sandbox: c.sandbox,
        }
    }
}

impl From<services::containers::v1::Container> for Container {
    fn from(c: services::containers::v1::Container) -> Self {
        let runtime = c.runtime.unwrap_or_default();
        Self {
            id: c.id,
            labels: c.labels,
            image: c.image,
            runtime: Runtime {
                name: runtime.name,
                options: runtime.options.map(from_any),
            },
            spec: c.spec.map(from_any),
            snapshotter: c.snapshotter,
            snapshot_key: c.snapshot_key,
            created_at: time(c.created_at),
            updated_at: time(c.updated_at),
            extensions: c.extensions.into_iter().map(|(k, v)| (k, from_any(v))).collect(),
            sandbox: c.sandbox,
        }
    }
}

impl From<Image> for services::images::v1::Image {
    fn from(i: Image) -> Self {
        Self {
            name: i.name,
            labels: i.labels,
            target: Some(i.target.into()),
            created_at: timestamp(i.created_at),
            updated_at: timestamp(i.updated_at),
        }
    }
}

impl TryFrom<services::images::v1::Image> for Image {
    type Error = Error;

    fn try_from(i: services::images::v1::Image) -> Result<Self, Error> {
        Ok(Self {
            name: i.name,
            labels: i.labels,
            target: i.target.unwrap_or_default().try_into()?,
            created_at: time(i.created_at),
            updated_at: time(i.updated_at),
        })
    }
}

impl From<content::Info> for services::content::v1::Info {
    fn from(i: content::Info) -> Self {
        Self {
            digest: i.digest,
            size: size(i.size),
            created_at: timestamp(i.created_at),
            updated_at: timestamp(i.updated_at),
            labels: i.labels,
        }
    }
}

impl TryFrom<services::content::v1::Info> for content::Info {
    type Error = Error;

    fn try_from(i: services::content::v1::Info) -> Result<Self, Error> {
        Ok(Self {
            digest: i.digest,
            size: from_size(i.size)?,
            created_at: time(i.created_at),
            updated_at: time(i.updated_at),
            labels: i.labels,
        })
    }
}

impl From<content::Status> for services::content::v1::Status {
    fn from(s: content::Status) -> Self {
        Self {
            started_at: timestamp(s.started_at),
            updated_at: timestamp(s.updated_at),
            r#ref: s.reference,
            offset: size(s.offset),
            total: size(s.total),
            expected: s.expected,
        }
    }
}

impl TryFrom<services::content::v1::Status> for content::Status {
    type Error = Error;

    fn try_from(s: services::content::v1::Status) -> Result<Self, Error> {
        Ok(Self {
            started_at: time(s.started_at),
            updated_at: time(s.updated_at),
            reference: s.r#ref,
            offset: from_size(s.offset)?,
            total: from_size(s.total)?,
            expected: s.expected,
        })
    }
}

impl From<snapshot::Info> for services::snapshots::v1::Info {
    fn from(i: snapshot::Info) -> Self {
        use services::snapshots::v1::Kind;
        let kind = match i.kind {
            SnapshotKind::View => Kind::View,
            SnapshotKind::Active => Kind::Active,
            SnapshotKind::Committed => Kind::Committed,
        };
        Self {
            name: i.name,
            parent: i.parent,
            kind: kind.into(),
            created_at: timestamp(i.created_at),
            updated_at: timestamp(i.updated_at),
            labels: i.labels,
        }
    }
}

impl From<services::snapshots::v1::Info> for snapshot::Info {
    fn from(i: services::snapshots::v1::Info) -> Self {
        use services::snapshots::v1::Kind;
        let kind = match i.kind() {
            Kind::View => SnapshotKind::View,
            Kind::Committed => SnapshotKind::Committed,
            Kind::Active | Kind::Unknown => SnapshotKind::Active,
        };
        Self {
            name: i.name,
            parent: i.parent,
            kind,
            created_at: time(i.created_at),
            updated_at: time(i.updated_at),
            labels: i.labels,
        }
    }
}

impl From<Process> for task_types::Process {
    fn from(p: Process) -> Self {
        let status = match p.status {
            TaskStatus::Unknown => task_types::Status::Unknown,
            TaskStatus::Created => task_types::Status::Created,
            TaskStatus::Running => task_types::Status::Running,
            TaskStatus::Stopped => task_types::Status::Stopped,
            TaskStatus::Paused => task_types::Status::Paused,
            TaskStatus::Pausing => task_types::Status::Pausing,
        };
        // containerd names a process by the exec, the init by the container; `container_id` is left empty by
        // its servers, which clients of any age put up with when it is there.
        let id = if p.exec_id.is_empty() {
            p.container_id.clone()
        } else {
            p.exec_id
        };
        Self {
            container_id: p.container_id,
            id,
            pid: p.pid,
            status: status.into(),
            stdin: p.stdio.stdin,
            stdout: p.stdio.stdout,
            stderr: p.stdio.stderr,
            terminal: p.stdio.terminal,
            exit_status: p.exit_status,
            exited_at: p.exited_at.and_then(timestamp),
        }
    }
}

/// A process as received in answer to a request about `container` (empty: a list of inits).
pub fn process(p: task_types::Process, container: &str) -> Process {
    let status = match p.status() {
        task_types::Status::Unknown => TaskStatus::Unknown,
        task_types::Status::Created => TaskStatus::Created,
        task_types::Status::Running => TaskStatus::Running,
        task_types::Status::Stopped => TaskStatus::Stopped,
        task_types::Status::Paused => TaskStatus::Paused,
        task_types::Status::Pausing => TaskStatus::Pausing,
    };
    let container_id = match (container, p.container_id.as_str()) {
        ("", "") => p.id.clone(),
        ("", said) => said.to_owned(),
        (asked, _) => asked.to_owned(),
    };
    let exec_id = if p.id == container_id { String::new() } else { p.id };
    let exited_at = Some(time(p.exited_at)).filter(|at| *at != Time::default());
    Process {
        container_id,
        exec_id,
        pid: p.pid,
        status,
        stdio: Stdio {
            stdin: p.stdin,
            stdout: p.stdout,
            stderr: p.stderr,
            terminal: p.terminal,
        },
        exit_status: p.exit_status,
        exited_at: if status == TaskStatus::Stopped {
            exited_at
        } else {
            None
        },
    }
}

impl From<Envelope> for types::Envelope {
    fn from(e: Envelope) -> Self {
        Self {
            timestamp: timestamp(e.timestamp),
            namespace: e.namespace,
            topic: e.topic,
            event: e.event.map(any),
        }
    }
}

impl From<types::Envelope> for Envelope {
    fn from(e: types::Envelope) -> Self {
        Self {
            timestamp: time(e.timestamp),
            namespace: e.namespace,
            topic: e.topic,
            event: e.event.map(from_any),
        }
    }
}

impl From<Lease> for services::leases::v1::Lease {
    fn from(l: Lease) -> Self {
        Self {
            id: l.id,
            created_at: timestamp(l.created_at),
            labels: l.labels,
        }
    }
}

impl From<services::leases::v1::Lease> for Lease {
    fn from(l: services::leases::v1::Lease) -> Self {
        Self {
            id: l.id,
            created_at: time(l.created_at),
            labels: l.labels,
        }
    }
}

impl From<Resource> for services::leases::v1::Resource {
    fn from(r: Resource) -> Self {
        Self {
            id: r.id,
            r#type: r.kind,
        }
    }
}

impl From<services::leases::v1::Resource> for Resource {
    fn from(r: services::leases::v1::Resource) -> Self {
        Self {
            id: r.id,
            kind: r.r#type,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_the_wire() {
        use Kind::*;
        for k in [
            NotFound,
            InvalidArgument,
            AlreadyExists,
            FailedPrecondition,
            Conflict,
            Unavailable,
            Unauthenticated,
            PermissionDenied,
            ResourceExhausted,
            OutOfRange,
            NotImplemented,
            DataLoss,
            Canceled,
            DeadlineExceeded,
            Internal,
        ] {
            assert_eq!(kind(code(k)), k);
            let back = from_status(to_status(Error::new(k, "task x").context("stop")));
            assert_eq!((back.kind(), back.message()), (k, "stop: task x"));
        }
    }

    #[test]
    fn objects_survive_the_wire() {
        let at = Time(1_700_000_000_000_000_001);
        let container = Container {
            id: "c".into(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            runtime: Runtime {
                name: "r".into(),
                options: Some(Any {
                    type_url: "t".into(),
                    value: vec![1],
                }),
            },
            spec: Some(Any {
                type_url: "s".into(),
                value: b"{}".to_vec(),
            }),
            extensions: [("e".to_owned(), Any::default())].into(),
            created_at: at,
            ..Container::default()
        };
        assert_eq!(
            Container::from(services::containers::v1::Container::from(container.clone())),
            container
        );
        for (exec, asked) in [("", "c"), ("", ""), ("e1", "c")] {
            let p = Process {
                container_id: "c".into(),
                exec_id: exec.into(),
                status: TaskStatus::Stopped,
                exit_status: 42,
                exited_at: Some(at),
                ..Process::default()
            };
            assert_eq!(process(p.clone().into(), asked), p);
        }
        let image = Image {
            name: "i".into(),
            target: Descriptor {
                size: 9,
                ..Descriptor::default()
            },
            ..Image::default()
        };
        assert_eq!(
            Image::try_from(services::images::v1::Image::from(image.clone())).unwrap(),
            image
        );
        assert!(
            Descriptor::try_from(types::Descriptor {
                size: -1,
                ..Default::default()
            })
            .is_err()
        );
        assert_eq!(
            time(Some(prost_types::Timestamp {
                seconds: -62_135_596_800,
                nanos: 0
            })),
            Time::default()
        );
    }
}
