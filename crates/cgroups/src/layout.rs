//! Which hierarchies this machine has, and where this process is in them. Reads `/proc` once.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Which rules a machine's cgroups follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller, perhaps with a unified one beside them (hybrid).
    V1,
    /// One unified hierarchy with all controllers.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers; for a named hierarchy `name=…`; empty for that of version 2.
    pub controllers: Vec<String>,
    /// Where its root is mounted.
    pub mount: PathBuf,
    /// Where this process is in it, from that root.
    pub own: PathBuf,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which rules hold.
    pub version: Version,
    /// In the kernel's order. With version 1 those of controllers and names only.
    pub hierarchies: Vec<Hierarchy>,
    /// With version 1 the unified one beside them, if the machine is hybrid. No limit is set there.
    pub beside: Option<Hierarchy>,
}

impl Layout {
    /// That of this process.
    pub fn detect() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(Error::Find)?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(Error::Find)?;
        Self::parse(&mounts, &own)
    }

    fn parse(mounts: &str, own: &str) -> Result<Self> {
        let mounted = mounted(mounts);
        let mut hierarchies = Vec::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let controllers: Vec<String> = names
                .split(',')
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect();
            let found = mounted.iter().find(|mount| match controllers.is_empty() {
                true => mount.unified,
                false => !mount.unified && controllers.iter().all(|c| mount.options.contains(c)),
            });
            if let Some(mount) = found {
                // Seen from inside a container the mount's root is our own cgroup.
                let own = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
                hierarchies.push(Hierarchy {
                    controllers,
                    mount: mount.point.clone(),
                    own: own.to_owned(),
                });
            }
        }
        let version = match hierarchies
            .iter()
            .any(|hierarchy| !hierarchy.controllers.is_empty())
        {
            true => Version::V1,
            false => Version::V2,
        };
        let mut beside = None;
        if version == Version::V1 {
            let unified = |hierarchy: &Hierarchy| hierarchy.controllers.is_empty();
            beside = hierarchies
                .iter()
                .position(unified)
                .map(|at| hierarchies.remove(at));
        }
        match hierarchies.is_empty() {
            true => Err(Error::None),
            false => Ok(Self {
                version,
                hierarchies,
                beside,
            }),
        }
    }

    /// The hierarchy of a controller.
    pub fn of(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }
}

struct Mounted {
    unified: bool,
    point: PathBuf,
    root: PathBuf,
    options: Vec<String>,
}

fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
    // What was mounted over another mount at the same place has that one for its parent, and hides it.
    let all: Vec<(&str, &str)> = mountinfo.lines().filter_map(beneath).collect();
    let hidden = |id: &str, at: &str| all.iter().any(|(parent, point)| *parent == id && *point == at);
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut right = right.split(' ');
        let unified = match right.next() {
            Some("cgroup") => false,
            Some("cgroup2") => true,
            _ => continue,
        };
        let left: Vec<&str> = left.split(' ').collect();
        let (Some(id), Some(root), Some(point)) = (left.first(), left.get(3), left.get(4)) else {
            continue;
        };
        // A mount somewhere else, such as in a container's root file system, is not ours to use.
        if !point.starts_with("/sys/fs/cgroup") || hidden(id, point) {
            continue;
        }
        let options = right
            .nth(1)
            .unwrap_or_default()
            .split(',')
            .map(str::to_owned)
            .collect();
        found.push(Mounted {
            unified,
            point: PathBuf::from(point),
            root: PathBuf::from(root),
            options,
        });
    }
    found
}

/// The mount that a mount is in, and where, if that is among the cgroups.
fn beneath(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split(' ').skip(1);
    let (parent, point) = (fields.next()?, fields.nth(2)?);
    point.starts_with("/sys/fs/cgroup").then_some((parent, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_hierarchies_with_a_unified_one_beside_them_are_version_1() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            34 30 0:27 / /var/lib/x/rootfs/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let own = "3:name=systemd:/\n2:cpu,cpuacct:/user/a\n0::/b\n1:memory:/not/mounted\n";
        let layout = Layout::parse(mounts, own).unwrap();
        assert_eq!(layout.version, Version::V1);
        assert_eq!(layout.hierarchies.len(), 2);
        let cpu = layout.of("cpuacct").unwrap();
        assert_eq!(
            (cpu.mount.as_path(), cpu.own.as_path()),
            (Path::new("/sys/fs/cgroup/cpu"), Path::new("user/a"))
        );
        assert!(layout.of("memory").is_none());
        let beside = layout.beside.unwrap();
        assert_eq!(beside.mount, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(beside.own, Path::new("b"));
    }

    #[test]
    fn a_hierarchy_that_is_covered_is_none() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            34 33 0:40 / /sys/fs/cgroup/unified rw - tmpfs cover rw\n";
        let layout = Layout::parse(mounts, "1:cpu:/\n0::/b\n").unwrap();
        assert_eq!((layout.hierarchies.len(), layout.beside), (1, None));
    }

    #[test]
    fn one_unified_hierarchy_is_version_2() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = Layout::parse(mounts, "0::/user.slice\n").unwrap();
        assert_eq!(layout.version, Version::V2);
        assert_eq!(layout.hierarchies[0].own, Path::new("user.slice"));
        assert_eq!(layout.beside, None);
        assert!(matches!(Layout::parse("", "0::/\n"), Err(Error::None)));
    }
}
