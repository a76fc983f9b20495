//! The folder of one ingest: `data`, and beside it what is known of it, one small file each. Knows no blob.
//!
//! A folder is made under another name and renamed once it has all its files, so a folder under its own name is
//! whole; what a crash leaves is told apart by its name or by its missing `data`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gantry_oci::Digest;

use crate::{Error, digest_of};

/// The bytes.
pub(crate) const DATA: &str = "data";
/// Names of folders that are not whole yet, or no longer.
pub(crate) const UNFINISHED: &str = ".new-";

/// How far an ingest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub reference: String,
    /// Bytes written.
    pub offset: u64,
    /// Bytes expected; 0 when not known.
    pub total: u64,
    /// The digest expected, if it was said.
    pub expected: Option<Digest>,
    /// When it was begun.
    pub started_at: SystemTime,
    /// When it was last written to.
    pub updated_at: SystemTime,
}

/// The folder of the ingest of a reference.
pub(crate) fn folder(ingests: &Path, reference: &str) -> PathBuf {
    ingests.join(digest_of(reference.as_bytes()).hex())
}

/// Makes the folder of a new ingest. The caller sees to it that nobody else makes it meanwhile.
pub(crate) fn create(ingests: &Path, status: &Status) -> Result<PathBuf, Error> {
    let folder = folder(ingests, &status.reference);
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let unfinished = ingests.join(format!("{UNFINISHED}{name}"));
    remove(&unfinished)?;
    let made = fill(&unfinished, status)
        .and_then(|()| fs::rename(&unfinished, &folder).map_err(|e| Error::io("begin ingest", &folder, e)));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error);
    }
    Ok(folder)
}

fn fill(folder: &Path, status: &Status) -> Result<(), Error> {
    let since = status.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expected = status.expected.as_ref().map_or("", Digest::as_str);
    fs::create_dir(folder).map_err(|e| Error::io("create ingest", folder, e))?;
    for (name, text) in [
        ("ref", status.reference.as_str()),
        ("total", &status.total.to_string()),
        ("expected", expected),
        ("startedat", &since.as_nanos().to_string()),
        (DATA, ""),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", path, e))?;
    }
    Ok(())
}

/// What is in a folder; `None` when it is no whole ingest.
pub(crate) fn status(folder: &Path) -> Option<Status> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let data = fs::metadata(folder.join(DATA)).ok()?;
    let reference = text("ref").filter(|r| !r.is_empty())?;
    let nanos: u64 = text("startedat")?.parse().ok()?;
    Some(Status {
        reference,
        offset: data.len(),
        total: text("total")?.parse().ok()?,
        expected: text("expected")?.parse().ok(),
        started_at: UNIX_EPOCH + Duration::from_nanos(nanos),
        updated_at: data.modified().unwrap_or(UNIX_EPOCH),
    })
}

/// Removes a folder in such a way that a crash leaves nothing that looks like an ingest.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    for removed in [fs::remove_file(folder.join(DATA)), fs::remove_dir_all(folder)] {
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove ingest", folder, e));
            }
            _ => {}
        }
    }
    Ok(())
}
