//! Applying a layer: entry by entry, whiteouts as deletions or as overlayfs' marks. Knows no network and no store.

mod attributes;
mod path;
mod tree;
mod whiteout;

use std::io::{BufRead, Read};
use std::os::fd::{AsFd, OwnedFd};

use gantry_oci::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use self::attributes::{Attributes, keep_only};
use self::path::{clean, join, split};
use self::tree::{Place, Tree, open_folder};
use crate::error::lossy;
use crate::tar::{Entry, Kind, Reader};
use crate::{Error, Target, stream};

/// How a layer is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether everything is on the disk when [`apply`] returns (`syncfs`), so that not even a loss of power takes it.
    pub sync: bool,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Size of the uncompressed layer in bytes.
    pub size: u64,
    /// How many entries it had.
    pub entries: u64,
}

/// Applies a layer (tar; gzip, zstd or neither) to a target, of which it must have the only use meanwhile.
///
/// After an error the target holds a part of the layer and is to be thrown away. The digest of the compressed bytes
/// is not looked at; whoever has the blob has verified it.
pub fn apply<R: Read + Send>(reader: R, target: &Target, options: &Options) -> Result<Applied, Error> {
    let mut tree = Tree::open(target)?;
    let (entries, diff_id, size) = stream::unpack(reader, |unpacked| {
        let mut tar = Reader::new(unpacked);
        let applied = entries(&mut tree, &mut tar);
        // The tar only sees that its input fails; why is known by the input.
        applied.map_err(|error| tar.get_mut().take_failure().unwrap_or(error))
    })?;
    tree.finish()?;
    if options.sync {
        tree.sync()?;
    }
    Ok(Applied {
        diff_id,
        size,
        entries,
    })
}

fn entries<R: BufRead>(tree: &mut Tree, tar: &mut Reader<R>) -> Result<u64, Error> {
    let mut count = 0;
    while let Some(entry) = tar.next_entry()? {
        tree.begin(&entry.name);
        apply_entry(tree, &entry, tar)?;
        count += 1;
    }
    Ok(count)
}

fn apply_entry<R: BufRead>(tree: &mut Tree, entry: &Entry, tar: &mut Reader<R>) -> Result<(), Error> {
    if let Kind::Other(kind) = entry.kind {
        return Err(Error::Type {
            name: lossy(&entry.name),
            kind,
        });
    }
    let path = clean(&entry.name)?;
    if path.is_empty() {
        return root(tree, entry);
    }
    let (folder, name) = split(&path);
    if name.starts_with(whiteout::PREFIX) {
        return whiteout::apply(tree, entry, folder, name);
    }
    if entry.kind == Kind::HardLink {
        return hard_link(tree, entry, folder, name);
    }
    let at = tree.enter(folder)?;
    match entry.kind {
        Kind::File => file(tree, &at, name, entry, tar)?,
        Kind::Directory => directory(tree, &at, name, entry)?,
        _ => special(tree, &at, name, entry)?,
    }
    tree.claim(&join(&at.real, name));
    Ok(())
}

/// The root itself: an entry for it can only say what it looks like.
fn root(tree: &mut Tree, entry: &Entry) -> Result<(), Error> {
    if entry.kind != Kind::Directory {
        return Err(Error::Entry {
            name: lossy(&entry.name),
            problem: "the root must be a directory",
        });
    }
    let root = tree.enter(b"")?;
    let attributes = Attributes::of(entry)?;
    keep_only(&root.fd, &entry.xattrs).map_err(tree.failed("change extended attributes of"))?;
    give(tree, &root.fd, &attributes, false)?;
    tree.set_times(b"", attributes.times);
    Ok(())
}

