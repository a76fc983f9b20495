//! Writing a container's processes down (`dump`) and making them again from that (`restore`), by the program criu (`criu`,
//! `message`, `wire`). It does the work; here is said what of the container is the host's (`places`), and what a restored one
//! needs around it.

mod criu;
mod dump;
mod message;
mod places;
mod restore;
mod wire;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use gantry_cgroups::{Manager, Version};
use gantry_oci::runtime::LinuxNamespaceType;
use gantry_sys::mount;
use gantry_sys::{ns, path};

pub use dump::checkpoint;
pub use message::{CgroupsMode, Switch};
pub use restore::restore;

use crate::error::{Error, Result};
use crate::plan;
use message::{Kind, Request};

/// How to write down, or make again.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the images are.
    pub image_path: PathBuf,
    /// Where logs are written.
    pub work_path: Option<PathBuf>,
    /// Images of an earlier `pre_dump`, from `image_path`.
    pub parent_path: Option<PathBuf>,
    /// Writes memory only, and lets the processes go on.
    pub pre_dump: bool,
    /// What is switched on.
    pub switches: Vec<Switch>,
    /// What criu does with cgroups.
    pub cgroups: Option<CgroupsMode>,
    /// Who takes the pages, or is asked for them: address and port.
    pub page_server: Option<(String, u16)>,
    /// A descriptor that is told when pages can be asked for.
    pub status: Option<i32>,
    /// Another profile of a security module: `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    /// Another context of its for mounts.
    pub lsm_mount_context: Option<String>,
}

impl Options {
    fn has(&self, switch: Switch) -> bool {
        self.switches.contains(&switch)
    }

    fn log_folder(&self) -> &Path {
        self.work_path.as_deref().unwrap_or(&self.image_path)
    }
}

/// Where the three standard streams went when they were written down.
const DESCRIPTORS: &str = "descriptors.json";

/// criu's own settings for those that are run by runtimes.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";

/// The annotation that names others, or with an empty text none.
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// Open folders that criu reads and writes through us.
struct Folders {
    images: OwnedFd,
    work: Option<OwnedFd>,
}

impl Folders {
    fn open(options: &Options) -> Result<Self> {
        let work = options.work_path.as_ref().map(|path| {
            make_folder(path)?;
            Ok::<_, Error>(path::open(path, 0)?)
        });
        Ok(Self {
            images: path::open(&options.image_path, 0)?,
            work: work.transpose()?,
        })
    }
}

/// What both ways have in common.
fn request(
    kind: Kind,
    options: &Options,
    folders: &Folders,
    annotations: &BTreeMap<String, String>,
) -> Request {
    let mut request = Request::default();
    request.images(folders.images.as_raw_fd());
    if let Some(work) = &folders.work {
        request.work(work.as_raw_fd());
    }
    request.log(kind.log()).notifications().empty_network();
    request.orphan_terminals();
    for switch in &options.switches {
        request.switch(*switch);
    }
    match annotations.get(CONFIG_ANNOTATION).map(String::as_str) {
        Some("") => {}
        other => drop(request.config_file(other.unwrap_or(CONFIG_FILE))),
    }
    request
}

/// What criu is to do with cgroups. If nobody says anything it makes those that the container had below its own; with version 1
/// nothing, as there may be an empty unified hierarchy that is nobody's.
fn mode(options: &Options, cgroup: &Manager) -> CgroupsMode {
    options.cgroups.unwrap_or(match cgroup.version() {
        Version::V1 => CgroupsMode::Ignore,
        Version::V2 => CgroupsMode::Soft,
    })
}

/// Makes a folder for what is in a container's memory, which is nobody else's business.
fn make_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Error::file("failed to make", folder))
}

/// Namespaces that criu takes as they are, as the host's: its word, and ours for such a one.
fn external(kind: LinuxNamespaceType) -> Option<(&'static str, &'static str)> {
    match kind {
        LinuxNamespaceType::Network => Some(("net", "extRootNetNS")),
        LinuxNamespaceType::Pid => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

/// A folder in which criu finds the hierarchies, which it would mount otherwise: that of version 2 without the options that it is
/// mounted with, and all mounts of it share them, so that the host's `nsdelegate` would be gone.
struct Yard {
    folder: PathBuf,
    /// For each hierarchy the name by which criu looks for it, and what it is to see.
    shown: Vec<(String, PathBuf)>,
}

impl Yard {
    /// One in a container's folder, if criu needs it. `whole`: with the cgroups of others.
    fn new(container: &Path, cgroup: &Manager, whole: bool, mode: CgroupsMode) -> Result<Option<Self>> {
        if mode == CgroupsMode::Ignore {
            return Ok(None);
        }
        let all = cgroup.hierarchies().map(|(hierarchy, folder)| {
            let name = match hierarchy.controllers.is_empty() {
                true => "unified".to_owned(),
                false => hierarchy.controllers.join(",").replace("name=", ""),
            };
            let place = if whole { hierarchy.mount.as_path() } else { folder };
            (name, place.to_owned())
        });
        let yard = Self {
            folder: container.join("criu-yard"),
            shown: all.collect(),
        };
        for (name, _) in &yard.shown {
            make_folder(&yard.folder.join(name))?;
        }
        Ok(Some(yard))
    }

    /// Shows it to the calling process, which is alone in its namespace of mounts.
    fn mount(&self) -> Result<()> {
        const MS_BIND: u64 = 0x1000;
        for (name, place) in &self.shown {
            mount::mount(place, &self.folder.join(name), "", MS_BIND, "")?;
        }
        Ok(())
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        // Empty folders, outside of that namespace.
        for (name, _) in &self.shown {
            let _ = std::fs::remove_dir(self.folder.join(name));
        }
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Takes the calling process into a namespace of mounts of its own, from which nothing comes back to the host's.
fn leave_mounts() -> Result<()> {
    const MS_SLAVE_REC: u64 = 0x8_4000;
    ns::unshare(plan::flag(LinuxNamespaceType::Mount))?;
    Ok(mount::set_propagation(Path::new("/"), MS_SLAVE_REC)?)
}

fn inode(place: &str) -> Result<u64> {
    Ok(path::fstat(path::open(Path::new(place), 0)?.as_fd())?.st_ino)
}
