//! The exchange of events: everybody who subscribed hears what is published and matches. What happens to tasks is kept for those
//! who may not have heard it:
//!
//! - the end of a process is told to each who subscribes later, until the process is deleted;
//! - other events of tasks that nobody heard, as after a restart of ours or of the only subscriber, are told to the first who
//!   wants them;
//! - a subscriber that was cut off because it was too slow is given what it missed when it subscribes again, with the
//!   same filters.
//!
//! Nothing of it is on disk: after a restart it comes from the shims, and from the records of the bundles.

mod owed;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use gantry_supervisor_core::event::{Envelope, Events, TimedTaskEvent, decode_tasks, wire};
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::{Any, Error, Result, Time, validate_identifier};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::supervisor::Bound;
pub(crate) use owed::Told;
use owed::{Backlog, Owed, REMEMBERED};

/// How many events may wait for a subscriber before it is cut off. It then subscribes anew.
const BACKLOG: usize = 8192;

/// How many that were cut off are remembered.
const CUT: usize = 16;

/// What a subscriber reads.
pub(crate) type Stream = ReceiverStream<Result<Envelope>>;

/// Who listens.
#[derive(Default)]
pub(crate) struct Exchange {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    subscribers: Vec<Subscriber>,
    cut: VecDeque<Cut>,
    owed: Owed,
}

struct Subscriber {
    /// As they were given.
    wanted: Vec<String>,
    filters: Filters,
    sender: mpsc::Sender<Result<Envelope>>,
}

/// One that was too slow, and what it has missed since.
struct Cut {
    wanted: Vec<String>,
    filters: Filters,
    since: Instant,
    missed: Backlog,
}

impl Exchange {
    /// Publishes what happened now.
    pub(crate) fn publish(&self, namespace: &str, topic: &str, event: Any) {
        let envelope = Envelope {
            timestamp: Time::now(),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            event: Some(event),
        };
        self.send(envelope, Told::Once);
    }

    /// Hands an envelope to everybody it matches. Never waits.
    pub(crate) fn send(&self, envelope: Envelope, told: Told) {
        let mut inner = self.lock();
        let Inner {
            subscribers,
            cut,
            owed,
        } = &mut *inner;
        cut.retain(|cut| cut.since.elapsed() < REMEMBERED);
        for cut in cut.iter_mut().filter(|cut| matches(&cut.filters, &envelope)) {
            cut.missed.push(envelope.clone());
        }
        let mut heard = false;
        subscribers.retain_mut(|subscriber| {
            if subscriber.sender.is_closed() {
                return false;
            }
            if !matches(&subscriber.filters, &envelope) {
                return true;
            }
            heard = true;
            // The last place is for the word that there is no more.
            if subscriber.sender.capacity() > 1 {
                return subscriber.sender.try_send(Ok(envelope.clone())).is_ok();
            }
            let error = Error::unavailable("the subscriber is too slow: subscribe again");
            let _ = subscriber.sender.try_send(Err(error));
            if cut.len() == CUT {
                cut.pop_front();
            }
            let mut missed = Backlog::default();
            missed.push(envelope.clone());
            cut.push_back(Cut {
                wanted: std::mem::take(&mut subscriber.wanted),
                filters: std::mem::take(&mut subscriber.filters),
                since: Instant::now(),
                missed,
            });
            false
        });
        if envelope.topic.starts_with("/tasks/") {
            owed.keep(envelope, told, heard);
        }
    }

    /// A process is deleted, or with its task all of them, and with it the wish to hear of its end.
    pub(crate) fn forget(&self, namespace: &str, id: &str, exec_id: Option<&str>) {
        self.lock().owed.forget(namespace, id, exec_id);
    }

    /// Subscribes: what is published after this returns is received, after what is owed.
    pub(crate) fn subscribe(&self, wanted: &[String]) -> Result<Stream> {
        let filters = Filters::parse(wanted)?;
        let mut inner = self.lock();
        inner
            .subscribers
            .retain(|subscriber| !subscriber.sender.is_closed());
        let mut first: Vec<Envelope> = inner.owed.take(|envelope| matches(&filters, envelope));
        if let Some(at) = inner.cut.iter().position(|cut| cut.wanted == wanted)
            && let Some(cut) = inner.cut.remove(at)
        {
            first.retain(|envelope| !cut.missed.contains(envelope));
            first.extend(cut.missed);
        }
        let (sender, receiver) = mpsc::channel(first.len() + BACKLOG + 1);
        for envelope in first {
            let _ = sender.try_send(Ok(envelope));
        }
        inner.subscribers.push(Subscriber {
            wanted: wanted.to_vec(),
            filters,
            sender,
        });
        Ok(ReceiverStream::new(receiver))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // What is guarded is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn matches(filters: &Filters, envelope: &Envelope) -> bool {
    filters.matches(&|path: &[String]| field(envelope, path))
}

fn field(envelope: &Envelope, path: &[String]) -> Option<String> {
    match path.first().map(String::as_str) {
        Some("namespace") => Some(envelope.namespace.clone()),
        Some("topic") => Some(envelope.topic.clone()),
        Some("event") => wire::field(envelope.event.as_ref()?, path.get(1)?),
        _ => None,
    }
}

/// Refuses topics that are no path of identifiers.
fn validate_topic(topic: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::invalid(format!(
            "envelope topic {topic:?} {why}: invalid argument"
        )))
    };
    let Some(rest) = topic.strip_prefix('/') else {
        return bad("must start with '/'");
    };
    if rest.split('/').any(|part| validate_identifier(part).is_err()) {
        return bad("must be identifiers joined by '/'");
    }
    Ok(())
}

