//! What must be true: containers as their clients left them, ends that must be told, and what became of a call that was cut off.

use std::collections::{BTreeMap, BTreeSet};

use gantry_supervisor_core::Time;
use gantry_supervisor_core::task::Exit;

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Absent,
    Recorded,
    Created,
    Running,
    Paused,
    /// With its status.
    Stopped(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecStage {
    Added,
    Running,
    Ended(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Exec {
    pub(crate) id: String,
    /// How it ends by itself; otherwise it sleeps.
    pub(crate) code: Option<u32>,
    pub(crate) stage: ExecStage,
    pub(crate) pid: u32,
}

/// A call of which it is not known whether it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    Record,
    Unrecord,
    Create,
    Start,
    /// And the status that it ends with.
    Kill(u32),
    KillShim,
    Pause,
    Resume,
    Delete,
    ExecAdd,
    ExecStart(usize),
    ExecKill(usize),
    ExecDelete(usize),
}

/// A container of one client.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) id: String,
    pub(crate) stage: Stage,
    pub(crate) pid: u32,
    pub(crate) execs: Vec<Exec>,
    pub(crate) execs_made: u32,
    pub(crate) doubt: Option<Doubt>,
    /// Its shim was killed.
    pub(crate) shimless: bool,
    /// Nothing was killed in the life of its task but by its client's calls, so that every event must be told once.
    pub(crate) clean: bool,
    pub(crate) events: Vec<String>,
}

impl Slot {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            stage: Stage::Absent,
            pid: 0,
            execs: Vec::new(),
            execs_made: 0,
            doubt: None,
            shimless: false,
            clean: false,
            events: Vec::new(),
        }
    }

    pub(crate) fn has_task(&self) -> bool {
        !matches!(self.stage, Stage::Absent | Stage::Recorded)
    }

    pub(crate) fn created(&mut self, pid: u32) {
        (self.stage, self.pid) = (Stage::Created, pid);
        (self.shimless, self.execs_made) = (false, 0);
        self.execs.clear();
        self.events = vec!["create".to_owned()];
    }

    pub(crate) fn tell(&mut self, event: impl Into<String>) {
        self.events.push(event.into());
    }

    /// Its init has ended, and all that ran beside it.
    pub(crate) fn stopped(&mut self, status: u32, at: Option<Time>, known: &mut Known) {
        self.stage = Stage::Stopped(status);
        known.end(&self.id, "", self.pid, Some(status), at);
        self.tell(format!("exit  {}", self.pid));
        for exec in std::mem::take(&mut self.execs) {
            if exec.stage == ExecStage::Running {
                let status = exec.code.is_none().then_some(137);
                known.end(&self.id, &exec.id, exec.pid, status, None);
                self.tell(format!("exit {} {}", exec.id, exec.pid));
            }
        }
    }

    /// Its task is deleted.
    pub(crate) fn deleted(&mut self, known: &mut Known) {
        self.stage = Stage::Recorded;
        self.tell("delete");
        self.execs.clear();
        let mut events = std::mem::take(&mut self.events);
        if self.clean {
            events.sort();
            known.lives.insert((self.id.clone(), self.pid), events);
        }
        self.clean = false;
    }
}

/// What is known of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: Option<u32>,
    pub(crate) at: Option<Time>,
}

/// What all clients have learned, to be compared with what was told.
#[derive(Default)]
pub(crate) struct Known {
    /// By container, exec and process.
    pub(crate) ends: BTreeMap<(String, String, u32), End>,
    /// The events of lives in which nothing was killed, by container and init.
    pub(crate) lives: BTreeMap<(String, u32), Vec<String>>,
}

impl Known {
    /// An end of which somebody was told must have been the same before.
    pub(crate) fn end(&mut self, id: &str, exec: &str, pid: u32, status: Option<u32>, at: Option<Time>) {
        let key = (id.to_owned(), exec.to_owned(), pid);
        let known = self.ends.entry(key.clone()).or_default();
        for (name, same) in [
            (
                "status",
                known.status.is_none() || status.is_none() || known.status == status,
            ),
            ("time", known.at.is_none() || at.is_none() || known.at == at),
        ] {
            assert!(same, "{name} of {key:?} was {known:?} and is {status:?} {at:?}");
        }
        known.status = known.status.or(status);
        known.at = known.at.or(at);
    }

    pub(crate) fn exit(&mut self, id: &str, exec: &str, pid: u32, exit: Exit) {
        self.end(id, exec, pid, Some(exit.exit_status), Some(exit.exited_at));
    }
}

/// What one client keeps in the stores. A name in doubt may be there or not.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) images: BTreeSet<String>,
    pub(crate) snapshots: BTreeSet<String>,
    pub(crate) leases: BTreeSet<String>,
    pub(crate) doubts: BTreeSet<String>,
    pub(crate) made: u32,
}
