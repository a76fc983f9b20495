//! A container's life. Pure.
//!
//! ```text
//!             start              exit
//!  Created ──────────► Running ────────► Exited ── start ──► Running
//!     ▲ │               │  ▲ │ ▲            ▲
//!     └─┘         pause │  │ │ │ start      │ give up, or a start that fails
//!    a start            ▼  │ │ └─────── Restarting
//!    that fails    Paused ─┘ └── fail ──────▲
//!                       │   unpause         │
//!                       ├────── fail ───────┘
//!                       └────── exit ─────► Exited
//! ```
//!
//! `fail` is an exit after which the restart policy wants another start.

use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    Pause,
    Unpause,
    Exit,
    Fail,
    GiveUp,
}

impl Status {
    /// The status after an event; none when the event cannot be.
    pub(crate) fn after(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Created | Self::Exited | Self::Restarting, Event::Start) => Self::Running,
            (Self::Running, Event::Pause) => Self::Paused,
            (Self::Paused, Event::Unpause) => Self::Running,
            (Self::Running | Self::Paused, Event::Exit) => Self::Exited,
            (Self::Running | Self::Paused, Event::Fail) => Self::Restarting,
            (Self::Restarting, Event::GiveUp) => Self::Exited,
            _ => return None,
        })
    }

    /// Docker's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Whether it has a process.
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether it has a process or is to have one again soon: what Docker calls running.
    pub(crate) fn is_up(self) -> bool {
        self.is_running() || self == Self::Restarting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUSES: [Status; 5] = [
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Exited,
    ];
    const EVENTS: [Event; 6] = [
        Event::Start,
        Event::Pause,
        Event::Unpause,
        Event::Exit,
        Event::Fail,
        Event::GiveUp,
    ];

    #[test]
    fn the_diagram_is_the_table() {
        use Event as E;
        use Status as S;
        let allowed: Vec<_> = STATUSES
            .into_iter()
            .flat_map(|status| EVENTS.map(|event| (status, event)))
            .filter_map(|(status, event)| Some((status, event, status.after(event)?)))
            .collect();
        assert_eq!(
            allowed,
            [
                (S::Created, E::Start, S::Running),
                (S::Running, E::Pause, S::Paused),
                (S::Running, E::Exit, S::Exited),
                (S::Running, E::Fail, S::Restarting),
                (S::Paused, E::Unpause, S::Running),
                (S::Paused, E::Exit, S::Exited),
                (S::Paused, E::Fail, S::Restarting),
                (S::Restarting, E::Start, S::Running),
                (S::Restarting, E::GiveUp, S::Exited),
                (S::Exited, E::Start, S::Running),
            ]
        );
    }

    proptest! {
        /// Whatever happens in whatever order: each end belongs to one start, and what is over stays over until a start.
        #[test]
        fn an_end_is_counted_once(events in proptest::collection::vec(0..EVENTS.len(), 0..64)) {
            let (mut status, mut starts, mut ends) = (Status::default(), 0, 0);
            for event in events.into_iter().map(|at| EVENTS[at]) {
                let Some(next) = status.after(event) else { continue };
                starts += usize::from(event == Event::Start);
                ends += usize::from(matches!(event, Event::Exit | Event::Fail));
                status = next;
                prop_assert_eq!(starts - ends, usize::from(status.is_running()));
                prop_assert!(status != Status::Created);
            }
        }
    }
}
