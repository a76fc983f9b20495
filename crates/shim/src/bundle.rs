//! The files of a bundle that are the shim's: socket, exit record, options.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gantry_shim_api::messages::Timestamp;
use serde::{Deserialize, Serialize};

/// How the first process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    pub(crate) exit_status: u32,
    pub(crate) exited_at: String,
}

/// What `delete` must know of a shim that is gone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) runtime: PathBuf,
    pub(crate) runtime_root: PathBuf,
}

/// What of a container's configuration the shim has to know: the rest is the runtime's, and its reader would be a third of
/// this program.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    linux: Option<Linux>,
}

/// The configuration's part for Linux.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Linux {
    #[serde(rename = "cgroupsPath")]
    pub(crate) cgroups_path: String,
    pub(crate) namespaces: Option<Vec<Namespace>>,
}

/// One of its namespaces: new, or that of a path.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) path: String,
}

/// Reads it.
pub(crate) fn linux(folder: &Path) -> Option<Linux> {
    let text = fs::read(folder.join("config.json")).ok()?;
    serde_json::from_slice::<Config>(&text).ok()?.linux
}

/// Writes a file that is there whole or not at all, and after this returns stays even when the power fails.
fn write_durably(folder: &Path, name: &str, data: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(data)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}

/// Records the exit.
pub(crate) fn record_exit(folder: &Path, pid: u32, exit_status: u32, at: SystemTime) -> io::Result<()> {
    let record = ExitRecord {
        version: 1,
        pid,
        exit_status,
        exited_at: gantry_sys::clock::rfc3339(at),
    };
    write_durably(folder, "exit.json", &serde_json::to_vec(&record)?)
}

/// The recorded exit.
pub(crate) fn exit_record(folder: &Path) -> Option<ExitRecord> {
    serde_json::from_slice(&fs::read(folder.join("exit.json")).ok()?).ok()
}

/// Keeps what `delete` will need.
pub(crate) fn keep(folder: &Path, kept: &Kept) -> io::Result<()> {
    write_durably(folder, "shim.json", &serde_json::to_vec(kept)?)
}

/// What was kept.
pub(crate) fn kept(folder: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(folder.join("shim.json")).ok()?).ok()
}

/// A time of the record as the protocol has it.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    gantry_sys::clock::parse_rfc3339(text).map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn records_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = UNIX_EPOCH + Duration::new(1_709_209_805, 5_000_000);
        record_exit(dir.path(), 7, 42, at).unwrap();
        let record = exit_record(dir.path()).unwrap();
        assert_eq!((record.pid, record.exit_status), (7, 42));
        assert_eq!(timestamp(&record.exited_at), Some(Timestamp::from(at)));
        let kept_one = Kept {
            runtime: "/r".into(),
            runtime_root: "/s".into(),
        };
        keep(dir.path(), &kept_one).unwrap();
        assert_eq!(kept(dir.path()).unwrap().runtime, kept_one.runtime);
        assert!(exit_record(Path::new("/nonexistent")).is_none());
    }
}
