//! One task as it is held in memory: its shim, how it ended, what was told of it. Knows no other task.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Error, Result, Time};
use tokio::sync::watch;

use super::bundle::Bundle;
use super::execs::Execs;
use super::lock;
use super::shim::Shim;

/// How many ends are remembered for each task: those that a shim may tell twice, of a container with many execs.
const TOLD: usize = 128;

/// How far a task has come to its end.
#[derive(Clone, Copy, Default)]
struct End {
    exit: Option<Exit>,
    /// Removed, or never made.
    gone: bool,
}

/// One task.
pub(crate) struct Entry {
    pub(super) namespace: String,
    pub(super) id: String,
    pub(super) bundle: Bundle,
    /// The shim's program, once the record of the container was read.
    pub(super) binary: OnceLock<PathBuf>,
    /// Held by who makes the task, takes it away, or finds that its shim is gone.
    pub(super) operation: tokio::sync::Mutex<()>,
    pub(super) execs: Execs,
    /// None once the shim is gone.
    shim: Mutex<Option<Arc<Shim>>>,
    end: watch::Sender<End>,
    /// Ends that were told: exec, pid, time. Shims tell at least once; we tell once.
    told: Mutex<VecDeque<(String, u32, Time)>>,
}

impl Entry {
    pub(super) fn new(namespace: &str, id: &str, bundle: Bundle) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            execs: Execs::new(&bundle.path),
            bundle,
            binary: OnceLock::new(),
            operation: tokio::sync::Mutex::new(()),
            shim: Mutex::new(None),
            end: watch::Sender::new(End::default()),
            told: Mutex::new(VecDeque::new()),
        })
    }

    /// Namespace and id.
    pub(super) fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.id.clone())
    }

    pub(super) fn binary(&self) -> &Path {
        self.binary.get().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The shim, if it is there.
    pub(super) fn shim(&self) -> Option<Arc<Shim>> {
        lock(&self.shim).clone()
    }

    pub(super) fn set_shim(&self, shim: Option<Arc<Shim>>) {
        *lock(&self.shim) = shim;
    }

    /// Whether this is still its connection.
    pub(super) fn has_shim(&self, shim: &Arc<Shim>) -> bool {
        lock(&self.shim)
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(kept, shim))
    }

    /// Puts another connection in the place of one that was lost.
    pub(super) fn replace_shim(&self, lost: &Arc<Shim>, shim: Arc<Shim>) {
        let mut kept = lock(&self.shim);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, lost)) {
            *kept = Some(shim);
        }
    }

    /// Takes the connection away. Returns whether it was this one.
    pub(super) fn take_shim(&self, shim: &Arc<Shim>) -> bool {
        let mut kept = lock(&self.shim);
        let this = kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, shim));
        if this {
            *kept = None;
        }
        this
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.end.borrow().exit
    }

    /// Keeps how the first process ended. The first word holds.
    pub(super) fn set_exit(&self, exit: Exit) {
        self.end.send_if_modified(|end| {
            let new = end.exit.is_none();
            end.exit.get_or_insert(exit);
            new
        });
    }

    /// Nobody has to wait any more.
    pub(super) fn set_gone(&self) {
        self.end.send_modify(|end| end.gone = true);
        self.execs.all_gone();
    }

    /// Waits until the first process has ended, or will not any more.
    pub(super) async fn wait(&self) -> Result<Exit> {
        let mut end = self.end.subscribe();
        let end = end.wait_for(|end| end.exit.is_some() || end.gone).await;
        let exit = end.ok().and_then(|end| end.exit);
        exit.ok_or_else(|| {
            Error::not_found(format!(
                "no running task found: task {} not found: not found",
                self.id
            ))
        })
    }

    /// Whether an end is told for the first time.
    pub(super) fn first(&self, exec_id: &str, pid: u32, at: Time) -> bool {
        let mut told = lock(&self.told);
        let end = (exec_id.to_owned(), pid, at);
        if told.contains(&end) {
            return false;
        }
        if told.len() == TOLD {
            told.pop_front();
        }
        told.push_back(end);
        true
    }
}
