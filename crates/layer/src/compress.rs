//! How a layer is packed, told by its first bytes, and unpacking it. Knows no tar.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use crate::Error;

/// Room for compressed bytes.
const INPUT: usize = 128 << 10;

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// zstd, one frame or several.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// What the first bytes of a stream say; the media type is not asked, because it is sometimes wrong.
    pub fn detect(start: &[u8]) -> Result<Self, Error> {
        // A zstd stream may begin with a frame to skip, whose magic number has 16 values.
        let skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
        Ok(match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ if skippable => Self::Zstd,
            [b'B', b'Z', b'h', ..] => return Err(Error::Unsupported("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(Error::Unsupported("xz")),
            _ => Self::None,
        })
    }
}

/// Reads `inner` unpacked.
pub(crate) fn decoder<'a, R: Read + Send + 'a>(
    inner: R,
) -> Result<(Compression, Box<dyn Read + Send + 'a>), Error> {
    let mut inner = BufReader::with_capacity(INPUT, Patient { inner, failed: None });
    let compression = Compression::detect(inner.fill_buf().map_err(Error::Read)?)?;
    let decoder: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(inner),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(inner)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(inner).map_err(Error::Read)?),
    };
    Ok((compression, decoder))
}

/// Fills the buffer before it returns, so that a slow source does not cut the magic number in two.
struct Patient<R> {
    inner: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(mark(error));
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if filled == 0 => return Err(mark(e)),
                Err(e) => {
                    // What came before it first.
                    self.failed = Some(e);
                    break;
                }
            }
        }
        Ok(filled)
    }
}

/// Marks an error of the source, so that it is told from one of the decoder.
fn mark(error: io::Error) -> io::Error {
    io::Error::other(SourceError(error))
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SourceError(io::Error);

/// Names an error that came out of a decoder.
pub(crate) fn explain(error: io::Error, compression: Compression) -> Error {
    match error.downcast::<SourceError>() {
        Ok(SourceError(source)) => Error::Read(source),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Truncated(format!("{compression} stream"))
        }
        Err(source) => Error::Compressed {
            algorithm: compression,
            source,
        },
    }
}
