//! The tree that a layer is applied to: finding the folder of an entry without ever leaving the root, in one folder
//! or in an overlay that is not mounted. Knows no tar.
//!
//! Folders on the way to the present one are kept open (`stack`), so most entries cost no look-up. Every step is one
//! name relative to an open folder and follows no link by itself; links are followed here, and held inside the root.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, open_root, set_times, times_of, xattrs_of};
use super::path::{join, split};
use crate::error::lossy;
use crate::{Error, Target};

/// How many links lead to one folder at most, as in the kernel.
const MOST_LINKS: u32 = 40;

/// An open folder of the tree that is written to.
pub(super) struct Place {
    pub(super) fd: OwnedFd,
    /// Its path from the root, free of links.
    pub(super) real: Vec<u8>,
}

/// A folder on the way to the present one, under the name by which it was entered.
struct Level {
    name: Vec<u8>,
    place: Rc<Place>,
}

/// Something that only a lower layer has.
pub(super) struct Below {
    folder: OwnedFd,
    name: Vec<u8>,
    pub(super) stat: Stat,
}

/// The tree.
pub(super) struct Tree {
    root: Rc<Place>,
    lower: Vec<OwnedFd>,
    /// The attribute that closes a folder to what is below, in an overlay.
    opaque: Option<&'static str>,
    stack: Vec<Level>,
    times: HashMap<Vec<u8>, Timestamps>,
    /// What this layer brought; `None` when nothing was there before, so that all is of this layer.
    ours: Option<HashSet<Vec<u8>>>,
    /// Folders that were made on the way and files that were copied up, and that no entry but whiteouts is about yet.
    implied: HashSet<Vec<u8>>,
    /// Folders that were closed while this layer is applied.
    closed: HashSet<Vec<u8>>,
    /// The entry that is being applied, for messages.
    entry: Vec<u8>,
}

impl Tree {
    pub(super) fn open(target: &Target) -> Result<Self, Error> {
        let open = |path: &std::path::Path| {
            open_root(path).map_err(|e| Error::Open {
                path: path.to_owned(),
                source: e.into(),
            })
        };
        let (root, lower, opaque) = match target {
            Target::Directory(path) => (open(path)?, Vec::new(), None),
            Target::Overlay {
                upper,
                lower,
                userxattr,
            } => {
                let lower = lower.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
                let opaque = if *userxattr {
                    "user.overlay.opaque"
                } else {
                    "trusted.overlay.opaque"
                };
                (open(upper)?, lower, Some(opaque))
            }
        };
        let failed = |e| Error::io("read", b"/", e);
        let empty = entries(&root).map_err(failed)?.is_empty();
        let stat = rustix::fs::fstat(&root).map_err(failed)?;
        Ok(Self {
            root: Rc::new(Place {
                fd: root,
                real: Vec::new(),
            }),
            lower,
            opaque,
            stack: Vec::new(),
            // What is made in the root must not make it look younger, unless the layer says so.
            times: HashMap::from([(Vec::new(), times_of(&stat))]),
            ours: if empty { None } else { Some(HashSet::new()) },
            implied: HashSet::new(),
            closed: HashSet::new(),
            entry: Vec::new(),
        })
    }

    /// Notes which entry messages are about.
    pub(super) fn begin(&mut self, entry: &[u8]) {
        self.entry.clear();
        self.entry.extend_from_slice(entry);
    }

    /// An error of the system at the present entry.
    pub(super) fn failed(&self, operation: &'static str) -> impl Fn(Errno) -> Error + use<> {
        let name = self.entry.clone();
        move |errno| Error::io(operation, &name, errno)
    }

    /// Whether whiteouts are marks.
    pub(super) fn is_overlay(&self) -> bool {
        self.opaque.is_some()
    }

    /// Whether there can be anything that this layer did not bring.
    pub(super) fn is_all_ours(&self) -> bool {
        self.ours.is_none() && self.implied.is_empty()
    }

    /// Notes that this layer brought a path, and with it the folders above.
    pub(super) fn claim(&mut self, real: &[u8]) {
        let mut path = real;
        while !path.is_empty() && !self.implied.is_empty() {
            self.implied.remove(path);
            path = split(path).0;
        }
        let mut path = real;
        if let Some(ours) = &mut self.ours {
            while !path.is_empty() && ours.insert(path.to_vec()) {
                path = split(path).0;
            }
        }
    }

