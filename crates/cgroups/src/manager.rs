//! One container's cgroup in every hierarchy: found, made, entered, limited, removed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::files::remove;
use crate::layout::{Layout, Version};
use crate::systemd::{self, Unit, Wanted};

/// How long a cgroup may be busy after its last process has gone.
const BUSY: Duration = Duration::from_secs(2);

/// Which cgroup a container is to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// `cgroupsPath`: a path, or with `systemd` `SLICE:PREFIX:NAME`. Absent or empty means one of the container's own.
    pub path: Option<&'a str>,
    /// The container's id.
    pub id: &'a str,
    /// Whether systemd is to make it.
    pub systemd: bool,
    /// Whether the caller is an ordinary user: then it is the user's systemd, and a cgroup that was not asked for may fail.
    pub rootless: bool,
    /// The container's annotations, among them properties for systemd.
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

/// The cgroup of one container.
#[derive(Clone, Debug)]
pub struct Manager {
    layout: Layout,
    /// For each hierarchy its folder.
    folders: Vec<PathBuf>,
    /// Its folder in the unified hierarchy beside those of version 1.
    beside: Option<PathBuf>,
    /// systemd's unit that it is.
    unit: Option<Unit>,
    /// That unit, until it is made.
    wanted: Option<Wanted>,
    /// Whether systemd has been made to begin that unit.
    started: Arc<AtomicBool>,
    rootless: bool,
    /// Whether nobody asked for this cgroup, so that one that cannot be made is no loss.
    lenient: bool,
}

impl Manager {
    /// The cgroup that `cgroups_path` names: from the hierarchies' roots if absolute, if not from this process's own cgroup
    /// (with version 2 from the one above, as a cgroup with processes gives no controllers to those below); absent or empty
    /// means `id`. Makes nothing.
    pub fn new(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        Self::named(&Named {
            path: cgroups_path,
            id,
            ..Named::default()
        })
    }

    /// The cgroup that is asked for. Makes nothing.
    pub fn named(named: &Named<'_>) -> Result<Self> {
        let layout = Layout::detect()?;
        let path = named.path.filter(|path| !path.is_empty());
        if !named.systemd {
            let mut manager = Self::in_layout(layout, path, named.id)?;
            manager.rootless = named.rootless;
            manager.lenient = named.rootless && path.is_none();
            return Ok(manager);
        }
        if !systemd::running() {
            return Err(Error::NoSystemd);
        }
        if named.rootless && layout.version == Version::V1 {
            return Err(Error::Invalid(
                "cannot use rootless systemd cgroups manager on cgroup v1".to_owned(),
            ));
        }
        let none = BTreeMap::new();
        let wanted = Wanted::new(path, named.id, named.annotations.unwrap_or(&none), named.rootless)?;
        let mut manager = Self::in_layout(layout, wanted.cgroup()?.to_str(), named.id)?;
        manager.unit = Some(wanted.unit.clone());
        manager.wanted = Some(wanted);
        manager.rootless = named.rootless;
        Ok(manager)
    }

    pub(crate) fn in_layout(layout: Layout, cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
        let path = Path::new(given);
        let inner = inner(given)?;
        let from = |own: &Path| match layout.version {
            Version::V1 => own.to_owned(),
            Version::V2 => own.parent().unwrap_or(own).to_owned(),
        };
        let folder = |hierarchy: &crate::Hierarchy| match path.is_absolute() {
            true => hierarchy.mount.join(&inner),
            false => hierarchy.mount.join(from(&hierarchy.own)).join(&inner),
        };
        let folders = layout.hierarchies.iter().map(folder).collect();
        let beside = layout.beside.as_ref().map(folder);
        Ok(Self {
            layout,
            folders,
            beside,
            unit: None,
            wanted: None,
            started: Arc::default(),
            rootless: false,
            lenient: false,
        })
    }

    /// The cgroup whose [`Manager::paths`] were kept, and its unit if it is systemd's: wherever this process is now.
    pub fn restore(paths: &[(String, PathBuf)], unit: Option<Unit>) -> Result<Self> {
        let layout = Layout::detect()?;
        let folder = |name: &str| {
            let mut found = paths.iter().filter(|(controller, _)| controller == name);
            found.next().map(|(_, folder)| folder.clone())
        };
        // A record may be older than the machine's unified hierarchy, or than our use of it.
        let beside = layout.beside.as_ref().and(folder(""));
        let mut kept = Self {
            folders: Vec::new(),
            layout: Layout {
                version: layout.version,
                hierarchies: Vec::new(),
                beside: layout.beside,
            },
            beside,
            unit,
            wanted: None,
            started: Arc::default(),
            rootless: false,
            lenient: false,
        };
        for hierarchy in layout.hierarchies {
            if let Some(folder) = folder(first(&hierarchy)) {
                kept.folders.push(folder);
                kept.layout.hierarchies.push(hierarchy);
            }
        }
        Ok(kept)
    }

