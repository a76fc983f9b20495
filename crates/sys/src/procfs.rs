//! What `/proc` says of processes and mounts.

use std::fs;
use std::path::PathBuf;

use crate::process::Pid;

/// One process's line of `/proc/PID/stat`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` …
    pub state: char,
    /// Its parent.
    pub ppid: Pid,
    /// When it started, in clock ticks since the boot: with the process id, a name that is never given twice.
    pub start_time: u64,
}

/// Reads a process's line; none when it is gone.
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in parentheses and may contain any character.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        state,
        ppid,
        start_time,
    })
}

/// How many threads this process has.
pub(crate) fn threads() -> usize {
    // The link count of the folder is two more than its entries.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self/task").map_or(1, |folder| (folder.nlink() as usize).saturating_sub(2).max(1))
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub place: PathBuf,
    /// The kind of its file system.
    pub kind: String,
}

/// Our mounts, in the order they were mounted.
pub fn mounts() -> std::io::Result<Vec<Mounted>> {
    Ok(parse_mounts(&fs::read("/proc/self/mountinfo")?))
}

fn parse_mounts(table: &[u8]) -> Vec<Mounted> {
    let one = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let place = unescape(fields.nth(4)?);
        // Some fields that are not always there end with a hyphen.
        fields.find(|field| *field == b"-")?;
        let kind = String::from_utf8_lossy(fields.next()?).into_owned();
        Some(Mounted { place, kind })
    };
    table.split(|byte| *byte == b'\n').filter_map(one).collect()
}

/// The mount points at or below `path`, in the order they were mounted.
pub fn mounts_below(path: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
    let places = mounts()?.into_iter().map(|one| one.place);
    Ok(places.filter(|place| place.starts_with(path)).collect())
}

/// `\040` and its like, as the kernel writes them.
fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_may_have_any_name() {
        let table = b"22 1 0:21 / /a\\011b\\040c rw shared:7 master:1 - proc proc rw\n23 1 0:22 / /d rw - sysfs - rw\nhalf";
        let one = |place: &str, kind: &str| Mounted {
            place: place.into(),
            kind: kind.into(),
        };
        assert_eq!(parse_mounts(table), [one("/a\tb c", "proc"), one("/d", "sysfs")]);
        assert!(mounts().unwrap().iter().any(|one| one.kind == "proc"));
    }

    #[test]
    fn a_name_may_contain_anything() {
        let text = "42 (a) b) S 7 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                state: 'S',
                ppid: 7,
                start_time: 123_456
            })
        );
        assert_eq!(parse_stat("nonsense"), None);
        assert!(stat(crate::process::pid()).is_some());
        assert_eq!(unescape(b"/a\\040b\\134"), PathBuf::from("/a b\\"));
    }
}
