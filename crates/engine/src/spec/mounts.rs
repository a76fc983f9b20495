//! What is mounted in a container: the file systems that every one has, and the user's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gantry_api_types::container::{Config, HostConfig, MountPoint};
use gantry_errdefs::Error;
use gantry_oci::runtime::Mount;

use super::Facts;
use super::process::INIT;
use crate::record;

fn mount(destination: &str, typ: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        typ: typ.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

/// One `-v`, read: `SOURCE:DESTINATION[:OPTIONS]`. A source without a slash is the name of a volume.
pub(crate) fn parse_bind(text: &str) -> Result<MountPoint, Error> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, destination] => (source, destination, ""),
        [source, destination, mode] => (source, destination, mode),
        _ => return Err(invalid()),
    };
    if !destination.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": invalid mount path: \
             '{destination}' mount path must be absolute"
        )));
    }
    if Path::new(destination).components().count() < 2 {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': destination can't be '/'"
        )));
    }
    let mut point = MountPoint {
        r#type: if source.starts_with('/') { "bind" } else { "volume" }.to_owned(),
        source: if source.starts_with('/') {
            source.to_owned()
        } else {
            String::new()
        },
        name: if source.starts_with('/') {
            String::new()
        } else {
            source.to_owned()
        },
        destination: destination.to_owned(),
        mode: mode.to_owned(),
        rw: true,
        propagation: if source.starts_with('/') { "rprivate" } else { "" }.to_owned(),
        ..MountPoint::default()
    };
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => point.rw = false,
            "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" | "default" => {}
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                option.clone_into(&mut point.propagation)
            }
            _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
        }
    }
    if point.r#type == "volume" && !source.is_empty() {
        let first = source.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !first
            || !source
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        {
            return Err(Error::invalid(format!(
                "create {source}: \"{source}\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
    }
    Ok(point)
}

/// The user's mounts: binds, volumes and tmpfs from all that may name them, by destination.
pub(crate) fn plan(config: &Config, host: &HostConfig, volumes: &Path) -> Result<Vec<MountPoint>, Error> {
    let mut points: BTreeMap<PathBuf, MountPoint> = BTreeMap::new();
    let mut add = |point: MountPoint| {
        let place = PathBuf::from(&point.destination);
        match points.insert(place, point) {
            Some(before) => Err(Error::invalid(format!(
                "Duplicate mount point: {}",
                before.destination
            ))),
            None => Ok(()),
        }
    };
    for text in &host.binds {
        add(parse_bind(text)?)?;
    }
    for wanted in &host.mounts {
        if !wanted.target.starts_with('/') {
            return Err(Error::invalid(format!(
                "invalid mount config for type \"{}\": invalid mount path: '{}' mount path must be absolute",
                wanted.r#type, wanted.target
            )));
        }
        let propagation = wanted
            .bind_options
            .as_ref()
            .map(|bind| bind.propagation.clone())
            .unwrap_or_default();
        let mut point = MountPoint {
            r#type: wanted.r#type.clone(),
            source: wanted.source.clone(),
            destination: wanted.target.clone(),
            rw: !wanted.read_only,
            propagation: if propagation.is_empty() && wanted.r#type == "bind" {
                "rprivate".to_owned()
            } else {
                propagation
            },
            ..MountPoint::default()
        };
        match wanted.r#type.as_str() {
            "bind" if !wanted.source.starts_with('/') => {
                return Err(Error::invalid(format!(
                    "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
                    wanted.source
                )));
            }
            "bind" => {
                if !Path::new(&wanted.source).exists()
                    && !wanted.bind_options.as_ref().is_some_and(|b| b.create_mountpoint)
                {
                    return Err(Error::invalid(format!(
                        "invalid mount config for type \"bind\": bind source path does not exist: {}",
                        wanted.source
                    )));
                }
            }
            "volume" => point.name = std::mem::take(&mut point.source),
            "tmpfs" => {
                let options = wanted.tmpfs_options.as_ref();
                let mut mode = Vec::new();
                if let Some(size) = options.map(|o| o.size_bytes).filter(|size| *size > 0) {
                    mode.push(format!("size={size}"));
                }
                if let Some(bits) = options.map(|o| o.mode).filter(|mode| *mode != 0) {
                    mode.push(format!("mode={bits:o}"));
                }
                point.mode = mode.join(",");
            }
            other => {
                return Err(Error::invalid(format!(
                    "invalid mount config: mount type unknown: {other:?}"
                )));
            }
        }
        add(point)?;
    }
    for (place, options) in &host.tmpfs {
        add(MountPoint {
            r#type: "tmpfs".to_owned(),
            destination: place.clone(),
            mode: options.clone(),
            rw: true,
            ..MountPoint::default()
        })?;
    }
    // Those of the image, but where the user wants something else.
    for place in config.volumes.keys() {
        if !points.contains_key(Path::new(place)) {
            let point = MountPoint {
                r#type: "volume".to_owned(),
                destination: place.clone(),
                rw: true,
                ..MountPoint::default()
            };
            points.insert(PathBuf::from(place), point);
        }
    }
    for point in points.values_mut().filter(|point| point.r#type == "volume") {
        if point.name.is_empty() {
            point.name = crate::names::new_id()?;
        }
        point.driver = "local".to_owned();
        point.source = volumes.join(&point.name).join("_data").display().to_string();
    }
    Ok(points.into_values().collect())
}

