//! Makes a cgroup's folders, so that processes and limits may come in, and hands them to whom they are for.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;

use gantry_oci::runtime::LinuxResources;
use gantry_sys::process::Pid;

use crate::entrance::denied;
use crate::error::{Error, Result};
use crate::files::{make, place, read, write};
use crate::layout::Version;
use crate::manager::Manager;
use crate::translate::v2;

/// What the kernel lists in `/sys/kernel/cgroup/delegate`, where it does not list it.
const DELEGATE: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Manager {
    /// Makes the cgroup in every hierarchy, by way of systemd if it is systemd's: then with the process in it. What is
    /// there already is used.
    pub fn create_for(&self, pid: Pid, resources: &LinuxResources) -> Result<()> {
        if let Some(wanted) = self.wanted() {
            wanted.start(pid, resources, self.version(), self.started())?;
        }
        for (hierarchy, folder) in self.hierarchies() {
            let made = match self.version() {
                Version::V1 => make_v1(hierarchy, folder),
                Version::V2 => make_v2(&hierarchy.mount, folder, resources),
            };
            match made {
                Err(error) if self.lenient() && denied(&error) => self.forgive(resources, error)?,
                other => other?,
            }
        }
        if let Some((hierarchy, folder)) = self.beside() {
            match make(&hierarchy.mount, folder) {
                Err(error) if self.lenient() && denied(&error) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Where a process may be born into the unified hierarchy beside those of version 1 (`CLONE_INTO_CGROUP`), whose cgroup
    /// is made for this before all others. None where there is no such hierarchy, or systemd makes its cgroups, or it
    /// cannot be: then `create` says why, and the process comes in as it does elsewhere.
    pub fn birthplace(&self) -> Option<OwnedFd> {
        let (hierarchy, folder) = self.beside().filter(|_| self.unit().is_none())?;
        make(&hierarchy.mount, folder).ok()?;
        place(folder).ok()
    }

    /// Makes the cgroup in every hierarchy, for whatever will come.
    pub fn create(&self) -> Result<()> {
        self.create_for(0, &LinuxResources::default())
    }

    /// A user who asked for nothing does without a cgroup that cannot be made; a limit needs one.
    fn forgive(&self, resources: &LinuxResources, error: Error) -> Result<()> {
        if self.version() == Version::V2 && v2::needs_controllers(resources) {
            return Err(Error::Rootless(Box::new(error)));
        }
        Ok(())
    }

    /// Gives a cgroup of version 2 to a user, to have cgroups of its own below: the folder, and the files that the kernel
    /// names for this.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let (Version::V2, Some(folder)) = (self.version(), self.folders().first()) else {
            return Ok(());
        };
        let give = |path: &Path| match chown(path, Some(uid), None) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Delegate {
                path: path.to_owned(),
                source,
            }),
            _ => Ok(()),
        };
        give(folder)?;
        let names = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATE.to_owned());
        names.lines().try_for_each(|name| give(&folder.join(name)))
    }
}

fn make_v1(hierarchy: &crate::Hierarchy, folder: &Path) -> Result<()> {
    make(&hierarchy.mount, folder)?;
    if hierarchy.controllers.iter().any(|name| name == "cpuset") {
        fill_cpusets(&hierarchy.mount, folder)?;
    }
    Ok(())
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

fn make_v2(mount: &Path, folder: &Path, resources: &LinuxResources) -> Result<()> {
    make(mount, folder)?;
    enable_controllers(mount, folder);
    let kind = fs::read_to_string(folder.join("cgroup.type")).unwrap_or_default();
    let domain = v2::needs_domain(resources);
    let refuse = |state: &str| {
        Err(Error::Invalid(format!(
            "cannot enter cgroupv2 {:?} with domain controllers -- it is in {state}",
            folder.display().to_string()
        )))
    };
    match kind.trim() {
        // Somebody's processes are in a cgroup above. Threads may be with them, and have what knows of threads.
        "domain invalid" if domain => refuse("an invalid state"),
        "domain invalid" => {
            let _ = fs::write(folder.join("cgroup.type"), "threaded");
            Ok(())
        }
        kind @ ("domain threaded" | "threaded") if domain => refuse(&format!("{kind} mode")),
        _ => Ok(()),
    }
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
        let missing: Vec<String> = available
            .split_whitespace()
            .filter(|controller| !enabled.split_whitespace().any(|name| name == *controller))
            .map(|controller| format!("+{controller}"))
            .collect();
        let control = at.join("cgroup.subtree_control");
        if !missing.is_empty() && fs::write(&control, missing.join(" ")).is_err() {
            // All or nothing failed: then as many as can be.
            for one in &missing {
                let _ = fs::write(&control, one);
            }
        }
    }
}
