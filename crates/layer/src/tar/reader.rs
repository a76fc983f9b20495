//! Reading a tar from its start to its end, entry by entry.

use std::io::{self, BufRead};

use super::header::{BLOCK, Format, Header};
use super::pax::Pax;
use super::sparse::{self, Lines, Segment};
use super::{Entry, Kind, Time};
use crate::Error;
use crate::error::lossy;

/// Long names and PAX records are held in memory up to this.
const MOST_EXTENSION: u64 = 1 << 20;

/// Reads a tar.
pub struct Reader<R> {
    inner: R,
    /// Where we are in the stream.
    offset: u64,
    /// Bytes of the present entry's data that are still to come, and of the padding after them.
    remaining: u64,
    padding: u64,
    /// Where the data goes; one segment for a file without holes.
    segments: Vec<Segment>,
    /// The present entry, for messages.
    name: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// From the first byte of a tar.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            remaining: 0,
            padding: 0,
            segments: Vec::new(),
            name: Vec::new(),
            ended: false,
        }
    }

    /// What it reads from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The next entry; `None` at the end. Data of the entry before that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut pax = None;
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(block) = self.next_block()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(self.truncated());
                }
                return Ok(None);
            };
            let at = self.offset - BLOCK as u64;
            let bad = |problem| Error::Header { offset: at, problem };
            let header = Header::parse(&block).map_err(bad)?;
            let size = header.number(124..136).map_err(bad)?;
            match header.kind() {
                b'x' => pax = Some(Pax::parse(&self.extension(size, at)?).map_err(bad)?),
                // Global records are passed over, as Docker and containerd do.
                b'g' => drop(self.extension(size, at)?),
                b'L' => long_name = Some(nul_ended(self.extension(size, at)?)),
                b'K' => long_link = Some(nul_ended(self.extension(size, at)?)),
                _ => {
                    let mut entry = plain(&header).map_err(bad)?;
                    let pax = pax.unwrap_or_default();
                    let size = pax.size.unwrap_or(size);
                    let records = pax.over(&mut entry).map_err(bad)?;
                    entry.name = long_name.or(records.name.clone()).unwrap_or(entry.name);
                    entry.link = long_link.unwrap_or(entry.link);
                    if header.kind() == 0 && entry.name.ends_with(b"/") {
                        entry.kind = Kind::Directory;
                    }
                    self.begin(&header, &mut entry, size, &records, at)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Sets up reading the data of an entry.
    fn begin(
        &mut self,
        header: &Header<'_>,
        entry: &mut Entry,
        size: i64,
        records: &super::pax::Sparse,
        at: u64,
    ) -> Result<(), Error> {
        let bad = |problem| Error::Header { offset: at, problem };
        self.name.clone_from(&entry.name);
        let has_data = matches!(entry.kind, Kind::File | Kind::Other(_));
        let stored = if has_data {
            u64::try_from(size).map_err(|_| bad("negative size"))?
        } else {
            0
        };
        self.remaining = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
        entry.size = stored;
        let map = if entry.kind != Kind::File {
            None
        } else if header.kind() == b'S' && header.format() == Format::Gnu {
            let (piece, more, real) = header.gnu_sparse().map_err(bad)?;
            entry.size = u64::try_from(real).map_err(|_| bad("negative size"))?;
            Some(self.gnu_map(piece, more, at)?)
        } else {
            let real = records
                .size
                .map(|n| u64::try_from(n).map_err(|_| bad("negative size")))
                .transpose()?;
            let map = if records.map_in_data() {
                Some(self.map_in_data(at)?)
            } else {
                records.map().map_err(bad)?
            };
            if map.is_some() {
                entry.size = real.ok_or_else(|| bad("a sparse file has no size"))?;
            }
            map
        };
        entry.sparse = map.is_some();
        self.segments = map.unwrap_or_else(|| {
            vec![Segment {
                offset: 0,
                length: stored,
            }]
        });
        sparse::check(&self.segments, entry.size, self.remaining).map_err(bad)
    }

    fn gnu_map(&mut self, piece: &[u8], mut more: bool, at: u64) -> Result<Vec<Segment>, Error> {
        let bad = |problem| Error::Header { offset: at, problem };
        let mut numbers = Vec::new();
        sparse::gnu(piece, &mut numbers).map_err(bad)?;
        while more {
            // These blocks stand between header and data and are not counted in the size.
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            sparse::gnu(&block[..504], &mut numbers).map_err(bad)?;
            more = block[504] != 0;
        }
        Segment::pairs(&numbers).map_err(bad)
    }

    fn map_in_data(&mut self, at: u64) -> Result<Vec<Segment>, Error> {
        let bad = |problem| Error::Header { offset: at, problem };
        let mut lines = Lines::default();
        loop {
            let left = self.remaining.checked_sub(BLOCK as u64);
            self.remaining = left.ok_or_else(|| bad("the map of a sparse file is malformed"))?;
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if let Some(map) = lines.block(&block).map_err(bad)? {
                return Ok(map);
            }
        }
    }

    /// Hands out the data of the present entry piece by piece, each with its offset in the file.
    pub fn data(&mut self, mut each: impl FnMut(u64, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        for segment in std::mem::take(&mut self.segments) {
            let (mut offset, mut left) = (segment.offset, segment.length);
            while left > 0 {
                let piece = match self.inner.fill_buf() {
                    Ok([]) => return Err(self.truncated()),
                    Ok(piece) => piece,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(Error::Read(e)),
                };
                let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                each(offset, &piece[..length])?;
                self.inner.consume(length);
                let length = length as u64;
                self.offset += length;
                self.remaining -= length;
                (offset, left) = (offset + length, left - length);
            }
        }
        Ok(())
    }

    /// The next header; `None` at the end of the tar: two blocks of zeros, one, or simply no more.
    fn next_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip(self.remaining)?;
        self.remaining = 0;
        let padding = std::mem::take(&mut self.padding);
        let mut block = [0; BLOCK];
        let padded = self.read(&mut block[..usize::try_from(padding).unwrap_or(0)])? as u64;
        let got = if padded == padding {
            self.read(&mut block)?
        } else {
            0
        };
        if got == 0 {
            self.ended = true;
            return Ok(None);
        }
        if got < BLOCK {
            return Err(Error::Truncated(format!(
                "the tar header after {:?}",
                lossy(&self.name)
            )));
        }
        if block.iter().any(|b| *b != 0) {
            return Ok(Some(block));
        }
        let got = self.read(&mut block)?;
        if block[..got].iter().any(|b| *b != 0) {
            return Err(Error::Header {
                offset: self.offset - got as u64,
                problem: "a single block of zeros",
            });
        }
        self.ended = true;
        Ok(None)
    }

    /// The content of a header that is about the next one.
    fn extension(&mut self, size: i64, at: u64) -> Result<Vec<u8>, Error> {
        let bad = |problem| Error::Header { offset: at, problem };
        let size = u64::try_from(size)
            .ok()
            .filter(|n| *n <= MOST_EXTENSION)
            .ok_or(bad("size of an extension"))?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut content)?;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(content)
    }

    fn truncated(&self) -> Error {
        Error::Truncated(format!("the tar entry {:?}", lossy(&self.name)))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.read(buffer)? < buffer.len() {
            return Err(self.truncated());
        }
        Ok(())
    }

    /// Reads until `buffer` is full or the stream ends.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Read(e)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn skip(&mut self, mut amount: u64) -> Result<(), Error> {
        while amount > 0 {
            let available = match self.inner.fill_buf() {
                Ok([]) => return Err(self.truncated()),
                Ok(piece) => piece.len(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::Read(e)),
            };
            let length = available.min(usize::try_from(amount).unwrap_or(usize::MAX));
            self.inner.consume(length);
            self.offset += length as u64;
            amount -= length as u64;
        }
        Ok(())
    }
}

