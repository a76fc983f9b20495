//! The execs of one task: a file for each in `BUNDLE/execs`, so that a start after an outage knows whom to ask for, and one wait of
//! each for all who wait. Knows no shim.
//!
//! ```text
//! BUNDLE/execs/<exec id>   empty: added
//!                          PID: started
//!                          PID STATUS NANOSECONDS: ended, with what its shim told
//! ```

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Error, Kind, Result, Time};
use tokio::sync::watch;

use super::lock;

/// How an exec ended, or why that is not known.
type Ended = std::result::Result<Exit, (Kind, String)>;

/// What is awaited of an exec.
type Wait = watch::Sender<Option<Ended>>;

/// The execs of a task.
pub(super) struct Execs {
    folder: PathBuf,
    waits: Mutex<HashMap<String, Wait>>,
}

/// One who waits; `begin` says whether it is the first, who has to see to it that there is an answer.
pub(super) struct Waiter {
    pub(super) begin: bool,
    receiver: watch::Receiver<Option<Ended>>,
}

impl Waiter {
    pub(super) async fn ended(mut self) -> Result<Exit> {
        let answer = self.receiver.wait_for(Option::is_some).await;
        match answer.ok().and_then(|answer| answer.clone()) {
            Some(ended) => ended.map_err(|(kind, message)| Error::new(kind, message)),
            None => Err(Error::not_found("the process was deleted: not found")),
        }
    }
}

impl Execs {
    pub(super) fn new(bundle: &Path) -> Self {
        Self {
            folder: bundle.join("execs"),
            waits: Mutex::new(HashMap::new()),
        }
    }

    /// Keeps that there is one, before its shim is asked for it.
    pub(super) fn add(&self, exec_id: &str) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o711).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match fs::File::create_new(self.folder.join(exec_id)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }

    /// Keeps its process. That it ended may be known already: the beginning of that is the same.
    pub(super) fn start(&self, exec_id: &str, pid: u32) -> io::Result<()> {
        self.write(exec_id, &pid.to_string())
    }

    /// One call of the system, so that there is all of it or nothing.
    fn write(&self, exec_id: &str, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(self.folder.join(exec_id))?;
        io::Write::write_all(&mut file, text.as_bytes())
    }

    /// It is no more.
    pub(super) fn remove(&self, exec_id: &str) {
        let _ = fs::remove_file(self.folder.join(exec_id));
        lock(&self.waits).remove(exec_id);
    }

    /// All that were added.
    pub(super) fn added(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Those that were started, with the process of each and how it ended, if that is known.
    pub(super) fn started(&self) -> Vec<(String, u32, Option<Exit>)> {
        let added = self.added().into_iter();
        added
            .filter_map(|exec_id| {
                let (pid, exit) = self.read(&exec_id)?;
                Some((exec_id, pid, exit))
            })
            .collect()
    }

    fn read(&self, exec_id: &str) -> Option<(u32, Option<Exit>)> {
        let text = fs::read_to_string(self.folder.join(exec_id)).ok()?;
        let mut words = text.split(' ');
        let pid = words.next()?.parse().ok()?;
        let exit = words.next().zip(words.next()).and_then(|(status, at)| {
            Some(Exit {
                pid,
                exit_status: status.parse().ok()?,
                exited_at: Time(at.parse().ok()?),
            })
        });
        Some((pid, exit))
    }

    /// How one ended whose shim cannot be asked any more.
    pub(super) fn exit(&self, exec_id: &str) -> Option<Exit> {
        self.read(exec_id)?.1
    }

    /// One more who waits.
    pub(super) fn wait(&self, exec_id: &str) -> Waiter {
        let mut waits = lock(&self.waits);
        let begin = !waits.contains_key(exec_id);
        let wait = waits
            .entry(exec_id.to_owned())
            .or_insert_with(|| watch::Sender::new(None));
        Waiter {
            begin,
            receiver: wait.subscribe(),
        }
    }

    /// Answers all who wait.
    pub(super) fn answer(&self, exec_id: &str, ended: Result<Exit>) {
        if let Some(wait) = lock(&self.waits).remove(exec_id) {
            wait.send_replace(Some(ended.map_err(|error| (error.kind(), error.chain()))));
        }
    }

    /// It has ended. Kept, as its shim may be gone when that is asked for.
    pub(super) fn ended(&self, exec_id: &str, exit: Exit) {
        let text = format!("{} {} {}", exit.pid, exit.exit_status, exit.exited_at.0);
        // One that was deleted meanwhile, or that nobody asked us for, is not kept.
        let _ = self.write(exec_id, &text);
        self.answer(exec_id, Ok(exit));
    }

    /// The task is gone, and nobody has to wait.
    pub(super) fn all_gone(&self) {
        lock(&self.waits).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let execs = Execs::new(dir.path());
        let (first, second) = (execs.wait("e"), execs.wait("e"));
        assert!(first.begin && !second.begin);
        let exit = Exit {
            pid: 7,
            exit_status: 3,
            ..Exit::default()
        };
        execs.ended("e", exit);
        assert_eq!(first.ended().await.unwrap(), exit);
        assert_eq!(second.ended().await.unwrap(), exit);
        let third = execs.wait("e");
        execs.all_gone();
        assert_eq!(third.ended().await.unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn execs_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let execs = Execs::new(dir.path());
        assert!(execs.added().is_empty());
        execs.add("a").unwrap();
        execs.add("b").unwrap();
        execs.add("b").unwrap();
        execs.start("b", 42).unwrap();
        assert!(execs.start("c", 1).is_err());
        let mut added = execs.added();
        added.sort();
        assert_eq!(added, ["a", "b"]);
        assert_eq!(execs.started(), [("b".to_owned(), 42, None)]);
        let exit = Exit {
            pid: 42,
            exit_status: 7,
            exited_at: Time(5),
        };
        execs.ended("b", exit);
        execs.start("b", 42).unwrap();
        assert_eq!(execs.started(), [("b".to_owned(), 42, Some(exit))]);
        execs.remove("b");
        assert_eq!(execs.added(), ["a"]);
    }
}
