//! One container's cgroup in every hierarchy: made, filled, limited, frozen, killed, removed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use gantry_oci::runtime::LinuxResources;
use gantry_sys::process::Pid;

use crate::error::{Error, Result};
use crate::layout::{Layout, Version};
use crate::translate::{Write, v1, v2};

/// How long a freeze may take.
const FREEZE: Duration = Duration::from_secs(10);

/// How long a cgroup may be busy after its last process has gone.
const BUSY: Duration = Duration::from_secs(2);

/// Whether the processes of a cgroup run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezerState {
    /// They do.
    Thawed,
    /// They do not.
    Frozen,
}

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
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::Path {
                path: given.to_owned(),
            });
        }
        let inner: PathBuf = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
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
            let made = make(&hierarchy.mount, folder)?;
            if hierarchy.controllers.iter().any(|name| name == "cpuset") {
                for folder in &made {
                    inherit_cpuset(folder)?;
                }
            }
            if self.layout.version == Version::V2 {
                enable_controllers(&hierarchy.mount, folder);
            }
        }
        Ok(())
    }

    /// Puts a process into the cgroup, everywhere.
    pub fn add(&self, pid: Pid) -> Result<()> {
        for folder in &self.folders {
            write(&folder.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Puts a process into a cgroup below that of the container (`exec --cgroup`).
    pub fn add_below(&self, sub: &str, pid: Pid) -> Result<()> {
        let path = Path::new(sub);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::Path { path: sub.to_owned() });
        }
        let inner: PathBuf = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        for folder in &self.folders {
            write(&folder.join(&inner).join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
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
        match self.layout.version {
            Version::V1 => self.apply(&v1::devices(&resources.devices)),
            Version::V2 => Ok(()),
        }
    }

    fn apply(&self, writes: &[Write]) -> Result<()> {
        let mut later: Option<(PathBuf, &Write)> = None;
        for write in writes {
            let Some(folder) = self.folder(write.controller) else {
                if write.optional {
                    continue;
                }
                return Err(Error::NoController {
                    what: write.file.clone(),
                    controller: write.controller.to_owned(),
                });
            };
            let path = folder.join(&write.file);
            match self::write(&path, &write.value) {
                Ok(()) => {}
                Err(_) if write.optional => {}
                // Memory alone may not exceed memory and swap: then the sum grows first, and this one after it.
                Err(Error::Write { .. }) if write.file == "memory.limit_in_bytes" && later.is_none() => {
                    later = Some((path, write));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some((path, write)) = later.take() {
                self::write(&path, &write.value)?;
            }
        }
        match later {
            Some((path, write)) => self::write(&path, &write.value),
            None => Ok(()),
        }
    }

    /// The processes in the cgroup, and those in cgroups below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let folder = self
            .folder("freezer")
            .or(self.folders.first().map(PathBuf::as_path));
        let mut pids = Vec::new();
        if let Some(folder) = folder {
            collect(folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops every process of the cgroup, wherever it is.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let Some(folder) = self.folder("freezer") else {
            let (what, controller) = ("the freezer's state".to_owned(), "freezer".to_owned());
            return Err(Error::NoController { what, controller });
        };
        let (wanted, file, value) = match (self.layout.version, frozen) {
            (Version::V1, true) => (FreezerState::Frozen, "freezer.state", "FROZEN"),
            (Version::V1, false) => (FreezerState::Thawed, "freezer.state", "THAWED"),
            (Version::V2, true) => (FreezerState::Frozen, "cgroup.freeze", "1"),
            (Version::V2, false) => (FreezerState::Thawed, "cgroup.freeze", "0"),
        };
        let deadline = Instant::now() + FREEZE;
        let mut pause = Duration::from_micros(50);
        loop {
            // Version 1 wants to be told again while it freezes: a fork may have slipped through.
            write(&folder.join(file), value)?;
            if self.freezer_state()? == Some(wanted) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = write(&folder.join(file), if frozen { "0" } else { value });
                let state = if frozen { "frozen" } else { "thawed" };
                return Err(Error::Slow {
                    path: folder.to_owned(),
                    state,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Whether the cgroup is frozen; none while it is on its way.
    pub fn freezer_state(&self) -> Result<Option<FreezerState>> {
        let Some(folder) = self.folder("freezer") else {
            return Ok(Some(FreezerState::Thawed));
        };
        let (file, frozen, thawed) = match self.layout.version {
            Version::V1 => ("freezer.state", "FROZEN", "THAWED"),
            Version::V2 => ("cgroup.events", "frozen 1", "frozen 0"),
        };
        let text = match read(&folder.join(file)) {
            Err(Error::Read { source, .. }) if gone(&source) => return Ok(Some(FreezerState::Thawed)),
            other => other?,
        };
        Ok(text.lines().find_map(|line| match line.trim() {
            line if line == frozen => Some(FreezerState::Frozen),
            line if line == thawed => Some(FreezerState::Thawed),
            _ => None,
        }))
    }

    /// Sends SIGKILL to every process of the cgroup, also to those that fork meanwhile.
    pub fn kill(&self) -> Result<()> {
        if self.layout.version == Version::V2
            && let Some(folder) = self.folders.first()
            && fs::write(folder.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        // Frozen, nobody forks. A freeze that fails is only slower: the loop finds who was made meanwhile.
        let frozen = self.folder("freezer").is_some()
            && self.pids().is_ok_and(|p| !p.is_empty())
            && self.freeze().is_ok();
        for _ in 0..10 {
            let pids = self.pids().unwrap_or_default();
            for pid in &pids {
                let _ = gantry_sys::process::kill(*pid, libc_sigkill());
            }
            if frozen || pids.is_empty() {
                break;
            }
        }
        if frozen {
            self.thaw()?;
        }
        Ok(())
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

/// SIGKILL, the same everywhere.
const fn libc_sigkill() -> i32 {
    9
}

/// Makes `folder` and what is missing above it, and returns what was made, from the top.
fn make(mount: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    // Somebody may remove an empty parent between two steps: then begin again.
    for attempt in 0..16 {
        match fs::create_dir(folder) {
            Ok(()) => {
                made.push(folder.to_owned());
                return Ok(made);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(made),
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < 15 => {
                let Some(parent) = folder.parent().filter(|parent| parent.starts_with(mount)) else {
                    return Err(Error::Make {
                        path: folder.to_owned(),
                        source: error,
                    });
                };
                made.extend(make(mount, parent)?);
            }
            Err(source) => {
                return Err(Error::Make {
                    path: folder.to_owned(),
                    source,
                });
            }
        }
    }
    Ok(made)
}

/// A new cpuset is empty, and takes no process until it has what its parent has.
fn inherit_cpuset(folder: &Path) -> Result<()> {
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = read(&parent.join(file))?;
        write(&folder.join(file), value.trim())?;
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

fn collect(folder: &Path, pids: &mut Vec<Pid>) -> Result<()> {
    match read(&folder.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<Pid>().ok())),
        Err(Error::Read { source, .. }) if gone(&source) => return Ok(()),
        // A threaded cgroup of version 2 has no processes of its own.
        Err(Error::Read { source, .. }) if source.raw_os_error() == Some(95) => {}
        Err(error) => return Err(error),
    }
    for child in children(folder) {
        collect(&child, pids)?;
    }
    Ok(())
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove(folder: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(100);
    loop {
        let error = match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => error,
        };
        for child in children(folder) {
            remove(&child, deadline)?;
        }
        if Instant::now() > deadline {
            return Err(Error::Remove {
                path: folder.to_owned(),
                source: error,
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Whether the cgroup, or the process, is no more.
fn gone(error: &io::Error) -> bool {
    // ENODEV: removed while its file was open.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(19)
}

fn write(path: &Path, value: &str) -> Result<()> {
    let failed = |source| Error::Write {
        value: value.to_owned(),
        path: path.to_owned(),
        source,
    };
    // Never made: a name that is no file of the kernel's is an error.
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
    io::Write::write_all(&mut file, value.as_bytes()).map_err(failed)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str) -> Manager {
        Manager::new(
            Some(&format!("/gantry-unit-{}/{name}", std::process::id())),
            "unused",
        )
        .unwrap()
    }

    fn clean(manager: &Manager) {
        manager.destroy().unwrap();
        for folder in &manager.folders {
            let _ = fs::remove_dir(folder.parent().unwrap());
        }
    }

    #[test]
    fn paths_follow_the_rules() {
        let own = |layout: &Layout| layout.hierarchies[0].mount.join(&layout.hierarchies[0].own);
        let layout = Layout::detect().unwrap();
        let relative = Manager::in_layout(layout.clone(), Some("a/b"), "id").unwrap();
        assert_eq!(relative.folders[0], own(&layout).join("a/b"));
        let absent = Manager::in_layout(layout.clone(), None, "id").unwrap();
        assert_eq!(absent.folders[0], own(&layout).join("id"));
        let absolute = Manager::in_layout(layout.clone(), Some("/a"), "id").unwrap();
        assert_eq!(absolute.folders[0], layout.hierarchies[0].mount.join("a"));
        assert!(matches!(
            Manager::in_layout(layout, Some("/a/../../b"), "id"),
            Err(Error::Path { .. })
        ));
    }

    #[test]
    fn a_process_is_limited_frozen_killed_and_its_cgroup_removed() {
        let manager = manager("life");
        manager.create().unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        manager.add(child.id() as Pid).unwrap();
        assert_eq!(manager.pids().unwrap(), [child.id() as Pid]);
        let json = r#"{"memory":{"limit":67108864},"pids":{"limit":10},"cpu":{"shares":512,"quota":20000,"period":100000}}"#;
        let mut limits: LinuxResources = serde_json::from_str(json).unwrap();
        manager.set(&limits).unwrap();
        if manager.version() == Version::V1 {
            let text =
                fs::read_to_string(manager.folder("memory").unwrap().join("memory.limit_in_bytes")).unwrap();
            assert_eq!(text.trim(), "67108864");
            // Growing both at once needs the other order.
            limits.memory = serde_json::from_str(r#"{"limit":134217728,"swap":134217728}"#).unwrap();
            manager.set(&limits).unwrap();
            limits.memory = serde_json::from_str(r#"{"limit":268435456,"swap":268435456}"#).unwrap();
            manager.set(&limits).unwrap();
        }
        manager.freeze().unwrap();
        assert_eq!(manager.freezer_state().unwrap(), Some(FreezerState::Frozen));
        manager.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        clean(&manager);
        assert!(!manager.exists());
        manager.destroy().unwrap();
    }

    #[test]
    fn a_limit_without_a_controller_is_named() {
        let manager = manager("none");
        let limits: LinuxResources = serde_json::from_str(r#"{"network":{"classID":7}}"#).unwrap();
        let error = manager.set(&limits);
        if manager.version() == Version::V1 && manager.folder("net_cls").is_none() {
            assert!(matches!(error, Err(Error::NoController { .. })));
        }
    }
}
