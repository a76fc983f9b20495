//! PAX records: lines of `LENGTH KEY=VALUE`. Knows no header.

use super::numbers::{decimal, time};
use super::sparse::Segment;
use super::{Entry, Time};

/// What a PAX header says about the entry that follows it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    uid: Option<i64>,
    gid: Option<i64>,
    modified: Option<Time>,
    accessed: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// GNU's records on holes, in its three versions.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    pub(super) numbers: Vec<i64>,
}

const MALFORMED: &str = "a PAX record is malformed";

impl Pax {
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let space = records
                .iter()
                .take(20)
                .position(|b| *b == b' ')
                .ok_or(MALFORMED)?;
            let length = decimal(&records[..space])
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(MALFORMED)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(MALFORMED);
            }
            let record = &records[space + 1..length - 1];
            let equals = record
                .iter()
                .position(|b| *b == b'=')
                .filter(|at| *at > 0)
                .ok_or(MALFORMED)?;
            pax.record(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(pax)
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let named = matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name");
        if key.contains(&0) || named && value.contains(&0) {
            return Err("a PAX record has a NUL in a name");
        }
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        let whole = || decimal(value).map(Some).ok_or("a PAX record is no number");
        let moment = || time(value).map(Some).ok_or("a PAX record is no time");
        match key {
            // An empty value takes back what a record before it said.
            b"path" => self.path = Some(value.to_vec()).filter(|v| !v.is_empty()),
            b"linkpath" => self.link = Some(value.to_vec()).filter(|v| !v.is_empty()),
            b"uid" if !value.is_empty() => self.uid = whole()?,
            b"gid" if !value.is_empty() => self.gid = whole()?,
            b"size" if !value.is_empty() => self.size = whole()?,
            b"mtime" if !value.is_empty() => self.modified = moment()?,
            b"atime" if !value.is_empty() => self.accessed = moment()?,
            b"GNU.sparse.major" => self.sparse.major = whole()?,
            b"GNU.sparse.minor" => self.sparse.minor = whole()?,
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = whole()?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Version 0.0: pairs, in order.
                if self.sparse.numbers.len() % 2 != usize::from(key.ends_with(b"numbytes")) {
                    return Err("the PAX records of a sparse file are out of order");
                }
                self.sparse.numbers.extend(whole()?);
            }
            b"GNU.sparse.map" => {
                // Version 0.1: all numbers in one record.
                let numbers: Option<_> = value.split(|b| *b == b',').map(decimal).collect();
                self.sparse.numbers = numbers.ok_or("the PAX map of a sparse file is malformed")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts what was said over what the header says.
    pub(super) fn over(self, entry: &mut Entry) -> Result<Sparse, &'static str> {
        let id = |value: i64| u64::try_from(value).map_err(|_| "a PAX record has a negative id");
        if let Some(path) = self.path {
            entry.name = path;
        }
        if let Some(link) = self.link {
            entry.link = link;
        }
        if let Some(uid) = self.uid {
            entry.uid = id(uid)?;
        }
        if let Some(gid) = self.gid {
            entry.gid = id(gid)?;
        }
        if let Some(modified) = self.modified {
            entry.modified = modified;
        }
        entry.accessed = self.accessed.or(entry.accessed);
        entry.xattrs = self.xattrs;
        Ok(self.sparse)
    }
}

impl Sparse {
    /// Whether the map stands before the data (version 1.0).
    pub(super) fn map_in_data(&self) -> bool {
        self.major == Some(1) && self.minor == Some(0)
    }

    /// The map of versions 0.0 and 0.1, if there is one.
    pub(super) fn map(&self) -> Result<Option<Vec<Segment>>, &'static str> {
        let version_0 = self.major.is_none_or(|n| n == 0) && self.minor.is_none_or(|n| n <= 1);
        if self.numbers.is_empty() || !version_0 {
            return Ok(None);
        }
        Segment::pairs(&self.numbers).map(Some)
    }
}
