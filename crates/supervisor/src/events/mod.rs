//! The exchange of events: everybody who subscribed hears what is published and matches. Nothing is kept but the exits
//! that were found after an outage: those are told to each who subscribes while the task is still there, as nobody
//! could have heard of them when they happened.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use gantry_supervisor_core::event::{Envelope, Events, TimedTaskEvent, wire};
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::{Any, Error, Result, Time, validate_identifier};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::supervisor::Bound;

/// How many events may wait for a subscriber before it is cut off. It then subscribes anew and compares, which is better
/// than a gap it does not know of.
const BACKLOG: usize = 8192;

/// Who listens.
#[derive(Default)]
pub(crate) struct Exchange {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    subscribers: Vec<Subscriber>,
    /// By namespace and container.
    found: HashMap<(String, String), Envelope>,
}

struct Subscriber {
    filters: Filters,
    sender: mpsc::Sender<Envelope>,
}

impl Exchange {
    /// Publishes what happened now.
    pub(crate) fn publish(&self, namespace: &str, topic: &str, event: Any) {
        self.send(Envelope {
            timestamp: Time::now(),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            event: Some(event),
        });
    }

    /// Hands an envelope to everybody it matches. Never waits.
    pub(crate) fn send(&self, envelope: Envelope) {
        let mut inner = self.lock();
        inner.subscribers.retain(|subscriber| {
            if !subscriber
                .filters
                .matches(&|path: &[String]| field(&envelope, path))
            {
                return !subscriber.sender.is_closed();
            }
            // Who is too slow, or gone, is dropped: its stream ends.
            subscriber.sender.try_send(envelope.clone()).is_ok()
        });
    }

    /// Keeps an exit that may have happened while nobody listened: it is told to later subscribers.
    pub(crate) fn found(&self, id: &str, envelope: Envelope) {
        let key = (envelope.namespace.clone(), id.to_owned());
        self.lock().found.insert(key, envelope);
    }

    /// The task is gone, and with it the wish to hear of its exit.
    pub(crate) fn forget(&self, namespace: &str, id: &str) {
        self.lock().found.remove(&(namespace.to_owned(), id.to_owned()));
    }

    /// Subscribes: what is published after this returns is received.
    pub(crate) fn subscribe(&self, filters: Filters) -> ReceiverStream<Envelope> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut inner = self.lock();
        inner
            .subscribers
            .retain(|subscriber| !subscriber.sender.is_closed());
        for envelope in inner.found.values() {
            if filters.matches(&|path: &[String]| field(envelope, path)) {
                let _ = sender.try_send(envelope.clone());
            }
        }
        inner.subscribers.push(Subscriber { filters, sender });
        ReceiverStream::new(receiver)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // What is guarded is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Ok(self
            .shared
            .events
            .subscribe(Filters::parse(filters)?)
            .map(Ok)
            .boxed())
    }

    async fn subscribe_tasks(&self) -> Result<BoxStream<'static, Result<TimedTaskEvent>>> {
        let filters = Filters::parse(&[format!("namespace=={},topic~=|^/tasks/|", self.namespace)])?;
        let decode = |envelope: Envelope| async move {
            match wire::decode(envelope.event.as_ref()?) {
                Ok(event) => Some(Ok(TimedTaskEvent {
                    timestamp: envelope.timestamp,
                    event: event?,
                })),
                Err(error) => Some(Err(error)),
            }
        };
        Ok(self.shared.events.subscribe(filters).filter_map(decode).boxed())
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

    #[tokio::test]
    async fn subscribers_hear_what_matches_and_slow_ones_are_cut_off() {
        let exchange = Exchange::default();
        let mut all = exchange.subscribe(Filters::default());
        let mut tasks = exchange.subscribe(Filters::parse(&["namespace==a,topic~=|^/tasks/|"]).unwrap());
        let exit = wire::TaskExit {
            container_id: "c".into(),
            ..Default::default()
        }
        .to_any();
        exchange.publish("a", "/tasks/exit", exit.clone());
        exchange.publish("b", "/tasks/exit", exit.clone());
        exchange.publish(
            "a",
            "/images/delete",
            wire::ImageDelete { name: "i".into() }.to_any(),
        );
        assert_eq!(tasks.next().await.unwrap().namespace, "a");
        for namespace in ["a", "b", "a"] {
            assert_eq!(all.next().await.unwrap().namespace, namespace);
        }
        for _ in 0..=BACKLOG {
            exchange.publish("a", "/tasks/exit", exit.clone());
        }
        assert_eq!(tasks.collect::<Vec<_>>().await.len(), BACKLOG);
    }

    #[tokio::test]
    async fn a_found_exit_is_told_until_the_task_is_gone() {
        let exchange = Exchange::default();
        let event = wire::TaskExit {
            container_id: "c".into(),
            ..Default::default()
        }
        .to_any();
        let envelope = Envelope {
            namespace: "a".into(),
            topic: "/tasks/exit".into(),
            event: Some(event),
            ..Default::default()
        };
        exchange.found("c", envelope.clone());
        let mut late = exchange.subscribe(Filters::parse(&["event.container_id==c"]).unwrap());
        assert_eq!(late.next().await, Some(envelope));
        exchange.forget("a", "c");
        let mut later = exchange.subscribe(Filters::default());
        exchange.publish("b", "/x", Any::default());
        assert_eq!(later.next().await.unwrap().namespace, "b");
    }

    #[test]
    fn topics() {
        assert!(validate_topic("/tasks/exec-added").is_ok());
        for bad in ["", "/", "tasks", "/tasks/", "/a//b", "/a b"] {
            assert!(validate_topic(bad).is_err(), "{bad}");
        }
    }
}
