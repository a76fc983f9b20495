//! The pipeline of threads: one unpacks, one hashes, the caller's reads the tar. Knows no tar.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use gantry_oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::compress::{decoder, explain};

/// Bytes handed over at once.
const CHUNK: usize = 256 << 10;
/// How many chunks one thread may be ahead of another.
const AHEAD: usize = 8;

type Bytes = Arc<Vec<u8>>;

/// The uncompressed bytes, as they arrive from the unpacking thread.
pub(crate) struct Unpacked {
    chunks: Receiver<Result<Bytes, Error>>,
    current: Bytes,
    position: usize,
    failure: Option<Error>,
}

impl Unpacked {
    /// Why reading failed, in our words; the `io::Error` was only the messenger.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Reads to the end: what follows the tar belongs to the diff id, and a broken end is an error too.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        self.position = self.current.len();
        for chunk in &self.chunks {
            chunk?;
        }
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let n = piece.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Unpacked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => (self.current, self.position) = (chunk, 0),
                Ok(Err(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("unpacking failed"));
                }
                Err(_) => break,
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

/// Unpacks `reader`, calls `work` with the uncompressed stream, and returns the digest and length of all of it.
pub(crate) fn unpack<R: Read + Send, T>(
    reader: R,
    work: impl FnOnce(&mut Unpacked) -> Result<T, Error>,
) -> Result<(T, Digest, u64), Error> {
    thread::scope(|scope| {
        let (to_work, chunks) = sync_channel(AHEAD);
        let (to_hash, hashed) = sync_channel(AHEAD);
        spawn(scope, "layer-unpack", move || produce(reader, &to_work, &to_hash))?;
        let hash = spawn(scope, "layer-hash", move || digest(&hashed))?;
        let mut unpacked = Unpacked {
            chunks,
            current: Arc::default(),
            position: 0,
            failure: None,
        };
        let worked = work(&mut unpacked).and_then(|value| unpacked.drain().map(|()| value));
        // Without a receiver the producer stops, and the hashing thread after it.
        drop(unpacked);
        let (digest, size) = hash
            .join()
            .map_err(|_| Error::Read(io::Error::other("hashing failed")))?;
        Ok((worked?, digest, size))
    })
}

fn spawn<'s, T: Send + 's>(
    scope: &'s thread::Scope<'s, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 's,
) -> Result<ScopedJoinHandle<'s, T>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, body)
        .map_err(Error::Read)
}

fn produce<R: Read + Send>(
    reader: R,
    to_work: &SyncSender<Result<Bytes, Error>>,
    to_hash: &SyncSender<Bytes>,
) {
    let (compression, mut decoder) = match decoder(reader) {
        Ok(pair) => pair,
        Err(error) => {
            let _ = to_work.send(Err(error));
            return;
        }
    };
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        match decoder.by_ref().take(CHUNK as u64).read_to_end(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let _ = to_work.send(Err(explain(error, compression)));
                return;
            }
        }
        let chunk = Arc::new(chunk);
        if to_hash.send(Arc::clone(&chunk)).is_err() || to_work.send(Ok(chunk)).is_err() {
            return;
        }
    }
}

fn digest(chunks: &Receiver<Bytes>) -> (Digest, u64) {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for chunk in chunks {
        hash.update(chunk.as_slice());
        size += chunk.len() as u64;
    }
    (Digest::from_sha256(&hash.finalize().into()), size)
}
