//! Reading tar as layers have it: ustar, PAX, GNU, star and the old form, sparse files included. Knows no disk.
//!
//! What two readers could understand differently is an error or is read as Go's `archive/tar` reads it, because that
//! is what made and checked most layers. Sources: POSIX `pax`, GNU tar's manual ("Basic Tar Format", "Sparse Formats").

mod header;
mod numbers;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;

pub use reader::Reader;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier entry or of a file below.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
    /// Another type flag.
    Other(u8),
}

/// A moment: seconds since the epoch and the nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// One entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it stands in the tar: nothing is resolved or checked.
    pub name: Vec<u8>,
    /// Target of a hard or symbolic link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Length of the file, holes included.
    pub size: u64,
    /// When its content last changed.
    pub modified: Time,
    /// When it was last read, if the tar says.
    pub accessed: Option<Time>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes in the order of the tar.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are holes.
    pub sparse: bool,
}