#[async_trait]
impl Events for Bound {
    async fn subscribe(&self, filters: &[String]) -> Result<BoxStream<'static, Result<Envelope>>> {
        Ok(self.shared.events.subscribe(filters)?.boxed())
    }

    async fn subscribe_tasks(&self) -> Result<BoxStream<'static, Result<TimedTaskEvent>>> {
        let wanted = [format!("namespace=={},topic~=|^/tasks/|", self.namespace)];
        Ok(decode_tasks(self.shared.events.subscribe(&wanted)?))
    }

    async fn publish(&self, topic: &str, event: Any) -> Result<()> {
        validate_topic(topic)?;
        self.shared.events.publish(&self.namespace, topic, event);
        Ok(())
    }

    async fn forward(&self, envelope: Envelope) -> Result<()> {
        validate_identifier(&envelope.namespace)?;
        validate_topic(&envelope.topic)?;
        self.shared.tasks.forward(envelope);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(id: &str, exec_id: &str) -> Any {
        wire::TaskExit {
            container_id: id.into(),
            id: if exec_id.is_empty() { id } else { exec_id }.into(),
            ..Default::default()
        }
        .to_any()
    }

    fn tasks_of(namespace: &str) -> Vec<String> {
        vec![format!("namespace=={namespace},topic~=|^/tasks/|")]
    }

    async fn next(stream: &mut Stream) -> Envelope {
        stream.next().await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn subscribers_hear_what_matches() {
        let exchange = Exchange::default();
        let mut all = exchange.subscribe(&[]).unwrap();
        let mut tasks = exchange.subscribe(&tasks_of("a")).unwrap();
        exchange.publish("a", "/tasks/exit", exit("c", ""));
        exchange.publish("b", "/tasks/exit", exit("c", ""));
        exchange.publish(
            "a",
            "/images/delete",
            wire::ImageDelete { name: "i".into() }.to_any(),
        );
        assert_eq!(next(&mut tasks).await.namespace, "a");
        for namespace in ["a", "b", "a"] {
            assert_eq!(next(&mut all).await.namespace, namespace);
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_so_and_misses_nothing() {
        let exchange = Exchange::default();
        let slow = exchange.subscribe(&tasks_of("a")).unwrap();
        // Another one hears all, so that nothing is owed for want of listeners.
        let mut other = exchange.subscribe(&[]).unwrap();
        let all = BACKLOG + 100;
        for at in 0..all {
            exchange.publish("a", "/tasks/oom", exit(&at.to_string(), ""));
            next(&mut other).await;
        }
        let mut heard: Vec<Result<Envelope>> = slow.collect().await;
        let last = heard.pop().unwrap().unwrap_err();
        assert_eq!(last.kind(), gantry_supervisor_core::Kind::Unavailable);
        let mut again = exchange.subscribe(&tasks_of("a")).unwrap();
        while heard.len() < all {
            heard.push(Ok(next(&mut again).await));
        }
        for (at, envelope) in heard.into_iter().enumerate() {
            assert_eq!(envelope.unwrap().event, Some(exit(&at.to_string(), "")));
        }
        exchange.publish("a", "/tasks/paused", Any::default());
        assert_eq!(next(&mut again).await.topic, "/tasks/paused");
    }

    #[tokio::test]
    async fn an_end_is_told_until_its_process_is_deleted() {
        let exchange = Exchange::default();
        let send = |id: &str, exec_id: &str| {
            let envelope = Envelope {
                namespace: "a".into(),
                topic: "/tasks/exit".into(),
                event: Some(exit(id, exec_id)),
                ..Default::default()
            };
            exchange.send(envelope, Told::Exit(id.into(), exec_id.into()));
        };
        let first = exchange.subscribe(&[]).unwrap();
        send("c", "e1");
        send("c", "e2");
        send("c", "");
        send("d", "");
        drop(first);
        exchange.forget("a", "c", Some("e1"));
        exchange.forget("a", "d", None);
        for _ in 0..2 {
            let mut late = exchange.subscribe(&["event.container_id==c".to_owned()]).unwrap();
            for exec_id in ["e2", ""] {
                assert_eq!(next(&mut late).await.event, Some(exit("c", exec_id)));
            }
        }
        exchange.forget("a", "c", None);
        let mut later = exchange.subscribe(&[]).unwrap();
        exchange.publish("b", "/x", Any::default());
        assert_eq!(next(&mut later).await.namespace, "b");
    }

    #[tokio::test]
    async fn what_nobody_heard_is_told_to_the_first_who_wants_it() {
        let exchange = Exchange::default();
        // One who wants something else has not heard it.
        let _other = exchange.subscribe(&tasks_of("b")).unwrap();
        exchange.publish("a", "/tasks/start", exit("c", ""));
        exchange.publish("a", "/tasks/oom", exit("c", ""));
        exchange.publish("a", "/images/delete", Any::default());
        let mut first = exchange.subscribe(&tasks_of("a")).unwrap();
        let mut second = exchange.subscribe(&tasks_of("a")).unwrap();
        exchange.publish("a", "/tasks/paused", Any::default());
        for topic in ["/tasks/start", "/tasks/oom", "/tasks/paused"] {
            assert_eq!(next(&mut first).await.topic, topic);
        }
        assert_eq!(next(&mut second).await.topic, "/tasks/paused");
    }

    #[test]
    fn topics() {
        assert!(validate_topic("/tasks/exec-added").is_ok());
        for bad in ["", "/", "tasks", "/tasks/", "/a//b", "/a b"] {
            assert!(validate_topic(bad).is_err(), "{bad}");
        }
    }
}
