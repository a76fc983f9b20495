//! One container's cgroup in every hierarchy: found, made, entered, limited, removed.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use gantry_oci::runtime::LinuxResources;
use gantry_sys::process::Pid;

use crate::device_bpf;
use crate::error::{Error, Result};
use crate::files::{make, open, read, remove, write};
use crate::layout::{Layout, Version};
use crate::translate::{Write, devices, v1, v2};

/// How long a cgroup may be busy after its last process has gone.
const BUSY: Duration = Duration::from_secs(2);

/// The cgroup of one container.
#[derive(Clone, Debug)]
pub struct Manager {
    layout: Layout,
    /// For each hierarchy its folder.
    folders: Vec<PathBuf>,
}

impl Manager {
    /// The cgroup that `cgroups_path` names: from the hierarchies' roots if absolute, from this process's own cgroup if
    /// not; absent or empty means `id`. Makes nothing.
    pub fn new(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        Self::in_layout(Layout::detect()?, cgroups_path, id)
    }

    fn in_layout(layout: Layout, cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
        let path = Path::new(given);
        let inner = inner(given)?;
        let folders = layout
            .hierarchies
            .iter()
            .map(|hierarchy| match path.is_absolute() {
                true => hierarchy.mount.join(&inner),
                false => hierarchy.mount.join(&hierarchy.own).join(&inner),
            })
            .collect();
        Ok(Self { layout, folders })
    }

    /// The cgroup whose [`Manager::paths`] were kept: wherever this process is now.
    pub fn restore(paths: &[(String, PathBuf)]) -> Result<Self> {
        let layout = Layout::detect()?;
        let mut kept = Self {
            folders: Vec::new(),
            layout: Layout {
                version: layout.version,
                hierarchies: Vec::new(),
            },
        };
        for hierarchy in layout.hierarchies {
            let name = hierarchy.controllers.first().map_or("", String::as_str);
            if let Some((_, folder)) = paths.iter().find(|(controller, _)| controller == name) {
                kept.folders.push(folder.clone());
                kept.layout.hierarchies.push(hierarchy);
            }
        }
        Ok(kept)
    }

    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Which rules hold.
    pub fn version(&self) -> Version {
        self.layout.version
    }

    /// The hierarchies and this container's folder in each.
    pub fn hierarchies(&self) -> impl Iterator<Item = (&crate::Hierarchy, &Path)> {
        self.layout
            .hierarchies
            .iter()
            .zip(self.folders.iter().map(PathBuf::as_path))
    }

    /// Controller and folder, for whoever keeps them: the unified hierarchy's controller is the empty text.
    pub fn paths(&self) -> Vec<(String, PathBuf)> {
        self.hierarchies()
            .flat_map(|(hierarchy, folder)| {
                let names = match hierarchy.controllers.is_empty() {
                    true => vec![String::new()],
                    false => hierarchy.controllers.clone(),
                };
                names.into_iter().map(move |name| (name, folder.to_owned()))
            })
            .collect()
    }

    /// The folder in the hierarchy of a controller; with version 2 the one folder there is.
    pub fn folder(&self, controller: &str) -> Option<&Path> {
        self.hierarchies()
            .find(|(hierarchy, _)| match self.layout.version {
                Version::V2 => true,
                Version::V1 => hierarchy.controllers.iter().any(|name| name == controller),
            })
            .map(|(_, folder)| folder)
    }

    /// Whether the container's cgroup is there.
    pub fn exists(&self) -> bool {
        self.folders.iter().any(|folder| folder.is_dir())
    }

    /// Makes the cgroup in every hierarchy. What is there already is used.
    pub fn create(&self) -> Result<()> {
        for (hierarchy, folder) in self.hierarchies() {
            make(&hierarchy.mount, folder)?;
            if self.layout.version == Version::V1 && hierarchy.controllers.iter().any(|name| name == "cpuset")
            {
                fill_cpusets(&hierarchy.mount, folder)?;
            }
            if self.layout.version == Version::V2 {
                enable_controllers(&hierarchy.mount, folder);
            }
        }
        Ok(())
    }

