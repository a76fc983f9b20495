//! A container's record on disk: `ROOT/ID/state.json`, and beside it the FIFO at which its process waits to be started.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gantry_cgroups::{FreezerState, Manager, Unit};
use gantry_oci::runtime::Spec;
use gantry_sys::process::Pid;
use gantry_sys::procfs;
use serde::{Deserialize, Serialize};

use crate::config::{Config, check_id};
use crate::error::{Error, Result};
use crate::folder::Turn;

/// The version of the record.
const VERSION: u32 = 1;

/// What is kept of a container.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    id: String,
    pid: Pid,
    /// Of the process, so that another one with the same number is not taken for it.
    start_time: u64,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    /// Who made it.
    uid: u32,
    /// Its cgroup's folder by controller.
    cgroup_paths: Vec<(String, PathBuf)>,
    /// systemd's unit that it is, and whether it is of the user's systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup_unit: Option<(String, bool)>,
    config: Box<serde_json::value::RawValue>,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its process waits to be started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It has none any more.
    Stopped,
}

impl Status {
    /// runc's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// One container, as its record says.
#[derive(Debug)]
pub struct Container {
    folder: PathBuf,
    record: Record,
    spec: Spec,
    /// Which file the record was: inode and the time of its making.
    stamp: (u64, i64, i64),
}

/// What a new record says.
pub struct New<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its process.
    pub pid: Pid,
    /// What it is made of.
    pub config: &'a Config,
    /// Its cgroup.
    pub cgroup: &'a Manager,
}

/// The folder of a container that is being made. Dropped before [`Claim::keep`], it is removed.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    kept: bool,
    turn: Option<Turn>,
}

impl Claim {
    /// Takes the id: from now on nobody else can.
    pub fn new(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(Error::file("failed to make", root))?;
        let folder = root.join(id);
        loop {
            match DirBuilder::new().mode(0o711).create(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(Error::Exists),
                Err(source) => {
                    return Err(Error::File {
                        what: "failed to make",
                        path: folder,
                        source,
                    });
                }
            }
            // A `delete` may have taken the empty folder for what somebody left, and removed it.
            if let Some(turn) = Turn::wait(&folder)? {
                return Ok(Self {
                    folder,
                    kept: false,
                    turn: Some(turn),
                });
            }
        }
    }

    /// For the container's process: it must not hold the lock of who makes it.
    pub(crate) fn forked(&mut self) {
        self.turn = None;
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes which cgroup is about to be made, so that whoever finds this folder without a record can take it away.
    pub fn intend(&self, cgroup: &str) -> Result<()> {
        let note = self.folder.join(INTENT);
        // A link's target is written in one call, whole or not at all.
        std::os::unix::fs::symlink(cgroup, &note).map_err(Error::file("failed to write", note))
    }

    /// Notes the process too, for one that is in no cgroup to be found by.
    pub(crate) fn note_process(folder: &Path, pid: Pid) -> Result<()> {
        let stat = procfs::stat(pid).ok_or(Error::NotRunning)?;
        let note = folder.join(PROCESS);
        std::os::unix::fs::symlink(format!("{pid} {}", stat.start_time), &note)
            .map_err(Error::file("failed to write", note))
    }

    /// Writes the record: the container exists.
    pub fn keep(mut self, new: &New<'_>) -> Result<()> {
        let stat = procfs::stat(new.pid).ok_or(Error::NotRunning)?;
        let bundle = &new.config.bundle;
        let text = new.config.text.clone();
        let config = serde_json::value::RawValue::from_string(text).map_err(|source| Error::Json {
            path: bundle.join("config.json"),
            source,
        })?;
        let record = Record {
            version: VERSION,
            id: new.id.to_owned(),
            pid: new.pid,
            start_time: stat.start_time,
            bundle: bundle.clone(),
            rootfs: new.config.rootfs.clone(),
            created: gantry_sys::clock::rfc3339(std::time::SystemTime::now()),
            uid: gantry_sys::process::euid(),
            cgroup_paths: new.cgroup.paths(),
            cgroup_unit: new.cgroup.unit().map(|unit| (unit.name.clone(), unit.user)),
            config,
        };
        let path = self.folder.join("state.json");
        let text = serde_json::to_vec(&record).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        write_atomically(&path, &text)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            let _ = crate::folder::remove(&self.folder);
        }
    }
}

/// Writes a file so that it is there whole or not at all. The folder is on a file system in memory: nothing is flushed.
pub(crate) fn write_atomically(path: &Path, data: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(data))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::File {
            what: "failed to write",
            path: path.to_owned(),
            source,
        }
    })
}

