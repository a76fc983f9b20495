//! Events that are still to be told to somebody, in their order and not without bounds. Knows no subscriber.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gantry_supervisor_core::event::Envelope;

/// How many events are kept, and how many bytes.
const EVENTS: usize = 4096;
const BYTES: usize = 2 << 20;

/// How long they are, but for ends. Who comes later than that cares for what is, and asks.
pub(super) const REMEMBERED: Duration = Duration::from_secs(300);

/// To whom an event is told.
pub(crate) enum Told {
    /// To who listens; if nobody does, to the first who comes.
    Once,
    /// The end of a process, by container and exec: to all who come until it is deleted.
    Exit(String, String),
}

fn size(envelope: &Envelope) -> usize {
    let event = envelope.event.as_ref();
    let event = event.map_or(0, |any| any.type_url.len() + any.value.len());
    size_of::<Envelope>() + envelope.namespace.len() + envelope.topic.len() + event
}

/// Events one after the other, the oldest of which go when there are too many.
#[derive(Default)]
pub(super) struct Backlog {
    events: VecDeque<Envelope>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn push(&mut self, envelope: Envelope) {
        self.bytes += size(&envelope);
        self.events.push_back(envelope);
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.bytes -= size(&oldest);
        }
    }

    pub(super) fn contains(&self, envelope: &Envelope) -> bool {
        self.events.contains(envelope)
    }
}

impl IntoIterator for Backlog {
    type Item = Envelope;
    type IntoIter = std::collections::vec_deque::IntoIter<Envelope>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

struct Debt {
    envelope: Envelope,
    /// Container and exec of an end.
    exit: Option<(String, String)>,
    /// By anybody at all.
    heard: bool,
    since: Instant,
}

/// What is owed.
#[derive(Default)]
pub(super) struct Owed {
    debts: VecDeque<Debt>,
    bytes: usize,
}

impl Owed {
    /// Keeps an event, if it is to be told to anybody else than those who heard it.
    pub(super) fn keep(&mut self, envelope: Envelope, told: Told, heard: bool) {
        let exit = match told {
            Told::Once if heard => return,
            Told::Once => None,
            Told::Exit(id, exec_id) => Some((id, exec_id)),
        };
        self.bytes += size(&envelope);
        let since = Instant::now();
        self.debts.push_back(Debt {
            envelope,
            exit,
            heard,
            since,
        });
        while self.debts.len() > EVENTS || self.bytes > BYTES {
            // Ends last: of all else, what is true now can be asked for.
            let at = self
                .debts
                .iter()
                .position(|debt| debt.exit.is_none())
                .unwrap_or(0);
            let Some(debt) = self.debts.remove(at) else {
                return;
            };
            self.bytes -= size(&debt.envelope);
        }
    }

    /// What is owed to a new subscriber.
    pub(super) fn take(&mut self, wants: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
        let mut taken = Vec::new();
        self.retain(|debt| {
            if debt.exit.is_none() && debt.since.elapsed() > REMEMBERED {
                return false;
            }
            let wanted = wants(&debt.envelope);
            if wanted {
                taken.push(debt.envelope.clone());
                debt.heard = true;
            }
            !wanted || debt.exit.is_some()
        });
        taken
    }

    /// The end of a process, or without an exec all ends of a container, need not be told again. What nobody has heard is
    /// still to be told once.
    pub(super) fn forget(&mut self, namespace: &str, id: &str, exec_id: Option<&str>) {
        self.retain(|debt| {
            let of = debt.exit.as_ref().is_some_and(|(container, exec)| {
                container == id && exec_id.is_none_or(|wanted| wanted == exec)
            });
            if !of || debt.envelope.namespace != namespace {
                return true;
            }
            debt.exit = None;
            !debt.heard
        });
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut Debt) -> bool) {
        let bytes = &mut self.bytes;
        self.debts.retain_mut(|debt| {
            let kept = keep(debt);
            if !kept {
                *bytes -= size(&debt.envelope);
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: usize) -> Envelope {
        Envelope {
            topic: at.to_string(),
            ..Envelope::default()
        }
    }

    #[test]
    fn ends_are_kept_longest() {
        let mut owed = Owed::default();
        owed.keep(event(0), Told::Exit("c".into(), String::new()), true);
        owed.keep(event(1), Told::Once, true);
        for at in 2..EVENTS + 10 {
            owed.keep(event(at), Told::Once, false);
        }
        let taken = owed.take(|_| true);
        assert_eq!(taken.len(), EVENTS);
        assert_eq!((taken[0].clone(), taken[1].clone()), (event(0), event(11)));
        assert_eq!(owed.take(|_| true), [event(0)]);
        owed.forget("", "c", None);
        assert!(owed.take(|_| true).is_empty());
        // Deleted before anybody heard of it.
        owed.keep(event(0), Told::Exit("c".into(), String::new()), false);
        owed.forget("", "c", Some(""));
        assert_eq!(owed.take(|_| true), [event(0)]);
        assert!(owed.take(|_| true).is_empty());
        assert_eq!(owed.bytes, 0);
    }

    #[test]
    fn a_backlog_has_bounds() {
        let mut backlog = Backlog::default();
        for at in 0..EVENTS + 1 {
            backlog.push(event(at));
        }
        assert!(!backlog.contains(&event(0)) && backlog.contains(&event(1)));
        assert_eq!(backlog.into_iter().count(), EVENTS);
    }
}
