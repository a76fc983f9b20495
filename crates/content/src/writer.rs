//! One open ingest: appending, hashing on the way, and the commit that makes a blob of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use gantry_oci::Digest;
use gantry_oci::digest::Algorithm;
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::ingest::{self, DATA, Status};
use crate::store::Disk;
use crate::{Error, Hasher};

/// How much is read at once when hashing again what is there.
const CHUNK: usize = 1 << 20;

/// One open ingest, held against all other writers until it is dropped.
///
/// Dropping it keeps what was written, and [`crate::Store::writer`] with the same reference goes on from there; only
/// when the disk was full is the ingest thrown away, so that it does not keep the disk full.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<Disk>,
    folder: PathBuf,
    data: File,
    hasher: Hasher,
    status: Status,
    exhausted: bool,
    closed: bool,
}

impl Writer {
    /// Opens the ingest `folder`, locks it and hashes what is there already.
    pub(crate) fn open(disk: Arc<Disk>, folder: PathBuf, status: Status) -> Result<Self, Error> {
        let path = folder.join(DATA);
        let data = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        match rustix::fs::flock(&data, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(Error::Locked(status.reference)),
            Err(errno) => return Err(Error::io("lock", path, errno)),
            Ok(()) => {}
        }
        let algorithm = status
            .expected
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        Ok(Self {
            disk,
            folder,
            data,
            hasher: Hasher::new(algorithm),
            status,
            exhausted: false,
            closed: false,
        })
    }

    /// Hashes what an earlier writer left. Apart from [`Writer::open`] because it takes as long as the ingest is big.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        let size = self.data.metadata().map_err(|e| self.failed("stat", e))?.len();
        self.hasher = self.hash(self.hasher.algorithm(), size)?;
        self.status.offset = size;
        Ok(())
    }

    fn hash(&self, algorithm: Algorithm, size: u64) -> Result<Hasher, Error> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
        let mut offset = 0;
        while offset < size {
            let want = buffer.len().min(usize::try_from(size - offset).unwrap_or(CHUNK));
            self.data
                .read_exact_at(&mut buffer[..want], offset)
                .map_err(|e| self.failed("read", e))?;
            hasher.update(&buffer[..want]);
            offset += want as u64;
        }
        Ok(hasher)
    }

    /// Where it stands.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.digest()
    }

    /// Appends all of `bytes`, or nothing: after an error the ingest is as long as it was.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Err(error) = self.data.write_all_at(bytes, self.status.offset) {
            let _ = self.data.set_len(self.status.offset);
            let error = self.failed("write", error);
            self.exhausted |= matches!(error, Error::Exhausted { .. });
            return Err(error);
        }
        self.hasher.update(bytes);
        self.status.offset += bytes.len() as u64;
        self.status.updated_at = SystemTime::now();
        Ok(())
    }

    /// Starts over. Only `size` 0 is possible.
    pub fn truncate(&mut self, size: u64) -> Result<(), Error> {
        if size != 0 {
            return Err(Error::Truncate(size));
        }
        self.data.set_len(0).map_err(|e| self.failed("truncate", e))?;
        self.hasher = Hasher::new(self.hasher.algorithm());
        self.status.offset = 0;
        self.status.updated_at = SystemTime::now();
        Ok(())
    }

    /// Verifies size (0: any) and digest (`None`: any), makes the blob visible and ends the ingest.
    ///
    /// On [`Error::Size`] and [`Error::Digest`] the ingest is still there, to be written further, truncated or
    /// aborted. On [`Error::AlreadyExists`] it is gone. What is visible is on the disk.
    pub fn commit(&mut self, size: u64, expected: Option<&Digest>) -> Result<Digest, Error> {
        let actual = self.status.offset;
        if size != 0 && size != actual {
            return Err(Error::Size {
                actual,
                expected: size,
            });
        }
        let digest = match expected.map(Digest::algorithm) {
            Some(other) if other != self.hasher.algorithm() => self.hash(other, actual)?.digest(),
            _ => self.hasher.digest(),
        };
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(Error::Digest {
                actual: digest,
                expected: expected.clone(),
            });
        }
        let target = self.disk.blob_path(&digest);
        let taken = target.exists();
        if !taken {
            self.make_durable()?;
        }
        let disk = Arc::clone(&self.disk);
        let guard = disk.guard();
        let renamed = if taken {
            Err(Errno::EXIST)
        } else {
            publish(&self.folder.join(DATA), &target)
        };
        match renamed {
            Ok(()) => disk.sync_parent(&target)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("commit blob", target, errno)),
        }
        self.closed = true;
        // Without its data it is no ingest any more, so a failure here costs only a folder until the next start.
        let _ = ingest::remove(&self.folder);
        drop(guard);
        if renamed.is_err() {
            return Err(Error::AlreadyExists(digest));
        }
        Ok(digest)
    }

    fn make_durable(&mut self) -> Result<(), Error> {
        let synced = self
            .data
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| self.data.sync_all());
        synced.map_err(|e| {
            let error = self.failed("sync", e);
            self.exhausted |= matches!(error, Error::Exhausted { .. });
            error
        })
    }

    /// Throws the ingest away.
    pub fn abort(mut self) -> Result<(), Error> {
        self.discard()
    }

    fn discard(&mut self) -> Result<(), Error> {
        self.closed = true;
        let disk = Arc::clone(&self.disk);
        let _guard = disk.guard();
        ingest::remove(&self.folder)
    }

    fn failed(&self, operation: &'static str, error: std::io::Error) -> Error {
        Error::io(operation, self.folder.join(DATA), error)
    }
}

/// Renames without ever replacing; where the file system cannot say so, the caller's lock has to do.
fn publish(from: &Path, to: &Path) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) if to.exists() => Err(Errno::EXIST),
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::rename(from, to).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
        }
        other => other,
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.exhausted && !self.closed {
            let _ = self.discard();
        }
    }
}