    /// systemd's unit, if it is one.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    pub(crate) fn started(&self) -> &AtomicBool {
        &self.started
    }

    /// Whether what has this name is the container's. Names of units are for the whole machine: one that systemd did not
    /// begin for us is somebody else's.
    pub fn is_ours(&self) -> bool {
        self.wanted.is_none() || self.started.load(Ordering::Relaxed)
    }

    pub(crate) fn rootless(&self) -> bool {
        self.rootless
    }

    pub(crate) fn lenient(&self) -> bool {
        self.lenient
    }

    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The unified hierarchy beside those of version 1, and the folder in it.
    pub(crate) fn beside(&self) -> Option<(&crate::Hierarchy, &Path)> {
        self.layout.beside.as_ref().zip(self.beside.as_deref())
    }

    /// Which rules hold.
    pub fn version(&self) -> Version {
        self.layout.version
    }

    /// The hierarchies and this container's folder in each, but for a unified one beside those of version 1.
    pub fn hierarchies(&self) -> impl Iterator<Item = (&crate::Hierarchy, &Path)> {
        self.layout
            .hierarchies
            .iter()
            .zip(self.folders.iter().map(PathBuf::as_path))
    }

    /// Controller and folder, for whoever keeps them: the unified hierarchy's controller is the empty text.
    pub fn paths(&self) -> Vec<(String, PathBuf)> {
        self.hierarchies()
            .chain(self.beside())
            .filter(|(_, folder)| !self.lenient || folder.is_dir())
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
        self.folders
            .iter()
            .chain(&self.beside)
            .any(|folder| folder.is_dir())
    }

    /// Removes the cgroup and those below it. One that is gone is no error; every other is told of, after all were tried.
    pub fn destroy(&self) -> Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let mut first = None;
        if let Some(unit) = &self.unit
            && let Err(error) = unit.stop()
        {
            first.get_or_insert(error);
        }
        let deadline = Instant::now() + BUSY;
        for folder in self.folders.iter().chain(&self.beside) {
            if let Err(error) = remove(folder, deadline) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// One line that [`Manager::recall`] understands, for whoever has to note what is about to be made.
    pub fn note(&self) -> String {
        let inner = |hierarchy: &crate::Hierarchy, folder: &Path| {
            let inner = folder.strip_prefix(&hierarchy.mount).unwrap_or(folder);
            format!("/{}", inner.display())
        };
        let everywhere = || self.hierarchies().chain(self.beside());
        let mut all: Vec<String> = everywhere().map(|(one, folder)| inner(one, folder)).collect();
        if all.windows(2).any(|two| two[0] != two[1]) {
            // From this process's own cgroups, which are not the same everywhere. No name of a cgroup has such a character.
            let lines = everywhere().zip(&all);
            return lines
                .map(|((one, _), inner)| format!("\n{}{inner}", first(one)))
                .collect();
        }
        let folder = all.pop().unwrap_or_default();
        match &self.unit {
            Some(unit) if unit.user => format!("user:{}:{folder}", unit.name),
            Some(unit) => format!("system:{}:{folder}", unit.name),
            None => folder,
        }
    }

    /// The cgroup of a [`Manager::note`].
    pub fn recall(note: &str) -> Result<Self> {
        if note.starts_with('\n') {
            let mut manager = Self::in_layout(Layout::detect()?, Some("/"), "")?;
            let noted = |hierarchy: &crate::Hierarchy| {
                let mut lines = note.lines().filter_map(|line| line.split_once('/'));
                lines.find_map(|(name, path)| (name == first(hierarchy)).then_some(path))
            };
            let mut kept = Vec::new();
            manager.folders.clear();
            for hierarchy in manager.layout.hierarchies {
                if let Some(path) = noted(&hierarchy) {
                    manager.folders.push(hierarchy.mount.join(inner(path)?));
                    kept.push(hierarchy);
                }
            }
            manager.layout.hierarchies = kept;
            manager.beside = match &manager.layout.beside {
                Some(hierarchy) => noted(hierarchy)
                    .map(inner)
                    .transpose()?
                    .map(|path| hierarchy.mount.join(path)),
                None => None,
            };
            return Ok(manager);
        }
        let (unit, folder) = match note.splitn(3, ':').collect::<Vec<_>>()[..] {
            [whose @ ("user" | "system"), name, folder] => {
                let unit = Unit {
                    name: name.to_owned(),
                    user: whose == "user",
                };
                (Some(unit), folder)
            }
            _ => (None, note),
        };
        let mut manager = Self::in_layout(Layout::detect()?, Some(folder), "")?;
        manager.unit = unit;
        Ok(manager)
    }
}

/// What a hierarchy is known by: its first controller.
fn first(hierarchy: &crate::Hierarchy) -> &str {
    hierarchy.controllers.first().map_or("", String::as_str)
}

/// A path as given, without its root and its empty and `.` parts.
pub(crate) fn inner(given: &str) -> Result<PathBuf> {
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

#[cfg(test)]
mod tests;
