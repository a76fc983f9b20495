//! Sets limits: the translation's writes applied in their order, what refuses tried again, told of in runc's words.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gantry_oci::runtime::{LinuxDeviceCgroup, LinuxMemory, LinuxResources};

use crate::device_bpf;
use crate::error::{Error, Result};
use crate::files::{gone, open, read};
use crate::layout::Version;
use crate::manager::Manager;
use crate::systemd::properties;
use crate::translate::{Refused, Write, devices, v1, v2};

impl Manager {
    /// Sets limits; what is not named stays as it is.
    pub fn set(&self, resources: &LinuxResources) -> Result<()> {
        self.check_memory(resources.memory.as_ref())?;
        let resources = self.complete(resources);
        if let Some(unit) = self.unit() {
            unit.set(&resources, self.version())?;
        }
        self.write_files(&resources)
    }

    /// Sets the limits of a cgroup that [`Manager::create_for`] has just made with the same ones: systemd knows them.
    pub fn set_first(&self, resources: &LinuxResources) -> Result<()> {
        self.check_memory(resources.memory.as_ref())?;
        self.write_files(resources)
    }

    /// What of these limits has to be left out, as a warning.
    pub fn ignored(&self, resources: &LinuxResources) -> Option<&'static str> {
        let unit = self.unit().filter(|_| self.version() == Version::V2)?;
        unit.ignored(resources)
    }

    fn write_files(&self, resources: &LinuxResources) -> Result<()> {
        let resources = match self.unit() {
            Some(_) => Cow::Owned(properties::rounded(resources)),
            None => Cow::Borrowed(resources),
        };
        let writes = match self.version() {
            Version::V1 => v1::resources(&resources),
            Version::V2 => v2::resources(&resources),
        };
        self.apply(&writes.map_err(Error::Invalid)?)
    }

    /// Quota and period are one value to version 2 and to systemd: the one that is not given stays what it is.
    fn complete<'a>(&self, resources: &'a LinuxResources) -> Cow<'a, LinuxResources> {
        let Some(cpu) = &resources.cpu else {
            return Cow::Borrowed(resources);
        };
        let given = (
            cpu.quota.is_some_and(|v| v != 0),
            cpu.period.is_some_and(|v| v != 0),
        );
        let folder = match (given, self.version()) {
            ((true, false) | (false, true), Version::V2) => self.folder("cpu"),
            ((true, false) | (false, true), Version::V1) if self.unit().is_some() => self.folder("cpu"),
            _ => None,
        };
        let Some(folder) = folder else {
            return Cow::Borrowed(resources);
        };
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let now = match self.version() {
            Version::V2 => text("cpu.max"),
            Version::V1 => format!(
                "{} {}",
                text("cpu.cfs_quota_us").trim(),
                text("cpu.cfs_period_us").trim()
            ),
        };
        let mut fields = now.split_whitespace();
        let quota = fields.next().map(|quota| quota.parse().unwrap_or(-1));
        let period = fields.next().and_then(|period| period.parse().ok());
        let mut whole = resources.clone();
        if let Some(cpu) = &mut whole.cpu {
            match given {
                (true, _) => cpu.period = period,
                _ => cpu.quota = quota,
            }
        }
        Cow::Owned(whole)
    }

    /// What the caller wanted to be refused rather than to have processes killed.
    fn check_memory(&self, memory: Option<&LinuxMemory>) -> Result<()> {
        let Some(memory) = memory.filter(|memory| memory.check_before_update == Some(true)) else {
            return Ok(());
        };
        let (Version::V2, Some(folder)) = (self.version(), self.folder("memory")) else {
            return Ok(());
        };
        let now = fs::read_to_string(folder.join("memory.current")).unwrap_or_default();
        let Ok(usage) = now.trim().parse::<i64>() else {
            return Ok(());
        };
        for (limit, what) in [(memory.swap, "memory+swap"), (memory.limit, "memory")] {
            if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= usage) {
                return Err(Error::Invalid(format!(
                    "rejecting {what} limit {limit} <= usage {usage}"
                )));
            }
        }
        Ok(())
    }

    /// Sets which devices may be used: the rules replace those that were there. None at all is none to set.
    pub fn set_devices(&self, resources: &LinuxResources) -> Result<()> {
        if resources.devices.is_empty() {
            return Ok(());
        }
        let set = match (self.version(), self.folders().first()) {
            // Within a user namespace the kernel lets nobody change them.
            (Version::V1, _) if in_user_namespace() => Ok(()),
            (Version::V1, _) => self.apply(&v1::devices(&resources.devices)),
            (Version::V2, Some(folder)) => {
                let failed = |source| Error::Devices {
                    path: folder.clone(),
                    source,
                };
                let program = devices::program(&resources.devices).map_err(Error::Invalid)?;
                match device_bpf::attach(folder, program.as_deref()) {
                    Err(_) if in_user_namespace() || !forbids(&resources.devices) => Ok(()),
                    other => other.map_err(failed),
                }
            }
            (Version::V2, None) => Ok(()),
        };
        match set {
            // An ordinary user cannot have them, nor make device nodes.
            Err(error) if self.rootless() && !matches!(error, Error::Invalid(_)) => Ok(()),
            other => other,
        }
    }

    fn apply(&self, writes: &[Write]) -> Result<()> {
        let mut later: Vec<&Write> = Vec::new();
        // The rules of devices are many lines for one file: it stays open for those that follow.
        let mut last: Option<(PathBuf, fs::File)> = None;
        for write in writes {
            let Some(folder) = self
                .folder(write.controller)
                .filter(|folder| !self.lenient() || folder.is_dir())
            else {
                if matches!(write.refused, Refused::Missing | Refused::MissingOrLater) {
                    continue;
                }
                return Err(self.no_controller(write));
            };
            match put(folder, write, &mut last) {
                Ok(()) => {}
                Err(Error::Open { source, .. })
                    if gone(&source)
                        && matches!(write.refused, Refused::Missing | Refused::MissingOrLater) => {}
                Err(Error::Write { source, .. })
                    if source.raw_os_error() == Some(libc::EINVAL)
                        && matches!(write.refused, Refused::Later | Refused::MissingOrLater) =>
                {
                    later.push(write);
                    continue;
                }
                Err(error) => return Err(self.explain(folder, write, error)),
            }
            if write.file == v1::CPU_SHARES {
                check_shares(folder, &write.value)?;
            }
            // What could not be until now may be now; what still cannot waits on.
            later.retain(|late| late.controller != write.controller || put(folder, late, &mut None).is_err());
        }
        for late in later {
            if let Some(folder) = self.folder(late.controller) {
                put(folder, late, &mut None).map_err(|error| self.explain(folder, late, error))?;
            }
        }
        Ok(())
    }

    fn no_controller(&self, write: &Write) -> Error {
        let controller = match write.controller {
            "" => write.file.split('.').next().unwrap_or_default(),
            name => name,
        };
        Error::NoController {
            controller: controller.to_owned(),
        }
    }

    /// What a refusal means, where the kernel's word for it says little.
    fn explain(&self, folder: &Path, write: &Write, error: Error) -> Error {
        let number = |file: &str| read(&folder.join(file)).unwrap_or_default().trim().to_owned();
        let errno = match &error {
            Error::Write { source, .. } | Error::Open { source, .. } => source.raw_os_error(),
            _ => return error,
        };
        if errno == Some(libc::EBUSY) && write.file == v1::MEMORY_LIMIT {
            return Error::Invalid(format!(
                "unable to set memory limit to {} (current usage: {}, peak usage: {})",
                write.value,
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes")
            ));
        }
        if self.version() == Version::V1 {
            return error;
        }
        let controllers = number("cgroup.controllers");
        let has = |name: &str| controllers.split(' ').any(|controller| controller == name);
        let unable = matches!(errno, Some(libc::ENOENT | libc::EPERM | libc::EACCES));
        match write.controller {
            "" => {
                let controller = write.file.split('.').next().unwrap_or_default();
                match unable && controller != "cgroup" && !has(controller) {
                    true => Error::Invalid(format!(
                        "unified resource {:?} can't be set: controller {controller:?} not available",
                        write.file
                    )),
                    false => Error::Unified {
                        file: write.file.clone(),
                        source: Box::new(error),
                    },
                }
            }
            controller if unable && !has(controller) => self.no_controller(write),
            _ => error,
        }
    }
}