    /// Whether this layer brought a path, which is there.
    pub(super) fn is_ours(&self, real: &[u8]) -> bool {
        match &self.ours {
            Some(ours) => ours.contains(real),
            None => !self.implied.contains(real),
        }
    }

    /// What the folder gets when all is done.
    pub(super) fn set_times(&mut self, real: &[u8], times: Timestamps) {
        self.times.insert(real.to_vec(), times);
    }

    /// The folder of a clean path; made, as far as it is not there.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Rc<Place>, Error> {
        self.walk(path, true)
    }

    /// The folder of a clean path, if it is there.
    pub(super) fn enter_if_there(&mut self, path: &[u8]) -> Result<Option<Rc<Place>>, Error> {
        match self.walk(path, false) {
            Ok(place) => Ok(Some(place)),
            Err(Error::NotDirectory { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn walk(&mut self, path: &[u8], make: bool) -> Result<Rc<Place>, Error> {
        let mut parts = path.split(|b| *b == b'/').filter(|p| !p.is_empty());
        let mut shared = 0;
        let mut next = parts.next();
        while let (Some(level), Some(part)) = (self.stack.get(shared), next) {
            if level.name != part {
                break;
            }
            shared += 1;
            next = parts.next();
        }
        self.stack.truncate(shared);
        while let Some(part) = next {
            let here = self.here();
            let place = self.step(&here, part, make, &mut MOST_LINKS.clone())?;
            self.stack.push(Level {
                name: part.to_vec(),
                place,
            });
            next = parts.next();
        }
        Ok(self.here())
    }

    fn here(&self) -> Rc<Place> {
        Rc::clone(self.stack.last().map_or(&self.root, |level| &level.place))
    }

    /// Enters a folder that was just made in the present one.
    pub(super) fn push(&mut self, name: &[u8], fd: OwnedFd) -> Rc<Place> {
        let place = Rc::new(Place {
            fd,
            real: join(&self.here().real, name),
        });
        self.stack.push(Level {
            name: name.to_vec(),
            place: Rc::clone(&place),
        });
        place
    }

    /// One name further.
    fn step(&mut self, at: &Rc<Place>, name: &[u8], make: bool, links: &mut u32) -> Result<Rc<Place>, Error> {
        let real = join(&at.real, name);
        match open_folder(at.fd.as_fd(), name) {
            Ok(fd) => {
                if self.ours.is_some() && !self.times.contains_key(&real) {
                    let stat = rustix::fs::fstat(&fd).map_err(self.failed("stat folder of"))?;
                    self.times.insert(real.clone(), times_of(&stat));
                }
                Ok(Rc::new(Place { fd, real }))
            }
            Err(Errno::NOENT) => match self.below(&real)? {
                Some(below) => match FileType::from_raw_mode(below.stat.st_mode) {
                    FileType::Directory => self.copy_folder(at, name, &below),
                    FileType::Symlink => {
                        let to = rustix::fs::readlinkat(&below.folder, below.name.as_slice(), Vec::new())
                            .map_err(self.failed("read link on the way to"))?;
                        self.follow(at, &real, to.as_bytes(), links)
                    }
                    _ => Err(self.no_folder(&real)),
                },
                None if make => self.make_folder(at, name, false),
                None => Err(self.no_folder(&real)),
            },
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = rustix::fs::statat(&at.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(self.failed("stat folder of"))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    let to = rustix::fs::readlinkat(&at.fd, name, Vec::new())
                        .map_err(self.failed("read link on the way to"))?;
                    return self.follow(at, &real, to.as_bytes(), links);
                }
                if make && self.is_whiteout(&stat) {
                    rustix::fs::unlinkat(&at.fd, name, AtFlags::empty())
                        .map_err(self.failed("replace whiteout for"))?;
                    return self.make_folder(at, name, true);
                }
                Err(self.no_folder(&real))
            }
            Err(errno) => Err(self.failed("open folder of")(errno)),
        }
    }

    /// The folder that a link at `real`, in the folder `at`, leads to. It must be there.
    fn follow(
        &mut self,
        at: &Rc<Place>,
        real: &[u8],
        to: &[u8],
        links: &mut u32,
    ) -> Result<Rc<Place>, Error> {
        let refused = |tree: &Self, why| Error::Symlink {
            name: lossy(&tree.entry),
            link: lossy(real),
            to: lossy(to),
            why,
        };
        *links = links
            .checked_sub(1)
            .ok_or_else(|| refused(self, "one of too many"))?;
        let mut here = if to.starts_with(b"/") {
            Rc::clone(&self.root)
        } else {
            Rc::clone(at)
        };
        for part in to.split(|b| *b == b'/') {
            here = match part {
                b"" | b"." => continue,
                b".." if here.real.is_empty() => return Err(refused(self, "outside of the root")),
                b".." => self
                    .reopen(split(&here.real).0)
                    .map_err(self.failed("open folder of"))?,
                part => match self.step(&here, part, false, links) {
                    Err(Error::NotDirectory { .. }) => {
                        return Err(refused(self, "not a directory in the root"));
                    }
                    other => other?,
                },
            };
        }
        Ok(here)
    }

    fn no_folder(&self, real: &[u8]) -> Error {
        Error::NotDirectory {
            name: lossy(&self.entry),
            parent: lossy(real),
        }
    }

    /// A folder that is there, by its path without links.
    fn reopen(&self, real: &[u8]) -> Result<Rc<Place>, Errno> {
        if real.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.root.fd, real, flags, Mode::empty(), resolve)?;
        Ok(Rc::new(Place {
            fd,
            real: real.to_vec(),
        }))
    }

    /// Makes a folder that no entry is about; `closed` when something below must not shine through.
    fn make_folder(&mut self, at: &Rc<Place>, name: &[u8], closed: bool) -> Result<Rc<Place>, Error> {
        let failed = self.failed("create folder of");
        rustix::fs::mkdirat(&at.fd, name, Mode::from_raw_mode(0o700)).map_err(&failed)?;
        let fd = open_folder(at.fd.as_fd(), name).map_err(&failed)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).map_err(&failed)?;
        let real = join(&at.real, name);
        if closed {
            self.close(&fd, &real)?;
        }
        self.implied.insert(real.clone());
        Ok(Rc::new(Place { fd, real }))
    }

    /// Makes a folder that no entry is about look like the one below that it covers.
    fn copy_folder(&mut self, at: &Rc<Place>, name: &[u8], below: &Below) -> Result<Rc<Place>, Error> {
        let place = self.make_folder(at, name, false)?;
        let failed = self.failed("copy folder of");
        let source = open_folder(below.folder.as_fd(), &below.name).map_err(&failed)?;
        let xattrs = xattrs_of(&source).map_err(&failed)?;
        let attributes = Attributes::like(&below.stat, &xattrs);
        attributes.give(&place.fd, false).map_err(|(_, e)| failed(e))?;
        self.times.insert(place.real.clone(), attributes.times);
        Ok(place)
    }

    /// Copies a file of a lower layer up, to the name it has there; `at` is its folder.
    pub(super) fn copy_up(&mut self, at: &Place, name: &[u8], below: &Below) -> Result<(), Error> {
        let failed = self.failed("copy link target of");
        self.implied.insert(join(&at.real, name));
        let kind = FileType::from_raw_mode(below.stat.st_mode);
        if kind == FileType::RegularFile {
            let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = rustix::fs::openat(&below.folder, below.name.as_slice(), read, Mode::empty())
                .map_err(&failed)?;
            let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy =
                rustix::fs::openat(&at.fd, name, write, Mode::from_raw_mode(0o600)).map_err(&failed)?;
            let (mut from, mut to) = (std::fs::File::from(source), std::fs::File::from(copy));
            std::io::copy(&mut from, &mut to)
                .map_err(|e| Error::io("copy link target of", &self.entry, e))?;
            let xattrs = xattrs_of(&from.into()).map_err(&failed)?;
            let given = Attributes::like(&below.stat, &xattrs).give(&to.into(), true);
            return given.map_err(|(_, e)| failed(e));
        }
        let made = match kind {
            FileType::Symlink => rustix::fs::readlinkat(&below.folder, below.name.as_slice(), Vec::new())
                .and_then(|to| rustix::fs::symlinkat(to, &at.fd, name)),
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::mknodat(&at.fd, name, kind, Mode::from_raw_mode(0o600), below.stat.st_rdev),
        };
        made.map_err(&failed)?;
        let kind = if kind == FileType::Symlink {
            crate::tar::Kind::Symlink
        } else {
            crate::tar::Kind::Fifo
        };
        let given = Attributes::like(&below.stat, &[]).give_at(at.fd.as_fd(), name, kind);
        given.map_err(|(_, e)| failed(e))
    }

    /// What a path without links is in the layers below, if it is there and not hidden.
    pub(super) fn below(&self, real: &[u8]) -> Result<Option<Below>, Error> {
        let Some(opaque) = self.opaque.filter(|_| !self.lower.is_empty()) else {
            return Ok(None);
        };
        let failed = self.failed("look up");
        if self.closed_above(real, opaque).map_err(&failed)? {
            return Ok(None);
        }
        let (folders, name) = split(real);
        for layer in &self.lower {
            let mut closed = false;
            let mut here = layer
                .try_clone()
                .map_err(|e| Error::io("look up", &self.entry, e))?;
            let mut found = Ok(());
            for part in folders.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
                match open_folder(here.as_fd(), part) {
                    Ok(fd) => here = fd,
                    Err(errno) => {
                        found = Err(errno);
                        break;
                    }
                }
                closed |= is_closed(&here, opaque).map_err(&failed)?;
            }
            let found = found.and_then(|()| rustix::fs::statat(&here, name, AtFlags::SYMLINK_NOFOLLOW));
            match found {
                Ok(stat) if self.is_whiteout(&stat) => return Ok(None),
                Ok(stat) => {
                    return Ok(Some(Below {
                        folder: here,
                        name: name.to_vec(),
                        stat,
                    }));
                }
                Err(Errno::NOENT) if closed => return Ok(None),
                Err(Errno::NOENT) => {}
                // Something that is no folder hides what is below it.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(None)
    }

    /// The names in the roots of the layers below, hidden ones too.
    pub(super) fn names_below(&self) -> Result<HashSet<Vec<u8>>, Error> {
        let mut all = HashSet::new();
        for layer in &self.lower {
            all.extend(entries(layer).map_err(self.failed("list what is hidden by"))?);
        }
        Ok(all)
    }

    /// Whether a folder above a path is closed in the tree that is written to.
    fn closed_above(&self, real: &[u8], opaque: &str) -> Result<bool, Errno> {
        let mut folder = split(real).0;
        while !folder.is_empty() {
            if self.closed.contains(folder) {
                return Ok(true);
            }
            if self.ours.is_some()
                && let Ok(place) = self.reopen(folder)
                && is_closed(&place.fd, opaque)?
            {
                return Ok(true);
            }
            folder = split(folder).0;
        }
        Ok(false)
    }

    /// Closes a folder to what is below.
    pub(super) fn close(&mut self, folder: &OwnedFd, real: &[u8]) -> Result<(), Error> {
        if let Some(opaque) = self.opaque {
            rustix::fs::fsetxattr(folder, opaque, b"y", XattrFlags::empty())
                .map_err(self.failed("mark as opaque the folder of"))?;
            self.closed.insert(real.to_vec());
        }
        Ok(())
    }

    /// Whether it is a mark that hides what is below.
    pub(super) fn is_whiteout(&self, stat: &Stat) -> bool {
        self.is_overlay()
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == 0
    }

    /// Removes a name and all below it, in the tree that is written to.
    pub(super) fn remove(&self, at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Error> {
        remove(at, name).map_err(self.failed("replace"))
    }

    /// Gives the folders their times.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.stack.clear();
        for (real, times) in std::mem::take(&mut self.times) {
            match self.reopen(&real).and_then(|place| set_times(&place.fd, &times)) {
                // Replaced by a later entry.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(Error::io("set times of", &real, errno)),
            }
        }
        Ok(())
    }

    /// Writes all of the file system to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.root.fd).map_err(|e| Error::io("sync", b"/", e))
    }
}

/// Opens a folder by one name, without following a link.
pub(super) fn open_folder(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The names in a folder.
pub(super) fn entries(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            all.push(name);
        }
    }
    Ok(all)
}

fn is_closed(folder: &OwnedFd, opaque: &str) -> Result<bool, Errno> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(folder, opaque, &mut value[..]) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn remove(at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let folder = open_folder(at, name)?;
    for name in entries(&folder)? {
        remove(folder.as_fd(), &name)?;
    }
    rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}