fn nul_ended(mut content: Vec<u8>) -> Vec<u8> {
    let end = content.iter().position(|b| *b == 0).unwrap_or(content.len());
    content.truncate(end);
    content
}

/// What the header alone says.
fn plain(header: &Header<'_>) -> Result<Entry, &'static str> {
    let id = |at| {
        header
            .number(at)
            .and_then(|n| u64::try_from(n).map_err(|_| "negative owner"))
    };
    let (major, minor) = header.device()?;
    let unsigned = |n: i64| u32::try_from(n).map_err(|_| "device number out of range");
    let moment = |seconds| Time {
        seconds,
        nanoseconds: 0,
    };
    let kind = match header.kind() {
        0 | b'0' | b'7' => Kind::File,
        b'S' if header.format() == Format::Gnu => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    };
    Ok(Entry {
        name: header.name(),
        link: header.link().to_vec(),
        kind,
        mode: u32::try_from(header.number(100..108)? & 0o7777).unwrap_or(0),
        uid: id(108..116)?,
        gid: id(116..124)?,
        size: 0,
        modified: moment(header.number(136..148)?),
        accessed: header.accessed().map(moment),
        device: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            (unsigned(major)?, unsigned(minor)?)
        } else {
            (0, 0)
        },
        xattrs: Vec::new(),
        sparse: false,
    })
}
