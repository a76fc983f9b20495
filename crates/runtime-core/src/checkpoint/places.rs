//! What is mounted in a container and comes from the host: criu leaves it out, and is told what is to be there. Also the places
//! in the root file system on which is mounted.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use gantry_cgroups::{Manager, Version};
use gantry_oci::runtime::{Linux, LinuxNamespaceType, Mount, Spec};
use gantry_sys::mount::{self, Options as MountOptions};
use gantry_sys::path;

use crate::error::{Error, Result};
use crate::sources::is_bind;

const O_PATH: i32 = 0o10_000_000;
const MS_BIND_REC: u64 = 0x5000;

/// A mount whose source is the host's.
pub(super) struct Place {
    /// In the container, without links on the way.
    pub(super) destination: String,
    pub(super) source: PathBuf,
}

/// All of them: bind mounts, devices that may be such, and with version 1 the cgroups.
pub(super) fn external(spec: &Spec, bundle: &Path, rootfs: &Path, cgroup: &Manager) -> Vec<Place> {
    let linux = spec.linux.clone().unwrap_or_default();
    let mut places = Vec::new();
    for one in &spec.mounts {
        if binds(one) {
            places.push(Place {
                destination: resolved(rootfs, Path::new(&one.destination)),
                source: real(&bundle.join(&one.source)),
            });
        } else if !matches!(one.typ.as_str(), "cgroup" | "cgroup2") || has_cgroups(&linux) {
            // A file system of the container's own.
        } else if cgroup.version() == Version::V2 {
            places.extend(cgroup.hierarchies().next().map(|(hierarchy, folder)| Place {
                destination: one.destination.clone(),
                source: match has_users(&linux) {
                    true => folder.to_owned(),
                    false => hierarchy.mount.clone(),
                },
            }));
        } else {
            for (hierarchy, folder) in cgroup.hierarchies() {
                let name = hierarchy.mount.file_name().unwrap_or_default();
                places.push(Place {
                    destination: Path::new(&one.destination).join(name).display().to_string(),
                    source: folder.to_owned(),
                });
            }
        }
    }
    places.extend(linux.devices.iter().map(|device| Place {
        destination: resolved(rootfs, Path::new(&device.path)),
        source: PathBuf::from(&device.path),
    }));
    places
}

/// Whether the container has a cgroup namespace that it shares with nobody.
pub(super) fn has_cgroups(linux: &Linux) -> bool {
    let mut all = linux.namespaces.iter();
    all.any(|one| one.typ == LinuxNamespaceType::Cgroup && one.path.is_empty())
}

/// criu does not understand `.` and the like.
fn real(source: &Path) -> PathBuf {
    std::fs::canonicalize(source).unwrap_or_else(|_| source.to_owned())
}

fn has_users(linux: &Linux) -> bool {
    let mut all = linux.namespaces.iter();
    all.any(|one| one.typ == LinuxNamespaceType::User)
}

fn binds(one: &Mount) -> bool {
    let options = MountOptions::parse(one.options.iter().map(String::as_str));
    is_bind(one, &options)
}

/// A place in the container without the links on the way.
fn resolved(rootfs: &Path, destination: &Path) -> String {
    let found = || {
        let root = path::open(rootfs, O_PATH).ok()?;
        let place = path::open_in_root(root.as_fd(), destination, O_PATH).ok()?;
        let place = std::fs::read_link(path::of_fd(place.as_fd())).ok()?;
        Some(Path::new("/").join(place.strip_prefix(rootfs).ok()?))
    };
    found()
        .unwrap_or_else(|| Path::new("/").join(destination))
        .display()
        .to_string()
}

/// Makes what is mounted on, in a root file system that nobody but the caller sees and that is thrown away: some places are in
/// what is mounted itself, which is mounted for that.
pub(super) fn make(root: &Path, bundle: &Path, mounts: &[Mount]) -> Result<()> {
    let root = path::open(root, O_PATH)?;
    let on_tmpfs = |one: &Mount| {
        let within = |other: &&Mount| {
            other.typ == "tmpfs"
                && Path::new(&one.destination).starts_with(&other.destination)
                && *other != one
        };
        mounts.iter().any(|other| within(&other))
    };
    for one in mounts {
        // Those of the cgroups come with what they are in.
        if matches!(one.typ.as_str(), "cgroup" | "cgroup2") || on_tmpfs(one) {
            continue;
        }
        let destination = Path::new("/").join(&one.destination);
        let source = bundle.join(&one.source);
        if !binds(one) {
            drop(path::make_dirs_in_root(root.as_fd(), &destination, 0o755)?);
            continue;
        }
        let found = std::fs::metadata(&source).map_err(Error::file("failed to find", &source))?;
        let place = match found.is_dir() {
            true => path::make_dirs_in_root(root.as_fd(), &destination, 0o755)?,
            false => path::make_file_in_root(root.as_fd(), &destination, 0o755)?,
        };
        mount::mount(&source, &path::of_fd(place.as_fd()), "", MS_BIND_REC, "")?;
    }
    Ok(())
}
