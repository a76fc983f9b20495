//! The sources of bind mounts that the container's process cannot copy by itself: in a user namespace it may lack the right to
//! reach them, and it can map the ids of none. The runtime copies them, as root of the host but among the container's mounts,
//! where an earlier one may be the source of a later one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use gantry_oci::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Mount};
use gantry_sys::mount::{self, Attributes, Options};
use gantry_sys::process::Pid;
use gantry_sys::{ns, path};

use crate::config::Config;
use crate::error::{Error, Result, chain};
use crate::idmap;

const MS_BIND: u64 = 0x1000;
const MS_REC: u64 = 0x4000;
const O_PATH: i32 = 0o10_000_000;
/// `MOUNT_ATTR_IDMAP`.
const ATTR_IDMAP: u64 = 0x10_0000;

/// Whether a mount shows what is somewhere already.
pub(crate) fn is_bind(one: &Mount, options: &Options) -> bool {
    one.typ == "bind" || options.flags & MS_BIND != 0
}

/// Whether the runtime copies the source of a mount.
pub(crate) fn is_asked_for(one: &Mount, options: &Options, linux: &Linux, by_root: bool) -> bool {
    let user = linux
        .namespaces
        .iter()
        .any(|one| one.typ == LinuxNamespaceType::User);
    // An ordinary user reaches nothing more than its container does.
    is_bind(one, options) && (is_mapped(one, options) || (user && by_root))
}

/// Whether ids are mapped in a mount.
pub(crate) fn is_mapped(one: &Mount, options: &Options) -> bool {
    options.id_map.is_some() || !one.uid_mappings.is_empty() || !one.gid_mappings.is_empty()
}

/// Copies sources, each when it is asked for.
pub(crate) struct Opener<'a> {
    config: &'a Config,
    linux: &'a Linux,
    /// User namespaces that were made for mappings.
    made: Vec<(Mapping<'a>, OwnedFd)>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(config: &'a Config, linux: &'a Linux) -> Self {
        Self {
            config,
            linux,
            made: Vec::new(),
        }
    }

    /// Copies the source of the mount at a place of the list, as the process `pid` sees it.
    pub(crate) fn open(&mut self, at: usize, pid: Pid) -> Result<OwnedFd> {
        let one = self.config.spec.mounts.get(at);
        let one = one.ok_or_else(|| Error::Init(format!("there is no mount {at}")))?;
        let options = Options::parse(one.options.iter().map(String::as_str));
        let namespace = match is_mapped(one, &options) {
            true => Some(self.namespace(mapping(one, self.linux)?)?),
            false => None,
        };
        let source = self.config.bundle.join(&one.source);
        let failed = |error: gantry_sys::Error| {
            Error::Init(format!(
                "error mounting {:?} to rootfs at {:?}: {}",
                one.source,
                one.destination,
                chain(&error)
            ))
        };
        let copy = among_mounts_of(pid, || {
            let from = path::open(&source, O_PATH)?;
            mount::open_tree(from.as_fd(), "", options.flags & MS_REC != 0)
        })
        .map_err(failed)?;
        if let Some(at) = namespace {
            let attributes = Attributes {
                set: ATTR_IDMAP,
                user_namespace: self.made[at].1.as_raw_fd() as u64,
                ..Default::default()
            };
            let recursive = options.id_map.unwrap_or(false);
            mount::set_attributes(copy.as_fd(), attributes, recursive).map_err(|error| {
                Error::Init(format!(
                    "failed to set MOUNT_ATTR_IDMAP on {}: {} (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
                    one.source,
                    chain(error.io())
                ))
            })?;
        }
        Ok(copy)
    }

    fn namespace(&mut self, mapping: Mapping<'a>) -> Result<usize> {
        if let Some(at) = self.made.iter().position(|(known, _)| *known == mapping) {
            return Ok(at);
        }
        let namespace = mapping.namespace()?;
        self.made.push((mapping, namespace));
        Ok(self.made.len() - 1)
    }
}

/// Does something among the mounts of another process, and comes back.
fn among_mounts_of<T>(pid: Pid, what: impl FnOnce() -> gantry_sys::Result<T>) -> gantry_sys::Result<T> {
    const NEW_MOUNTS: i32 = 0x0002_0000;
    let open = |path: &str, flags| path::open(Path::new(path), flags);
    let (ours, theirs) = (
        open("/proc/self/ns/mnt", 0)?,
        open(&format!("/proc/{pid}/ns/mnt"), 0)?,
    );
    let here = open(".", O_PATH)?;
    ns::join(theirs.as_fd(), NEW_MOUNTS)?;
    let done = what();
    ns::join(ours.as_fd(), NEW_MOUNTS)?;
    mount::fchdir(here.as_fd())?;
    done
}

/// How a mount's ids are mapped.
#[derive(Clone, PartialEq)]
enum Mapping<'a> {
    Of(&'a [LinuxIdMapping], &'a [LinuxIdMapping]),
    Namespace(&'a str),
}

impl Mapping<'_> {
    fn namespace(&self) -> Result<OwnedFd> {
        match self {
            Self::Of(uids, gids) => idmap::namespace(uids, gids),
            Self::Namespace(at) => Ok(path::open(Path::new(at), 0)?),
        }
    }
}

/// The mount's own mapping, or that of the container's user namespace.
fn mapping<'a>(one: &'a Mount, linux: &'a Linux) -> Result<Mapping<'a>> {
    let user = linux
        .namespaces
        .iter()
        .find(|one| one.typ == LinuxNamespaceType::User);
    match (one.uid_mappings.is_empty(), one.gid_mappings.is_empty(), user) {
        (false, false, _) => Ok(Mapping::Of(&one.uid_mappings, &one.gid_mappings)),
        (true, true, Some(user)) if user.path.is_empty() => {
            Ok(Mapping::Of(&linux.uid_mappings, &linux.gid_mappings))
        }
        (true, true, Some(user)) => Ok(Mapping::Namespace(&user.path)),
        _ => Err(Error::Config(
            "id-mapped mounts must have both uid and gid mappings specified".to_owned(),
        )),
    }
}