/// Writes one value into its file, or into the one that stands for it. A file that is open already is used.
fn put(folder: &Path, write: &Write, last: &mut Option<(PathBuf, fs::File)>) -> Result<()> {
    let path = folder.join(&write.file);
    let file = match last.take() {
        Some((open, file)) if open == path => Ok(file),
        _ => open(&path),
    };
    let (path, value, mut file) = match (file, &write.instead) {
        (Err(Error::Open { source, .. }), Some((name, value))) if gone(&source) => {
            let path = folder.join(name);
            let file = open(&path)?;
            (path, value, file)
        }
        (file, _) => (path, &write.value, file?),
    };
    match file.write_all(value.as_bytes()) {
        Ok(()) => {
            *last = Some((path, file));
            Ok(())
        }
        Err(source) => Err(Error::Write {
            value: value.clone(),
            path,
            source,
        }),
    }
}

/// The kernel keeps shares within its range and says nothing.
fn check_shares(folder: &Path, wanted: &str) -> Result<()> {
    let kept = read(&folder.join(v1::CPU_SHARES))?;
    let (Ok(wanted), Ok(kept)) = (wanted.parse::<u64>(), kept.trim().parse::<u64>()) else {
        return Ok(());
    };
    match wanted.cmp(&kept) {
        std::cmp::Ordering::Greater => Err(Error::Invalid(format!(
            "the maximum allowed cpu-shares is {kept}"
        ))),
        std::cmp::Ordering::Less => Err(Error::Invalid(format!(
            "the minimum allowed cpu-shares is {kept}"
        ))),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// Whether rules take anything away that would be there without them.
fn forbids(rules: &[LinuxDeviceCgroup]) -> bool {
    let all = |access: &str| access.is_empty() || "rwm".chars().all(|letter| access.contains(letter));
    rules.iter().any(|rule| !rule.allow || !all(&rule.access))
}

/// Whether the caller is an ordinary user to cgroups: also as the root of a user namespace, whose rights nobody can tell.
pub fn rootless() -> bool {
    gantry_sys::process::euid() != 0 || in_user_namespace()
}

/// Whether our ids are not the machine's.
fn in_user_namespace() -> bool {
    let map: io::Result<String> = fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests;
