//! The store at one root: finding blobs, beginning and resuming ingests, tidying up after a crash.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gantry_oci::Digest;

use crate::ingest::{self, Status, UNFINISHED};
use crate::{Error, Info, Reader, Writer};

/// The folders, and the lock that keeps the making and the ending of ingests apart.
#[derive(Debug)]
pub(crate) struct Disk {
    blobs: PathBuf,
    ingests: PathBuf,
    lock: Mutex<()>,
}

impl Disk {
    pub(crate) fn guard(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().as_str()).join(digest.hex())
    }

    pub(crate) fn sync_parent(&self, path: &Path) -> Result<(), Error> {
        let parent = path.parent().unwrap_or(&self.blobs);
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| Error::io("sync", parent, e))
    }
}

/// The content store at one root. Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    disk: Arc<Disk>,
}

impl Store {
    /// Opens or makes the store at `root`, and removes what a crash left unfinished. Ingests that can be resumed stay.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        let (blobs, ingests) = (root.join("blobs"), root.join("ingest"));
        for folder in [
            &blobs.join("sha256"),
            &blobs.join("sha384"),
            &blobs.join("sha512"),
            &ingests,
        ] {
            fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        }
        let disk = Disk {
            blobs,
            ingests,
            lock: Mutex::new(()),
        };
        let store = Self { disk: Arc::new(disk) };
        store.tidy()?;
        Ok(store)
    }

    fn tidy(&self) -> Result<(), Error> {
        for path in list(&self.disk.ingests)? {
            let unfinished = path
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(UNFINISHED));
            if unfinished || ingest::status(&path).is_none() {
                ingest::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Where a blob lies, or would lie. For those who need a path; to read, take [`Store::reader`].
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.disk.blob_path(digest)
    }

    /// About one blob.
    pub fn info(&self, digest: &Digest) -> Result<Info, Error> {
        let path = self.path(digest);
        let metadata = fs::metadata(&path).map_err(|e| missing(digest, "stat", path, e))?;
        Ok(Info::new(digest.clone(), &metadata))
    }

    /// Whether a blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// All blobs, in no order.
    pub fn list(&self) -> Result<Vec<Info>, Error> {
        let mut all = Vec::new();
        for folder in list(&self.disk.blobs)? {
            let algorithm = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            for path in list(&folder)? {
                let hex = path.file_name().unwrap_or_default().to_string_lossy();
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    continue;
                };
                match fs::metadata(&path) {
                    Ok(metadata) => all.push(Info::new(digest, &metadata)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::io("stat", path, e)),
                }
            }
        }
        Ok(all)
    }

    /// Opens a blob.
    pub fn reader(&self, digest: &Digest) -> Result<Reader, Error> {
        let path = self.path(digest);
        let file = File::open(&path).map_err(|e| missing(digest, "open", path.clone(), e))?;
        let size = file.metadata().map_err(|e| Error::io("stat", &path, e))?.len();
        Ok(Reader {
            file,
            path,
            size,
            position: 0,
        })
    }

    /// A whole small blob.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut reader = self.reader(digest)?;
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size()).unwrap_or(0));
        let path = reader.path.clone();
        reader
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("read blob", path, e))?;
        Ok(bytes)
    }

    /// Deletes a blob. Those who have it open can read on.
    pub fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        fs::remove_file(&path).map_err(|e| missing(digest, "delete", path, e))
    }

    /// Opens the ingest `reference`, or begins it. `total` 0 and `expected` `None` mean not known.
    ///
    /// [`Error::AlreadyExists`] when the blob `expected` is there, [`Error::Locked`] while another writer has the
    /// ingest, [`Error::OtherTotal`] when it was begun with another total.
    pub fn writer(&self, reference: &str, total: u64, expected: Option<&Digest>) -> Result<Writer, Error> {
        if reference.is_empty() {
            return Err(Error::EmptyReference);
        }
        if let Some(digest) = expected
            && self.contains(digest)
        {
            return Err(Error::AlreadyExists(digest.clone()));
        }
        let guard = self.disk.guard();
        let folder = ingest::folder(&self.disk.ingests, reference);
        let mut status = match ingest::status(&folder) {
            Some(status) => status,
            None => {
                ingest::remove(&folder)?;
                let now = SystemTime::now();
                let status = Status {
                    reference: reference.to_owned(),
                    offset: 0,
                    total,
                    expected: expected.cloned(),
                    started_at: now,
                    updated_at: now,
                };
                ingest::create(&self.disk.ingests, &status)?;
                status
            }
        };
        if total != 0 && status.total != 0 && total != status.total {
            return Err(Error::OtherTotal(total, status.total));
        }
        if total != 0 {
            status.total = total;
        }
        if expected.is_some() {
            status.expected = expected.cloned();
        }
        let resumed = status.offset > 0;
        let mut writer = Writer::open(Arc::clone(&self.disk), folder, status)?;
        drop(guard);
        if resumed {
            writer.resume()?;
        }
        Ok(writer)
    }

    /// How far one ingest is.
    pub fn status(&self, reference: &str) -> Result<Status, Error> {
        ingest::status(&ingest::folder(&self.disk.ingests, reference))
            .ok_or_else(|| Error::NoIngest(reference.to_owned()))
    }

    /// How far all ingests are, in no order.
    pub fn statuses(&self) -> Result<Vec<Status>, Error> {
        let folders = list(&self.disk.ingests)?;
        Ok(folders
            .iter()
            .filter_map(|folder| ingest::status(folder))
            .collect())
    }

    /// Throws an ingest away. A writer that has it open can no longer commit it.
    pub fn abort(&self, reference: &str) -> Result<(), Error> {
        let _guard = self.disk.guard();
        let folder = ingest::folder(&self.disk.ingests, reference);
        if ingest::status(&folder).is_none() {
            return Err(Error::NoIngest(reference.to_owned()));
        }
        ingest::remove(&folder)
    }
}

fn missing(digest: &Digest, operation: &'static str, path: PathBuf, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return Error::NotFound(digest.clone());
    }
    Error::io(operation, path, error)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |e| Error::io("list", folder, e);
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|e| e.path()).map_err(failed))
        .collect()
}
