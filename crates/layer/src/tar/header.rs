//! One header block of 512 bytes. Knows neither what came before it nor what follows.

use super::numbers::{number, text};

/// Everything in tar is a multiple of this.
pub(super) const BLOCK: usize = 512;

/// The dialect, which decides what the last third of the block means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header block whose checksum was found right.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Self(block);
        let said = header.number(148..156).map_err(|_| "checksum is no number")?;
        // Blanks stand for the checksum itself. Some old programs added signed bytes.
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if said != unsigned && said != signed {
            return Err("checksum does not match");
        }
        Ok(header)
    }

    pub(super) fn number(&self, at: std::ops::Range<usize>) -> Result<i64, &'static str> {
        number(&self.0[at]).ok_or("a field is no number")
    }

    pub(super) fn format(&self) -> Format {
        match (&self.0[257..263], &self.0[263..265], &self.0[508..512]) {
            (b"ustar\0", _, b"tar\0") => Format::Star,
            (b"ustar\0", ..) => Format::Ustar,
            (b"ustar ", b" \0", _) => Format::Gnu,
            _ => Format::V7,
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.format() {
            Format::Ustar => text(&self.0[345..500]),
            Format::Star => text(&self.0[345..476]),
            Format::V7 | Format::Gnu => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    /// Major and minor number; 0 where the format has none.
    pub(super) fn device(&self) -> Result<(i64, i64), &'static str> {
        match self.format() {
            Format::V7 => Ok((0, 0)),
            _ => Ok((self.number(329..337)?, self.number(337..345)?)),
        }
    }

    /// The time of the last reading, where the format has it.
    pub(super) fn accessed(&self) -> Option<i64> {
        match self.format() {
            Format::Star => self.number(476..488).ok(),
            Format::Gnu => self.number(345..357).ok(),
            _ => None,
        }
        .filter(|seconds| *seconds != 0)
    }

    /// The part of GNU's sparse map that stands in the header, whether more follows, and the real size.
    pub(super) fn gnu_sparse(&self) -> Result<(&'a [u8], bool, i64), &'static str> {
        Ok((&self.0[386..482], self.0[482] != 0, self.number(483..495)?))
    }
}
