//! A container's life. Pure.
//!
//! ```text
//!            start              exit
//!  Created ─────────► Running ─────────► Exited ── start ──► Running
//!     │                │   ▲                ▲
//!     │          pause │   │ unpause        │ exit
//!     │                ▼   │                │
//!     │               Paused ───────────────┘
//!     └── start that fails ──► Created (with an error and a code)
//! ```

use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Exited,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    Pause,
    Unpause,
    Exit,
}

impl Status {
    /// The status after an event; none when the event cannot be.
    pub(crate) fn after(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Created | Self::Exited, Event::Start) => Self::Running,
            (Self::Running, Event::Pause) => Self::Paused,
            (Self::Paused, Event::Unpause) => Self::Running,
            (Self::Running | Self::Paused, Event::Exit) => Self::Exited,
            _ => return None,
        })
    }

    /// Docker's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
        }
    }

    /// Whether it has a process.
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagram_is_the_table() {
        use Event as E;
        use Status as S;
        let all = [S::Created, S::Running, S::Paused, S::Exited];
        let events = [E::Start, E::Pause, E::Unpause, E::Exit];
        let allowed: Vec<_> = all
            .into_iter()
            .flat_map(|status| events.map(|event| (status, event)))
            .filter_map(|(status, event)| Some((status, event, status.after(event)?)))
            .collect();
        assert_eq!(
            allowed,
            [
                (S::Created, E::Start, S::Running),
                (S::Running, E::Pause, S::Paused),
                (S::Running, E::Exit, S::Exited),
                (S::Paused, E::Unpause, S::Running),
                (S::Paused, E::Exit, S::Exited),
                (S::Exited, E::Start, S::Running),
            ]
        );
    }
}