    /// Puts a process into the cgroup, everywhere.
    ///
    /// With version 1 the kernel makes every fork of the machine wait for this, and this for them: some milliseconds. A
    /// process that has one thread enters by itself through an [`Entrance`] instead.
    pub fn add(&self, pid: Pid) -> Result<()> {
        self.add_below("", pid)
    }

    /// Puts a process into a cgroup below that of the container (`exec --cgroup`).
    pub fn add_below(&self, sub: &str, pid: Pid) -> Result<()> {
        let inner = inner(sub)?;
        for folder in &self.folders {
            write(&folder.join(&inner).join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The way in for a process that is to enter by itself.
    pub fn entrance(&self) -> Result<Entrance> {
        self.entrance_below("")
    }

    /// The way into a cgroup below that of the container (`exec --cgroup`).
    pub fn entrance_below(&self, sub: &str) -> Result<Entrance> {
        let inner = inner(sub)?;
        // Version 1: one thread that moves itself needs no lock over the forks of the whole machine.
        let file = match self.layout.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        let doors = self
            .folders
            .iter()
            .map(|folder| open(&folder.join(&inner).join(file)));
        Ok(Entrance {
            doors: doors.collect::<Result<_>>()?,
        })
    }

    /// With version 2 the folder itself, into which `clone3` makes a process (`CLONE_INTO_CGROUP`): cheaper than any move.
    pub fn unified(&self) -> Result<Option<OwnedFd>> {
        match (self.layout.version, self.folders.first()) {
            (Version::V2, Some(folder)) => {
                let file = fs::File::open(folder).map_err(|source| Error::Read {
                    path: folder.clone(),
                    source,
                })?;
                Ok(Some(file.into()))
            }
            _ => Ok(None),
        }
    }

    /// Sets limits; what is not named stays as it is.
    pub fn set(&self, resources: &LinuxResources) -> Result<()> {
        let writes = match self.layout.version {
            Version::V1 => v1::resources(resources),
            Version::V2 => v2::resources(resources),
        };
        self.apply(&writes.map_err(Error::Invalid)?)
    }

    /// Sets which devices may be used: the rules replace those that were there.
    pub fn set_devices(&self, resources: &LinuxResources) -> Result<()> {
        if resources.devices.is_empty() {
            return Ok(());
        }
        match (self.layout.version, self.folders.first()) {
            (Version::V1, _) => self.apply(&v1::devices(&resources.devices)),
            (Version::V2, Some(folder)) => {
                let failed = |source| Error::Devices {
                    path: folder.clone(),
                    source,
                };
                let program = devices::program(&resources.devices).map_err(Error::Invalid)?;
                device_bpf::attach(folder, program.as_deref()).map_err(failed)
            }
            (Version::V2, None) => Ok(()),
        }
    }

    fn apply(&self, writes: &[Write]) -> Result<()> {
        let mut later: Option<&Write> = None;
        // The rules of devices are many lines for one file: it stays open for those that follow.
        let mut last: Option<(PathBuf, fs::File)> = None;
        for write in writes {
            let Some(folder) = self.folder(write.controller) else {
                if write.optional {
                    continue;
                }
                return Err(Error::NoController {
                    controller: write.controller.to_owned(),
                });
            };
            let path = folder.join(&write.file);
            let file = match last.take() {
                Some((open, file)) if open == path => Ok(file),
                _ => open(&path),
            };
            let done = file.and_then(|mut file| {
                file.write_all(write.value.as_bytes())
                    .map_err(|source| Error::Write {
                        value: write.value.clone(),
                        path: path.clone(),
                        source,
                    })?;
                Ok(file)
            });
            match done {
                Ok(file) => last = Some((path, file)),
                Err(_) if write.optional => {}
                // Memory alone may not exceed memory and swap: then the sum grows first, and this one after it.
                Err(Error::Write { .. }) if write.file == v1::MEMORY_LIMIT && later.is_none() => {
                    later = Some(write);
                    continue;
                }
                Err(error) => return Err(self.explain(write, error)),
            }
            if let Some(write) = later.take() {
                self.write_later(write)?;
            }
        }
        later.map_or(Ok(()), |write| self.write_later(write))
    }

    fn write_later(&self, late: &Write) -> Result<()> {
        let folder = self.folder(late.controller).unwrap_or(Path::new("/"));
        write(&folder.join(&late.file), &late.value).map_err(|error| self.explain(late, error))
    }

    /// What a refusal means, where the kernel's word for it says little.
    fn explain(&self, write: &Write, error: Error) -> Error {
        let (Error::Write { source, .. } | Error::Open { source, .. }) = &error else {
            return error;
        };
        let folder = self.folder(write.controller).unwrap_or(Path::new("/"));
        let number = |file: &str| read(&folder.join(file)).unwrap_or_default().trim().to_owned();
        match source.raw_os_error() {
            Some(libc::EBUSY) if write.file == v1::MEMORY_LIMIT => Error::Invalid(format!(
                "unable to set memory limit to {} (current usage: {}, peak usage: {})",
                write.value,
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes")
            )),
            Some(libc::ENOENT) if self.layout.version == Version::V2 && !write.controller.is_empty() => {
                match number("cgroup.controllers")
                    .split(' ')
                    .any(|name| name == write.controller)
                {
                    true => error,
                    false => Error::NoController {
                        controller: write.controller.to_owned(),
                    },
                }
            }
            _ => error,
        }
    }

    /// Removes the cgroup and those below it. One that is gone is no error; every other is told of, after all were tried.
    pub fn destroy(&self) -> Result<()> {
        let mut first = None;
        let deadline = Instant::now() + BUSY;
        for folder in &self.folders {
            if let Err(error) = remove(folder, deadline) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// The open doors of a cgroup, one for each hierarchy, for a process that enters by itself: opened before the process is
/// made, so that it needs neither the paths nor the right to open them.
#[derive(Debug)]
pub struct Entrance {
    doors: Vec<fs::File>,
}

impl Entrance {
    /// Moves the calling process, which must have one thread. Allocates nothing and opens nothing.
    pub fn enter(&self) -> std::io::Result<()> {
        self.doors
            .iter()
            .try_for_each(|door| gantry_sys::fd::write_all(door.as_fd(), b"0"))
    }
}

/// A path as given, without its root and its empty and `.` parts.
fn inner(given: &str) -> Result<PathBuf> {
    let parts = Path::new(given).components();
    if parts.clone().any(|part| part == Component::ParentDir) {
        return Err(Error::Path {
            path: given.to_owned(),
        });
    }
    Ok(parts
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect())
}

/// A new cpuset is empty, and takes no process until it has what its parent has. Those above may be empty too: who made
/// them was killed, or is just about to fill them.
fn fill_cpusets(mount: &Path, folder: &Path) -> Result<()> {
    let below = folder.strip_prefix(mount).unwrap_or(Path::new(""));
    let mut at = mount.to_owned();
    for name in below {
        let parent = at.clone();
        at.push(name);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(&at.join(file))?.trim().is_empty() {
                write(&at.join(file), read(&parent.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}

/// Passes the controllers down to `folder`. One that cannot be passed is missed only by a limit that needs it.
fn enable_controllers(mount: &Path, folder: &Path) {
    let below = folder.strip_prefix(mount).unwrap_or(Path::new(""));
    let mut at = mount.to_owned();
    let parents = below.components().count().saturating_sub(1);
    for name in std::iter::once(OsStr::new("")).chain(below.iter().take(parents)) {
        if !name.is_empty() {
            at.push(name);
        }
        let available = fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
        let enabled = fs::read_to_string(at.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in available.split_whitespace() {
            if !enabled.split_whitespace().any(|name| name == controller) {
                let _ = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
