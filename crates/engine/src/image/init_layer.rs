//! Docker's init layer: what every container finds beside its image's files (`/.dockerenv`, by which programs know where they are,
//! `/etc/mtab`, the places that are mounted on), made once for each image, between its layers and the container's own. So it is no
//! change of the container.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::{Path, PathBuf};

/// What an entry is.
#[derive(Clone, Copy)]
enum Entry {
    Folder,
    File,
    Link(&'static str),
}

/// Folder, name, and what it is where an image has none.
const ENTRIES: [(&str, &str, Entry); 10] = [
    ("", ".dockerenv", Entry::File),
    ("", "proc", Entry::Folder),
    ("", "sys", Entry::Folder),
    ("dev", "pts", Entry::Folder),
    ("dev", "shm", Entry::Folder),
    ("dev", "console", Entry::File),
    ("etc", "hostname", Entry::File),
    ("etc", "hosts", Entry::File),
    ("etc", "resolv.conf", Entry::File),
    ("etc", "mtab", Entry::Link("/proc/mounts")),
];

/// The name of the init layer's snapshot on the layers of a chain.
pub(crate) fn name(chain_id: &str) -> String {
    match chain_id {
        "" => "scratch-init".to_owned(),
        chain => format!("{chain}-init"),
    }
}

/// Writes it into the topmost of these folders, which is empty; the others are the image's.
pub(super) fn write(layers: &[PathBuf]) -> io::Result<()> {
    let Some((top, image)) = layers.split_first() else {
        return Ok(());
    };
    for (folder, name, entry) in ENTRIES {
        let of_image = match look(image, folder, name) {
            Found::Place(of_image) => of_image,
            Found::There | Found::NoFolder => continue,
        };
        let place = top.join(folder);
        if !place.exists() {
            make_folder(&place, of_image.as_ref())?;
        }
        let path = place.join(name);
        match entry {
            Entry::Folder => fs::DirBuilder::new().mode(0o755).create(&path)?,
            Entry::File => {
                let mut options = fs::OpenOptions::new();
                options
                    .write(true)
                    .create_new(true)
                    .mode(0o755)
                    .open(&path)
                    .map(drop)?;
            }
            Entry::Link(target) => symlink(target, &path)?,
        }
    }
    Ok(())
}

/// A folder as the image has it, so that it looks the same through ours.
fn make_folder(place: &Path, like: Option<&Metadata>) -> io::Result<()> {
    fs::create_dir(place)?;
    let mode = like.map_or(0o755, |like| like.mode() & 0o7777);
    if let Some(like) = like {
        chown(place, Some(like.uid()), Some(like.gid()))?;
    }
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

enum Found {
    /// The image has it.
    There,
    /// The image has something else than a folder in the folder's place.
    NoFolder,
    /// It has not; its folder, if there is one.
    Place(Option<Metadata>),
}

/// Looks for `folder/name` through layers, topmost first. Nothing is followed: they are nobody's to change.
fn look(layers: &[PathBuf], folder: &str, name: &str) -> Found {
    let mut first = None;
    for layer in layers {
        let place = layer.join(folder);
        let Ok(metadata) = fs::symlink_metadata(&place) else {
            continue;
        };
        match metadata.is_dir() {
            true => {}
            false if first.is_none() && !is_whiteout(&metadata) => return Found::NoFolder,
            false => break,
        }
        first.get_or_insert(metadata);
        match fs::symlink_metadata(place.join(name)) {
            Ok(found) if is_whiteout(&found) => break,
            Ok(_) => return Found::There,
            Err(_) => {}
        }
        let mut opaque = [0; 1];
        if rustix::fs::lgetxattr(&place, "trusted.overlay.opaque", &mut opaque).is_ok() && opaque == *b"y" {
            break;
        }
    }
    Found::Place(first)
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_has_is_kept_and_folders_look_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let [top, upper, lower] = ["top", "upper", "lower"].map(|name| dir.path().join(name));
        for place in [&top, &upper.join("etc"), &lower.join("etc")] {
            fs::create_dir_all(place).unwrap();
        }
        fs::set_permissions(upper.join("etc"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::write(lower.join("etc/hosts"), "").unwrap();
        symlink("usr/dev", upper.join("dev")).unwrap();
        write(&[top.clone(), upper, lower]).unwrap();
        let there = |name: &str| fs::symlink_metadata(top.join(name)).is_ok();
        assert!(there(".dockerenv") && there("proc") && there("etc/hostname"));
        assert!(!there("etc/hosts") && !there("dev"));
        assert_eq!(
            fs::read_link(top.join("etc/mtab")).unwrap(),
            Path::new("/proc/mounts")
        );
        assert_eq!(fs::metadata(top.join("etc")).unwrap().mode() & 0o7777, 0o751);
    }

    #[test]
    fn an_image_of_nothing_gets_all() {
        let dir = tempfile::tempdir().unwrap();
        write(&[dir.path().to_owned()]).unwrap();
        assert!(
            ENTRIES.iter().all(|(folder, name, _)| {
                fs::symlink_metadata(dir.path().join(folder).join(name)).is_ok()
            })
        );
        assert_eq!(
            (name(""), name("sha256:a")),
            ("scratch-init".into(), "sha256:a-init".into())
        );
    }
}
