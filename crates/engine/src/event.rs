//! What the engine tells: a bus with a short memory, and the filters of `events`. Knows no container or image.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gantry_api_types::Map;
use gantry_api_types::event::{Actor, Message};
use gantry_api_types::filters::Filters;
use gantry_errdefs::Error;
use gantry_supervisor_core::Time;
use tokio::sync::broadcast;

use crate::clock;
use crate::options::EventOptions;

/// How many past events are kept, as in Docker.
const MEMORY: usize = 256;

/// Where events go.
pub(crate) struct Bus {
    past: Mutex<VecDeque<Message>>,
    live: broadcast::Sender<Message>,
}

const KEYS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "id",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

impl Bus {
    pub(crate) fn new() -> Self {
        Self {
            past: Mutex::new(VecDeque::new()),
            live: broadcast::channel(1024).0,
        }
    }

    /// Tells of `action` on the object `id` of a type.
    pub(crate) fn send(&self, kind: &str, action: &str, id: &str, attributes: Map<String>) {
        let now = Time::now();
        let legacy = matches!(kind, "container" | "image");
        let message = Message {
            status: if legacy { action.to_owned() } else { String::new() },
            id: if legacy { id.to_owned() } else { String::new() },
            from: match kind {
                "container" => attributes.get("image").cloned().unwrap_or_default(),
                _ => String::new(),
            },
            r#type: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor {
                id: id.to_owned(),
                attributes,
            },
            scope: "local".to_owned(),
            time: clock::seconds(now),
            time_nano: i64::try_from(now.0).unwrap_or(i64::MAX),
        };
        tracing::debug!(kind, action, id, "event");
        if let Ok(mut past) = self.past.lock() {
            if past.len() == MEMORY {
                past.pop_front();
            }
            past.push_back(message.clone());
            // Under the lock, so that a subscriber sees each event in exactly one of the two places.
            let _ = self.live.send(message);
        }
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    /// The events asked for: remembered ones first when `since` is given, then live ones until `until`.
    pub(crate) fn subscribe(&self, options: &EventOptions) -> Result<BoxStream<'static, Message>, Error> {
        let since = stamp(&options.since)?;
        let until = stamp(&options.until)?;
        if let Some(key) = options.filters.unknown_key(KEYS) {
            return Err(Error::invalid(format!("invalid filter '{key}'")));
        }
        let nanos = |time: Time| i64::try_from(time.0).unwrap_or(i64::MAX);
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(Error::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                options.since, options.until
            )));
        }
        let (past, live) = {
            let past = self
                .past
                .lock()
                .map_err(|_| Error::internal("the memory of events is poisoned"))?;
            let wanted = |m: &&Message| {
                since.is_some_and(|s| m.time_nano >= nanos(s))
                    && until.is_none_or(|u| m.time_nano <= nanos(u))
            };
            let past: Vec<Message> = match (since, until) {
                // As Docker: `until` alone also asks for what is remembered.
                (None, Some(until)) => past
                    .iter()
                    .filter(|m| m.time_nano <= nanos(until))
                    .cloned()
                    .collect(),
                _ => past.iter().filter(wanted).cloned().collect(),
            };
            (past, self.live.subscribe())
        };
        let live = stream::unfold(live, |mut live| async move {
            loop {
                match live.recv().await {
                    Ok(message) => return Some((message, live)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let filters = options.filters.clone();
        let chosen = move |message: &Message| std::future::ready(matches(&filters, message));
        let live = match until {
            None => live.boxed(),
            Some(until) => {
                let left = u64::try_from((until.0 - Time::now().0).max(0) / 1_000_000).unwrap_or(u64::MAX);
                let end = tokio::time::sleep(std::time::Duration::from_millis(left));
                live.take_until(end).boxed()
            }
        };
        Ok(stream::iter(past).chain(live).filter(chosen).boxed())
    }
}

fn stamp(text: &str) -> Result<Option<Time>, Error> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    clock::parse_stamp(text)
        .map(Some)
        .ok_or_else(|| Error::invalid(format!("failed to parse value as time or duration: \"{text}\"")))
}

fn matches(filters: &Filters, message: &Message) -> bool {
    let attributes = &message.actor.attributes;
    let event = || {
        let mut wanted = filters.get("event").peekable();
        wanted.peek().is_none()
            // `exec_create: sh -c …` is asked for by its first word.
            || wanted.any(|w| message.action == w || message.action.split(':').next() == Some(w))
    };
    let actor = |key: &str| {
        let mut wanted = filters.get(key).peekable();
        let name = attributes.get("name").map(String::as_str).unwrap_or_default();
        wanted.peek().is_none()
            || (message.r#type == key
                && wanted.any(|w| message.actor.id == w || name == w || message.actor.id.starts_with(w)))
    };
    let image = || {
        let mut wanted = filters.get("image").peekable();
        let names: Vec<&str> = match message.r#type.as_str() {
            "image" => vec![
                &message.actor.id,
                attributes.get("name").map_or("", String::as_str),
            ],
            _ => vec![attributes.get("image").map_or("", String::as_str)],
        };
        let bare = |name: &str| name.rsplit_once(':').map_or(name, |(bare, _)| bare).to_owned();
        wanted.peek().is_none() || wanted.any(|w| names.iter().any(|name| *name == w || bare(name) == w))
    };
    filters.exact("type", &message.r#type)
        && filters.exact("scope", &message.scope)
        && event()
        && actor("container")
        && actor("volume")
        && actor("network")
        && actor("daemon")
        && image()
        && filters.labels("label", attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(name: &str) -> Map<String> {
        Map::from([
            ("name".to_owned(), name.to_owned()),
            ("image".to_owned(), "debian:12".to_owned()),
        ])
    }

    #[tokio::test]
    async fn remembered_then_live_by_filter() {
        let bus = Bus::new();
        bus.send("container", "create", "c1", attributes("web"));
        bus.send("container", "exec_create: sh", "c1", attributes("web"));
        bus.send("image", "pull", "debian:12", Map::new());
        let mut filters = Filters::default();
        filters.add("container", "web");
        let options = EventOptions {
            since: "1".to_owned(),
            filters,
            ..EventOptions::default()
        };
        let mut stream = bus.subscribe(&options).unwrap();
        bus.send("container", "start", "c2", attributes("db"));
        bus.send("container", "start", "c1", attributes("web"));
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(stream.next().await.unwrap().action);
        }
        assert_eq!(seen, ["create", "exec_create: sh", "start"]);
        let mut filters = Filters::default();
        filters.add("event", "exec_create");
        filters.add("image", "debian");
        let until = clock::rfc3339(Time::now());
        let options = EventOptions {
            since: "1".to_owned(),
            until,
            filters,
        };
        let all: Vec<Message> = bus.subscribe(&options).unwrap().collect().await;
        assert_eq!(all.len(), 1);
        assert!(
            bus.subscribe(&EventOptions {
                since: "x".to_owned(),
                ..EventOptions::default()
            })
            .is_err()
        );
    }
}
