//! Maps of sparse files: which parts of a file are there. Knows no header.

use super::numbers::{decimal, number};

/// A part of a file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// So many parts no honest file has; each is held in memory.
const MOST: usize = 1 << 20;
const MALFORMED: &str = "the map of a sparse file is malformed";

impl Segment {
    pub(super) fn pairs(numbers: &[i64]) -> Result<Vec<Self>, &'static str> {
        if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MOST {
            return Err(MALFORMED);
        }
        let unsigned = |n: i64| u64::try_from(n).map_err(|_| MALFORMED);
        numbers
            .chunks_exact(2)
            .map(|pair| {
                Ok(Self {
                    offset: unsigned(pair[0])?,
                    length: unsigned(pair[1])?,
                })
            })
            .collect()
    }
}

/// Adds the pairs of one piece of GNU's old map (24 bytes each, ended by a blank one).
pub(super) fn gnu(piece: &[u8], numbers: &mut Vec<i64>) -> Result<(), &'static str> {
    for pair in piece.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        for field in [&pair[..12], &pair[12..]] {
            numbers.push(number(field).ok_or(MALFORMED)?);
        }
        if numbers.len() > 2 * MOST {
            return Err(MALFORMED);
        }
    }
    Ok(())
}

/// The map of version 1.0 as its lines arrive: the number of pairs, then the pairs.
#[derive(Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    wanted: Option<usize>,
    numbers: Vec<i64>,
}

impl Lines {
    /// Takes in a block; returns the map once it is whole. The rest of that block is padding.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Vec<Segment>>, &'static str> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err(MALFORMED);
                }
                continue;
            }
            let value = decimal(&self.line).ok_or(MALFORMED)?;
            self.line.clear();
            match self.wanted {
                None => {
                    let pairs = usize::try_from(value)
                        .ok()
                        .filter(|n| *n <= MOST)
                        .ok_or(MALFORMED)?;
                    self.wanted = Some(2 * pairs);
                }
                Some(_) => self.numbers.push(value),
            }
            if self.wanted == Some(self.numbers.len()) {
                return Segment::pairs(&self.numbers).map(Some);
            }
        }
        Ok(None)
    }
}

/// Whether the parts lie in order and apart inside `size`, and are as long together as the `stored` data.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), &'static str> {
    let (mut end, mut sum) = (0, 0_u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.length).ok_or(MALFORMED)?;
        if segment.offset < end || next > size {
            return Err(MALFORMED);
        }
        end = next;
        sum += segment.length;
    }
    if sum != stored {
        return Err("the map of a sparse file does not fit its data");
    }
    Ok(())
}