/// Makes something new; what has its name is removed first.
fn make<T>(
    tree: &Tree,
    at: &Place,
    name: &[u8],
    operation: &'static str,
    mut how: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Error> {
    match how() {
        Err(Errno::EXIST) => {
            tree.remove(at.fd.as_fd(), name)?;
            how().map_err(tree.failed(operation))
        }
        other => other.map_err(tree.failed(operation)),
    }
}

fn give(tree: &Tree, file: &OwnedFd, attributes: &Attributes<'_>, with_times: bool) -> Result<(), Error> {
    attributes
        .give(file, with_times)
        .map_err(|(operation, errno)| tree.failed(operation)(errno))
}

fn file<R: BufRead>(
    tree: &Tree,
    at: &Place,
    name: &[u8],
    entry: &Entry,
    tar: &mut Reader<R>,
) -> Result<(), Error> {
    let attributes = Attributes::of(entry)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = make(tree, at, name, "create", || {
        rustix::fs::openat(&at.fd, name, flags, Mode::from_raw_mode(0o600))
    })?;
    tar.data(|mut offset, mut piece| {
        while !piece.is_empty() {
            match rustix::io::pwrite(&file, piece, offset) {
                Ok(written) => {
                    piece = &piece[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("write", &entry.name, errno)),
            }
        }
        Ok(())
    })?;
    if entry.sparse {
        rustix::fs::ftruncate(&file, entry.size).map_err(tree.failed("truncate"))?;
    }
    give(tree, &file, &attributes, true)
}

fn directory(tree: &mut Tree, at: &Place, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let attributes = Attributes::of(entry)?;
    let mkdir = || rustix::fs::mkdirat(&at.fd, name, Mode::from_raw_mode(0o700));
    let (mut closed, mut merged) = (false, false);
    match mkdir() {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat =
                rustix::fs::statat(&at.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(tree.failed("stat"))?;
            merged = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !merged {
                // It hid a folder below, if there is one, and the folder that takes its place must as well.
                closed = true;
                tree.remove(at.fd.as_fd(), name)?;
                mkdir().map_err(tree.failed("create"))?;
            }
        }
        Err(errno) => return Err(tree.failed("create")(errno)),
    }
    let fd = open_folder(at.fd.as_fd(), name).map_err(tree.failed("open"))?;
    if merged {
        // The entry says all of what the folder has.
        keep_only(&fd, &entry.xattrs).map_err(tree.failed("change extended attributes of"))?;
    }
    give(tree, &fd, &attributes, false)?;
    let place = tree.push(name, fd);
    if closed {
        tree.close(&place.fd, &place.real)?;
    }
    tree.set_times(&place.real, attributes.times);
    Ok(())
}

fn special(tree: &Tree, at: &Place, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let attributes = Attributes::of(entry)?;
    let node = |kind| {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        rustix::fs::mknodat(&at.fd, name, kind, Mode::from_raw_mode(0o600), device)
    };
    make(tree, at, name, "create", || match entry.kind {
        Kind::Symlink => rustix::fs::symlinkat(entry.link.as_slice(), &at.fd, name),
        Kind::CharDevice => node(FileType::CharacterDevice),
        Kind::BlockDevice => node(FileType::BlockDevice),
        _ => node(FileType::Fifo),
    })?;
    let given = attributes.give_at(at.fd.as_fd(), name, entry.kind);
    given.map_err(|(operation, errno)| tree.failed(operation)(errno))
}

fn hard_link(tree: &mut Tree, entry: &Entry, folder: &[u8], name: &[u8]) -> Result<(), Error> {
    let target = clean(&entry.link).map_err(|_| Error::Outside {
        name: lossy(&entry.link),
    })?;
    let missing = || Error::NoLinkTarget {
        name: lossy(&entry.name),
        to: lossy(&entry.link),
    };
    let (target_folder, target_name) = split(&target);
    if target_name.is_empty() {
        return Err(missing());
    }
    let from = tree.enter(target_folder)?;
    let is_folder = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    let folder_linked = || Error::Entry {
        name: lossy(&entry.name),
        problem: "it is a hard link to a directory",
    };
    match rustix::fs::statat(&from.fd, target_name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if tree.is_whiteout(&stat) => return Err(missing()),
        Ok(stat) if is_folder(stat.st_mode) => return Err(folder_linked()),
        Ok(_) => {}
        Err(Errno::NOENT) => match tree.below(&join(&from.real, target_name))? {
            Some(below) if is_folder(below.stat.st_mode) => return Err(folder_linked()),
            Some(below) => tree.copy_up(&from, target_name, &below)?,
            None => return Err(missing()),
        },
        Err(errno) => return Err(tree.failed("stat link target of")(errno)),
    }
    let at = tree.enter(folder)?;
    if (&at.real, name) == (&from.real, target_name) {
        return Err(Error::Entry {
            name: lossy(&entry.name),
            problem: "it is a hard link to itself",
        });
    }
    make(tree, &at, name, "link", || {
        rustix::fs::linkat(&from.fd, target_name, &at.fd, name, AtFlags::empty())
    })?;
    tree.claim(&join(&at.real, name));
    refresh(tree, &at, name, entry)
}

/// A link has what its file has; only if the entry says something else, that is done too. Doing it always would take
/// capabilities away, which a change of owner does and which links often do not carry.
fn refresh(tree: &Tree, at: &Place, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let attributes = Attributes::of(entry)?;
    let stat = rustix::fs::statat(&at.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(tree.failed("stat"))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => return Ok(()),
        FileType::RegularFile => Kind::File,
        _ => Kind::Fifo,
    };
    if attributes.are_those_of(&stat) && entry.xattrs.is_empty() {
        return Ok(());
    }
    let given = attributes.give_at(at.fd.as_fd(), name, kind);
    given.map_err(|(operation, errno)| tree.failed(operation)(errno))
}
