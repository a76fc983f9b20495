//! Blobs that are there: what is known of one, and reading it. Knows nothing of how they came.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use gantry_oci::Digest;

use crate::Error;

/// About one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its digest.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// When it was committed.
    pub created_at: SystemTime,
}

impl Info {
    pub(crate) fn new(digest: Digest, metadata: &Metadata) -> Self {
        Self {
            digest,
            size: metadata.len(),
            created_at: metadata.modified().unwrap_or(UNIX_EPOCH),
        }
    }
}

/// An open blob: stays readable when the blob is deleted meanwhile.
///
/// [`Read`] goes on from where it stands; [`Reader::read_at`] takes any offset and may be called from many threads.
#[derive(Debug)]
pub struct Reader {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) position: u64,
}

impl Reader {
    /// Size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads up to `buffer.len()` bytes from `offset`; 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        if offset > self.size {
            return Err(Error::OutOfRange {
                offset,
                size: self.size,
            });
        }
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|source| Error::io("read blob", &self.path, source)),
            }
        }
    }

    /// Where [`Read`] goes on: `offset` bytes from the start.
    pub fn seek_to(&mut self, offset: u64) -> Result<(), Error> {
        if offset > self.size {
            return Err(Error::OutOfRange {
                offset,
                size: self.size,
            });
        }
        self.position = offset;
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