/// All mounts, those on the way to others first.
pub(super) fn make(
    record: &record::Container,
    facts: &Facts,
    private_cgroup: bool,
) -> Result<Vec<Mount>, Error> {
    let host = &record.host;
    let (sys, cgroup) = if host.privileged {
        ("rw", "rw")
    } else {
        ("ro", "ro")
    };
    let shm_size = if host.shm_size > 0 {
        host.shm_size
    } else {
        64 << 20
    };
    let _ = private_cgroup;
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", cgroup],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    match host.ipc_mode.as_str() {
        "host" => mounts.push(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate"])),
        _ => {
            let mut shm = mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777"],
            );
            shm.options.push(format!("size={shm_size}"));
            mounts.push(shm);
        }
    }
    let mut user: Vec<Mount> = Vec::new();
    for (place, file) in [
        ("/etc/resolv.conf", "resolv.conf"),
        ("/etc/hostname", "hostname"),
        ("/etc/hosts", "hosts"),
    ] {
        if !record.mounts.iter().any(|point| point.destination == place) {
            let source = facts.folder.join(file).display().to_string();
            user.push(mount(place, "bind", &source, &["rbind", "rprivate"]));
        }
    }
    for point in &record.mounts {
        user.push(match point.r#type.as_str() {
            "tmpfs" => {
                let mut tmpfs = mount(
                    &point.destination,
                    "tmpfs",
                    "tmpfs",
                    &["nosuid", "nodev", "noexec"],
                );
                for option in point.mode.split(',').filter(|option| !option.is_empty()) {
                    tmpfs.options.push(option.to_owned());
                }
                if !point.rw {
                    tmpfs.options.push("ro".to_owned());
                }
                tmpfs
            }
            _ => {
                let propagation = if point.propagation.is_empty() {
                    "rprivate"
                } else {
                    &point.propagation
                };
                let access = if point.rw { "rw" } else { "ro" };
                mount(
                    &point.destination,
                    "bind",
                    &point.source,
                    &["rbind", access, propagation],
                )
            }
        });
    }
    if host.init == Some(true) {
        let program = facts.init.as_deref().unwrap_or_default();
        user.push(mount(INIT, "bind", program, &["bind", "ro"]));
    }
    user.sort_by_key(|mount| Path::new(&mount.destination).components().count());
    // A user's mount on one of ours replaces it.
    mounts.retain(|ours| !user.iter().any(|theirs| theirs.destination == ours.destination));
    mounts.extend(user);
    Ok(mounts)
}
