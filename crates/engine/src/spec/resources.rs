//! Limits and devices.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use gantry_api_types::container::{DeviceMapping, HostConfig};
use gantry_errdefs::Error;
use gantry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDevice, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources,
};

/// The limits, without a word on devices: what can be changed while a container runs.
pub(crate) fn limits(host: &HostConfig) -> LinuxResources {
    let set = |value: i64| (value != 0).then_some(value);
    let unsigned = |value: i64| u64::try_from(value).ok().filter(|value| *value != 0);
    let (quota, period) = match host.nano_cpus {
        0 => (set(host.cpu_quota), unsigned(host.cpu_period)),
        nano => (Some(nano / 10_000), Some(100_000)),
    };
    // Without a word on swap as much of it as of memory may be used.
    let swap = match (host.memory, host.memory_swap) {
        (0, swap) => set(swap),
        (memory, 0) => Some(memory.saturating_mul(2)),
        (_, swap) => Some(swap),
    };
    let memory = LinuxMemory {
        limit: set(host.memory),
        reservation: set(host.memory_reservation),
        swap,
        swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: host.oom_kill_disable.filter(|disable| *disable),
        ..LinuxMemory::default()
    };
    let cpu = LinuxCpu {
        shares: unsigned(host.cpu_shares),
        quota,
        period,
        realtime_period: unsigned(host.cpu_realtime_period),
        realtime_runtime: set(host.cpu_realtime_runtime),
        cpus: host.cpuset_cpus.clone(),
        mems: host.cpuset_mems.clone(),
        ..LinuxCpu::default()
    };
    LinuxResources {
        memory: (memory != LinuxMemory::default()).then_some(memory),
        cpu: (cpu != LinuxCpu::default()).then_some(cpu),
        pids: host
            .pids_limit
            .filter(|limit| *limit != 0)
            .map(|limit| LinuxPids { limit: Some(limit) }),
        block_io: (host.blkio_weight != 0).then(|| LinuxBlockIo {
            weight: Some(host.blkio_weight),
            ..LinuxBlockIo::default()
        }),
        ..LinuxResources::default()
    }
}

/// The limits and the rules on devices.
pub(super) fn make(host: &HostConfig) -> Result<LinuxResources, Error> {
    let mut rules = vec![LinuxDeviceCgroup {
        allow: host.privileged,
        access: "rwm".to_owned(),
        ..Default::default()
    }];
    if !host.privileged {
        for mapping in &host.devices {
            let access = if mapping.cgroup_permissions.is_empty() {
                "rwm"
            } else {
                &mapping.cgroup_permissions
            };
            for device in mapped(mapping)? {
                rules.push(LinuxDeviceCgroup {
                    allow: true,
                    typ: device.typ,
                    major: Some(device.major),
                    minor: Some(device.minor),
                    access: access.to_owned(),
                });
            }
        }
    }
    for rule in &host.device_cgroup_rules {
        rules.push(device_rule(rule)?);
    }
    Ok(LinuxResources {
        devices: rules,
        ..limits(host)
    })
}

/// One `--device-cgroup-rule`: `c 1:3 rwm`, with `*` for any number.
fn device_rule(text: &str) -> Result<LinuxDeviceCgroup, Error> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split(' ').collect();
    let [typ @ ("a" | "b" | "c"), numbers, access] = words[..] else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(Some(-1)),
        digits => digits
            .parse::<u32>()
            .map(|number| Some(i64::from(number)))
            .map_err(|_| invalid()),
    };
    if access.is_empty() || access.len() > 3 || !access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm')) {
        return Err(invalid());
    }
    Ok(LinuxDeviceCgroup {
        allow: true,
        typ: typ.to_owned(),
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

/// The device nodes beside those that every container has.
pub(super) fn devices(host: &HostConfig, all: &[LinuxDevice]) -> Result<Vec<LinuxDevice>, Error> {
    if host.privileged {
        return Ok(all.to_vec());
    }
    let mut devices = Vec::new();
    for mapping in &host.devices {
        devices.extend(mapped(mapping)?);
    }
    Ok(devices)
}

fn mapped(mapping: &DeviceMapping) -> Result<Vec<LinuxDevice>, Error> {
    let target = if mapping.path_in_container.is_empty() {
        &mapping.path_on_host
    } else {
        &mapping.path_in_container
    };
    let unusable = |why: String| {
        Error::invalid(format!(
            "error gathering device information while adding custom device {:?}: {why}",
            mapping.path_on_host
        ))
    };
    let metadata = std::fs::metadata(&mapping.path_on_host).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unusable("no such file or directory".to_owned()),
        _ => unusable(error.to_string()),
    })?;
    let device = describe(target, &metadata).ok_or_else(|| unusable("not a device node".to_owned()))?;
    Ok(vec![device])
}

/// A device node as the specification has it; none for what is no device.
pub(crate) fn describe(path: &str, metadata: &std::fs::Metadata) -> Option<LinuxDevice> {
    let kind = metadata.file_type();
    let typ = if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else {
        return None;
    };
    let number = metadata.rdev();
    Some(LinuxDevice {
        path: path.to_owned(),
        typ: typ.to_owned(),
        major: i64::from(rustix::fs::major(number)),
        minor: i64::from(rustix::fs::minor(number)),
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    })
}
