//! The life of a process: what is asked or happens, and what is to be done about it. Pure; `server` does it.
//!
//! ```text
//!   Created ── start ──► Running ── pause ──► Paused
//!      │                   │  ◄── resume ──────┘ │
//!      │ exited            │ exited              │ exited
//!      ▼                   ▼                     ▼
//!   Draining (its output is still read) ── drained ──► Stopped ── delete ──► (gone)
//! ```
//!
//! Each verb is a call of the runtime and takes its time: `Asked` begins it, `Answered` ends it, and one at a time is under
//! way for a process. What happens meanwhile, happens: a process may exit before the call that started it has ended. Its exit
//! is told only after its start was.

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

/// A call of the runtime that a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `start`, or `exec`.
    Start,
    Pause,
    Resume,
    Update,
    Delete,
}

/// What is asked, or happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Asked(Call),
    Answered {
        call: Call,
        done: bool,
    },
    Exited,
    /// All that it wrote has been read, or has been waited for long enough.
    Drained,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Call the runtime.
    Run(Call),
    /// Read what it wrote, to the end.
    Drain,
    /// Write the exit record.
    Record,
    /// Publish the event, and answer those who wait for it.
    Tell(Told),
    /// Drop all of it.
    Forget,
}

/// What the world is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Started,
    Paused,
    Resumed,
    Exited,
    Deleted,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// A call is under way: ask again when it has ended.
    #[error("another call is under way")]
    Busy,
    /// Never in this state.
    #[error("cannot {verb} a {state} process")]
    State { verb: &'static str, state: &'static str },
}

/// A process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) state: State,
    /// What is under way.
    pub(crate) call: Option<Call>,
    /// Whether it is the container's first process.
    first: bool,
}

impl Life {
    /// Of a process that was created, but not started.
    pub(crate) fn new(first: bool) -> Self {
        Self {
            state: State::Created,
            call: None,
            first,
        }
    }

    /// What becomes of it, and what is to be done.
    pub(crate) fn apply(self, event: Event) -> Result<(Self, Vec<Effect>), Denied> {
        match event {
            Event::Asked(call) => self.asked(call),
            Event::Answered { call, done } => Ok(self.answered(call, done)),
            Event::Exited => match self.state {
                State::Draining | State::Stopped => Err(self.denied("end")),
                _ => Ok((self.to(State::Draining), vec![Effect::Drain])),
            },
            Event::Drained => match (self.state, self.call) {
                (State::Draining, Some(Call::Start)) => Err(Denied::Busy),
                (State::Draining, _) => {
                    let mut effects = vec![Effect::Tell(Told::Exited)];
                    if self.first {
                        effects.insert(0, Effect::Record);
                    }
                    Ok((self.to(State::Stopped), effects))
                }
                _ => Err(self.denied("drain")),
            },
        }
    }

    fn asked(self, call: Call) -> Result<(Self, Vec<Effect>), Denied> {
        if self.call.is_some() {
            return Err(Denied::Busy);
        }
        let allowed = match call {
            Call::Start => self.state == State::Created,
            Call::Pause => self.state == State::Running,
            Call::Resume => self.state == State::Paused,
            Call::Update => !self.ended(),
            // It is as good as stopped.
            Call::Delete if self.state == State::Draining => return Err(Denied::Busy),
            Call::Delete => matches!(self.state, State::Created | State::Stopped),
        };
        match (allowed, call) {
            (false, _) => Err(self.denied(call.verb())),
            // The runtime knows nothing of an exec that is not there any more.
            (true, Call::Delete) if !self.first => Ok((self, vec![Effect::Forget])),
            (true, _) => Ok((
                Self {
                    call: Some(call),
                    ..self
                },
                vec![Effect::Run(call)],
            )),
        }
    }

    fn answered(self, call: Call, done: bool) -> (Self, Vec<Effect>) {
        let idle = Self { call: None, ..self };
        match (call, done, self.state) {
            (Call::Start, true, State::Created) => {
                (idle.to(State::Running), vec![Effect::Tell(Told::Started)])
            }
            (Call::Start, true, _) => (idle, vec![Effect::Tell(Told::Started)]),
            // An exec that never ran has nothing to be waited for.
            (Call::Start, false, State::Created) if !self.first => (idle.to(State::Stopped), Vec::new()),
            (Call::Pause, true, State::Running) => (idle.to(State::Paused), vec![Effect::Tell(Told::Paused)]),
            (Call::Resume, true, State::Paused) => {
                (idle.to(State::Running), vec![Effect::Tell(Told::Resumed)])
            }
            (Call::Delete, true, _) => (idle, vec![Effect::Tell(Told::Deleted), Effect::Forget]),
            _ => (idle, Vec::new()),
        }
    }

    fn to(self, state: State) -> Self {
        Self { state, ..self }
    }

    fn denied(self, verb: &'static str) -> Denied {
        let state = match self.state {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Draining | State::Stopped => "stopped",
        };
        Denied::State { verb, state }
    }

    /// The number of the task service.
    pub(crate) fn number(self) -> i32 {
        match (self.state, self.call) {
            (State::Created, _) => 1,
            (State::Running, Some(Call::Pause)) => 5,
            // Until its output is read it has not stopped for anybody.
            (State::Running | State::Draining, _) => 2,
            (State::Stopped, _) => 3,
            (State::Paused, _) => 4,
        }
    }

    /// Whether it has ended.
    pub(crate) fn ended(self) -> bool {
        matches!(self.state, State::Draining | State::Stopped)
    }
}

impl Call {
    fn verb(self) -> &'static str {
        match self {
            Call::Start => "start",
            Call::Pause => "pause",
            Call::Resume => "resume",
            Call::Update => "update",
            Call::Delete => "delete",
        }
    }
}

#[cfg(test)]
mod tests;
