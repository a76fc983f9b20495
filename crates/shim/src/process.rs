//! The states of a process. Pure: what happened and what follows.
//!
//! ```text
//!   Created ── started ──► Running ── paused ──► Paused
//!      │                     │  ◄── resumed ──────┘ │
//!      │ exited              │ exited               │ exited
//!      ▼                     ▼                      ▼
//!   Draining (its output is still read) ── drained ──► Stopped ── deleted ──► (gone)
//! ```

use gantry_errdefs::Error;

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Paused,
    /// It has ended; what it wrote is still on its way.
    Draining,
    Stopped,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started,
    Paused,
    Resumed,
    Exited,
    Drained,
}

impl State {
    /// The state after an event, or why the event cannot be.
    pub(crate) fn after(self, event: Event) -> Result<State, Error> {
        use Event as E;
        Ok(match (self, event) {
            (State::Created, E::Started) => State::Running,
            (State::Running, E::Paused) => State::Paused,
            (State::Paused, E::Resumed) => State::Running,
            (State::Created | State::Running | State::Paused, E::Exited) => State::Draining,
            (State::Draining, E::Drained) => State::Stopped,
            (state, event) => {
                return Err(Error::failed_precondition(format!(
                    "cannot {} a {} process",
                    event.verb(),
                    state.word()
                )));
            }
        })
    }

    /// containerd's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Draining | State::Stopped => "stopped",
        }
    }

    /// The number of the task service.
    pub(crate) fn number(self) -> i32 {
        match self {
            State::Created => 1,
            // Until its output is read it has not stopped for anybody.
            State::Running | State::Draining => 2,
            State::Stopped => 3,
            State::Paused => 4,
        }
    }

    /// Whether it has ended.
    pub(crate) fn ended(self) -> bool {
        matches!(self, State::Draining | State::Stopped)
    }
}

impl Event {
    fn verb(self) -> &'static str {
        match self {
            Event::Started => "start",
            Event::Paused => "pause",
            Event::Resumed => "resume",
            Event::Exited => "end",
            Event::Drained => "drain",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event as E;
    use State as S;

    #[test]
    fn the_diagram_is_the_table() {
        let all = [S::Created, S::Running, S::Paused, S::Draining, S::Stopped];
        let events = [E::Started, E::Paused, E::Resumed, E::Exited, E::Drained];
        let allowed: Vec<(S, E, S)> = all
            .into_iter()
            .flat_map(|state| events.map(|event| (state, event)))
            .filter_map(|(state, event)| Some((state, event, state.after(event).ok()?)))
            .collect();
        assert_eq!(
            allowed,
            [
                (S::Created, E::Started, S::Running),
                (S::Created, E::Exited, S::Draining),
                (S::Running, E::Paused, S::Paused),
                (S::Running, E::Exited, S::Draining),
                (S::Paused, E::Resumed, S::Running),
                (S::Paused, E::Exited, S::Draining),
                (S::Draining, E::Drained, S::Stopped),
            ]
        );
        let error = S::Stopped.after(E::Started).unwrap_err();
        assert_eq!(error.message(), "cannot start a stopped process");
    }
}