fn stamp(file: &fs::Metadata) -> (u64, i64, i64) {
    (file.ino(), file.mtime(), file.mtime_nsec())
}

/// The name of the note of a container that is being made: a link to the path of its cgroup.
pub(crate) const INTENT: &str = "intent";

/// The name of the note of a process that is in no cgroup: a link to its id and the time of its start.
pub(crate) const PROCESS: &str = "process";

/// The name of the FIFO.
pub(crate) const FIFO: &str = "exec.fifo";

impl Container {
    /// Reads the record of `id`.
    pub fn load(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let folder = root.join(id);
        let path = folder.join("state.json");
        let mut text = String::new();
        let read = fs::File::open(&path).and_then(|mut file| {
            file.read_to_string(&mut text)?;
            file.metadata()
        });
        let stamp = stamp(&read.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound,
            _ => Error::File {
                what: "failed to read",
                path: path.clone(),
                source,
            },
        })?);
        let record: Record = serde_json::from_str(&text).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        if record.version != VERSION {
            return Err(Error::State(format!(
                "{} is of version {}, not {VERSION}",
                path.display(),
                record.version
            )));
        }
        let spec =
            serde_json::from_str(record.config.get()).map_err(|source| Error::Json { path, source })?;
        Ok(Self {
            folder,
            record,
            spec,
            stamp,
        })
    }

    /// The right to change it, if it still is the container whose record was read.
    pub(crate) fn turn(&self) -> Result<Turn> {
        let turn = Turn::wait(&self.folder)?.ok_or(Error::NotFound)?;
        match fs::metadata(self.folder.join("state.json")) {
            Ok(now) if stamp(&now) == self.stamp => Ok(turn),
            _ => Err(Error::NotFound),
        }
    }

    /// All containers of a root, by id; those that cannot be read are left out.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::file("failed to read", root))?,
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        Ok(ids.iter().filter_map(|id| Self::load(root, id).ok()).collect())
    }

    /// Where it stands, asked of the kernel.
    pub fn status(&self) -> Result<Status> {
        if !self.alive() {
            return Ok(Status::Stopped);
        }
        match self.cgroup()?.freezer_state()? {
            // Also one that was not started yet.
            Some(FreezerState::Frozen) => Ok(Status::Paused),
            _ if self.fifo().exists() => Ok(Status::Created),
            _ => Ok(Status::Running),
        }
    }

    /// Whether its first process is there.
    pub fn alive(&self) -> bool {
        procfs::stat(self.record.pid)
            .is_some_and(|stat| stat.start_time == self.record.start_time && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Its first process.
    pub fn pid(&self) -> Pid {
        self.record.pid
    }

    /// Its bundle.
    pub fn bundle(&self) -> &Path {
        &self.record.bundle
    }

    /// Its root file system.
    pub fn rootfs(&self) -> &Path {
        &self.record.rootfs
    }

    /// When it was made.
    pub fn created(&self) -> &str {
        &self.record.created
    }

    /// Who made it.
    pub fn uid(&self) -> u32 {
        self.record.uid
    }

    /// Its configuration.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The annotations, as `state` shows them.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.spec.annotations
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> Result<Manager> {
        let unit = self.record.cgroup_unit.clone();
        let unit = unit.map(|(name, user)| Unit { name, user });
        Ok(Manager::restore(&self.record.cgroup_paths, unit)?)
    }

    /// Where the record is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The FIFO at which its process waits.
    pub(crate) fn fifo(&self) -> PathBuf {
        self.folder.join(FIFO)
    }

    /// Removes the record and all beside it.
    pub(crate) fn forget(&self) -> Result<()> {
        crate::folder::remove(&self.folder).map(drop)
    }

    /// The state as hooks and `state` see it.
    pub fn oci_state(&self, status: Status) -> gantry_oci::runtime::State {
        use gantry_oci::runtime::ContainerState as S;
        gantry_oci::runtime::State {
            oci_version: self.spec.oci_version.clone(),
            id: self.record.id.clone(),
            status: match status {
                Status::Created => S::Created,
                Status::Stopped => S::Stopped,
                Status::Running | Status::Paused => S::Running,
            },
            pid: if status == Status::Stopped {
                0
            } else {
                self.record.pid
            },
            bundle: self.record.bundle.display().to_string(),
            annotations: self.spec.annotations.clone(),
        }
    }
}
