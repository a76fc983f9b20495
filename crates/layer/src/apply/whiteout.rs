//! Whiteouts: entries that say what of the layers below is gone.
//!
//! They are about lower layers only, wherever in the layer they stand: what the same layer brings stays.
//! Source: <https://github.com/opencontainers/image-spec>, `layer.md`, "Whiteouts".

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::path::join;
use super::tree::{Place, Tree, entries, open_folder};
use crate::Error;
use crate::error::lossy;
use crate::tar::Entry;

/// What the name of a whiteout begins with.
pub(super) const PREFIX: &[u8] = b".wh.";
/// Everything in the folder is gone.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other notes of aufs, which mean nothing here.
const NOTES: &[u8] = b".wh..wh.";

pub(super) fn apply(tree: &mut Tree, entry: &Entry, folder: &[u8], name: &[u8]) -> Result<(), Error> {
    if name == OPAQUE {
        let Some(at) = tree.enter_if_there(folder)? else {
            return Ok(());
        };
        return if at.real.is_empty() {
            hide_all_of_root(tree, &at)
        } else {
            hide_all(tree, &at)
        };
    }
    if name.starts_with(NOTES) {
        return Ok(());
    }
    let hidden = &name[PREFIX.len()..];
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(Error::Entry {
            name: lossy(&entry.name),
            problem: "it is a whiteout of no name",
        });
    }
    // In a folder that is not there, nothing is hidden.
    let Some(at) = tree.enter_if_there(folder)? else {
        return Ok(());
    };
    hide(tree, &at, hidden)
}

/// Hides what is below under one name.
fn hide(tree: &mut Tree, at: &Place, name: &[u8]) -> Result<(), Error> {
    let real = join(&at.real, name);
    let stat = match rustix::fs::statat(&at.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => None,
        other => Some(other.map_err(tree.failed("stat what is hidden by"))?),
    };
    match stat {
        Some(stat) if tree.is_whiteout(&stat) => Ok(()),
        Some(stat) if tree.is_ours(&real) => {
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Ok(());
            }
            let fd = open_folder(at.fd.as_fd(), name).map_err(tree.failed("open what is hidden by"))?;
            hide_all(tree, &Place { fd, real })
        }
        found => {
            if found.is_some() {
                tree.remove(at.fd.as_fd(), name)?;
            }
            // Where nothing is hidden a mark would itself be seen: overlayfs lists a folder that is in one layer only
            // as it is.
            if tree.below(&real)?.is_none() {
                return Ok(());
            }
            let mark = rustix::fs::mknodat(&at.fd, name, FileType::CharacterDevice, Mode::empty(), 0);
            mark.map_err(tree.failed("create"))
        }
    }
}

/// Hides all that is below in a folder.
fn hide_all(tree: &mut Tree, at: &Place) -> Result<(), Error> {
    tree.close(&at.fd, &at.real)?;
    if tree.is_overlay() {
        unmark(tree, at)?;
    }
    prune(tree, at)
}

/// Removes the marks from a folder that is closed now and all below it.
fn unmark(tree: &Tree, at: &Place) -> Result<(), Error> {
    for name in entries(&at.fd).map_err(tree.failed("list folder of"))? {
        let stat = rustix::fs::statat(&at.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(tree.failed("stat what is hidden by"))?;
        if tree.is_whiteout(&stat) {
            tree.remove(at.fd.as_fd(), &name)?;
        } else if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = open_folder(at.fd.as_fd(), &name).map_err(tree.failed("open folder of"))?;
            unmark(
                tree,
                &Place {
                    fd,
                    real: join(&at.real, &name),
                },
            )?;
        }
    }
    Ok(())
}

/// Overlayfs takes no mark on the root, so each name below is hidden by itself.
fn hide_all_of_root(tree: &mut Tree, at: &Place) -> Result<(), Error> {
    prune(tree, at)?;
    for name in tree.names_below()? {
        hide(tree, at, &name)?;
    }
    Ok(())
}

/// Removes what was there before this layer.
fn prune(tree: &Tree, at: &Place) -> Result<(), Error> {
    if tree.is_all_ours() {
        return Ok(());
    }
    for name in entries(&at.fd).map_err(tree.failed("list folder of"))? {
        let real = join(&at.real, &name);
        if !tree.is_ours(&real) {
            tree.remove(at.fd.as_fd(), &name)?;
            continue;
        }
        match open_folder(at.fd.as_fd(), &name) {
            Ok(fd) => prune(tree, &Place { fd, real })?,
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(tree.failed("open folder of")(errno)),
        }
    }
    Ok(())
}
