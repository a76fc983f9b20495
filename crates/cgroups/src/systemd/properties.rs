//! Limits of the runtime specification as properties of a unit. Pure. What systemd has no property for is written to the
//! kernel's files afterwards, as are all the others once more: then both agree.

use std::collections::BTreeMap;

use gantry_oci::runtime::{LinuxCpu, LinuxDeviceCgroup, LinuxResources};

use super::marshal::Value;
use crate::layout::Version;
use crate::translate::devices::{CHARACTER, Policy};
use crate::translate::v2;

/// A name and its value.
pub(crate) type Property = (String, Value);

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;

/// The kernel's period of a quota in microseconds, when none was given.
const PERIOD: u64 = 100_000;

fn property(name: &str, value: Value) -> Property {
    (name.to_owned(), value)
}

fn number(name: &str, value: u64) -> Property {
    property(name, Value::Uint64(value))
}

/// A limit in which -1 is none.
fn limit(name: &str, value: i64) -> Property {
    number(name, u64::try_from(value).unwrap_or(INFINITY))
}

/// The limits that systemd can keep, for a systemd of `version` (of which those before 242 know less).
pub(crate) fn limits(
    resources: &LinuxResources,
    cgroup: Version,
    version: u32,
) -> Result<Vec<Property>, String> {
    let mut all = Vec::new();
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(memory) = &resources.memory {
        match cgroup {
            Version::V1 => all.extend(set(memory.limit).map(|value| limit("MemoryLimit", value))),
            Version::V2 => {
                all.extend(set(memory.limit).map(|value| limit("MemoryMax", value)));
                all.extend(set(memory.reservation).map(|value| limit("MemoryLow", value)));
                let swap = v2::swap(memory)?;
                // Disabled swap is zero, which systemd takes as such.
                all.extend(swap.map(|value| limit("MemorySwapMax", value)));
            }
        }
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, cgroup, version, &mut all)?;
    }
    if let Some(most) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        // systemd takes no zero.
        all.push(limit("TasksMax", if most == 0 { 1 } else { most }));
    }
    if cgroup == Version::V1 {
        let weight = resources
            .block_io
            .as_ref()
            .and_then(|io| io.weight)
            .filter(|weight| *weight != 0);
        all.extend(weight.map(|weight| number("BlockIOWeight", weight.into())));
    }
    if cgroup == Version::V2 {
        unified(&resources.unified, version, &mut all)?;
    }
    Ok(all)
}

/// What systemd is not told of these limits, in runc's words: who is idle has no weight.
pub(crate) fn ignored(resources: &LinuxResources, version: u32) -> Option<&'static str> {
    let files = &resources.unified;
    let idle = |file: &str| files.get(file).is_some_and(|value| value.trim() == "1");
    let cpu = resources.cpu.as_ref();
    match version {
        ..252 => None,
        _ if idle("cpu.idle") && files.contains_key("cpu.weight") => {
            Some("unable to apply both cpu.weight and cpu.idle to systemd, ignoring cpu.weight")
        }
        _ if cpu.is_some_and(|cpu| cpu.idle == Some(1) && cpu.shares.is_some_and(|shares| shares != 0)) => {
            Some("unable to apply both CPUWeight and CpuIdle to systemd, ignoring CPUWeight")
        }
        _ => None,
    }
}

fn cpu(cpu: &LinuxCpu, cgroup: Version, version: u32, all: &mut Vec<Property>) -> Result<(), String> {
    let shares = cpu.shares.filter(|shares| *shares != 0);
    let idle = cgroup == Version::V2 && cpu.idle == Some(1) && version >= 252;
    match cgroup {
        Version::V1 => all.extend(shares.map(|shares| number("CPUShares", shares))),
        // A weight of zero is systemd's word for idle.
        Version::V2 if idle => all.push(number("CPUWeight", 0)),
        Version::V2 => all.extend(shares.map(|shares| number("CPUWeight", v2::weight(shares)))),
    }
    quota(
        cpu.quota.unwrap_or_default(),
        cpu.period.unwrap_or_default(),
        version,
        all,
    );
    for (name, text) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
        if !text.is_empty() && version >= 244 {
            let kind = if name == "AllowedCPUs" { "Cpus" } else { "Mems" };
            let bits = bits(text)
                .map_err(|error| format!("resources.CPU.{kind}={text:?} conversion error: {error}"))?;
            all.push(property(name, Value::bytes(&bits)));
        }
    }
    Ok(())
}

/// A quota as microseconds for each second; systemd keeps whole percents, so that it is rounded up.
fn quota(quota: i64, period: u64, version: u32, all: &mut Vec<Property>) {
    if period != 0 && version >= 242 {
        all.push(number("CPUQuotaPeriodUSec", period));
    }
    if quota != 0 || period != 0 {
        let value = match u64::try_from(quota) {
            Ok(quota) if quota > 0 => {
                let period = if period == 0 { PERIOD } else { period };
                let each = u128::from(quota) * 1_000_000 / u128::from(period);
                u64::try_from(each.next_multiple_of(10_000)).unwrap_or(INFINITY)
            }
            _ => INFINITY,
        };
        all.push(number("CPUQuotaPerSecUSec", value));
    }
}

/// The quota that the kernel's file is given: what systemd makes of it, so that it is the same whoever wrote last.
pub(crate) fn rounded(resources: &LinuxResources) -> LinuxResources {
    let mut resources = resources.clone();
    if let Some(cpu) = &mut resources.cpu
        && let Some(quota) = cpu.quota.filter(|quota| *quota > 0)
    {
        let period = i128::from(cpu.period.filter(|period| *period != 0).unwrap_or(PERIOD));
        let each = (i128::from(quota) * 1_000_000 / period) as u128;
        let whole = each.next_multiple_of(10_000) as i128 * period / 1_000_000;
        if !each.is_multiple_of(10_000) {
            cpu.quota = i64::try_from(whole).ok();
        }
    }
    resources
}

/// The kernel's files of version 2 that systemd has properties for.
fn unified(files: &BTreeMap<String, String>, version: u32, all: &mut Vec<Property>) -> Result<(), String> {
    let idle = |value: Option<&String>| value.is_some_and(|value| value.trim() == "1") && version >= 252;
    for (file, text) in files {
        v2::check_unified(file)?;
        let text = text.trim();
        let wrong = |error: String| format!("unified resource {file:?} value conversion error: {error}");
        let amount = |text: &str| match text {
            "max" => Ok(INFINITY),
            text => text.parse::<u64>().map_err(|error| wrong(error.to_string())),
        };
        match file.as_str() {
            "cpu.idle" if idle(Some(&text.to_owned())) => all.push(number("CPUWeight", 0)),
            "cpu.max" => {
                let fields: Vec<&str> = text.split_whitespace().collect();
                let (most, period) = match fields[..] {
                    [most] => (most, PERIOD),
                    [most, period] => (
                        most,
                        period
                            .parse()
                            .map_err(|e: std::num::ParseIntError| wrong(e.to_string()))?,
                    ),
                    _ => return Err(format!("unified resource {file:?} value invalid: {text:?}")),
                };
                let most = match most {
                    "max" => 0,
                    most => most
                        .parse()
                        .map_err(|e: std::num::ParseIntError| wrong(e.to_string()))?,
                };
                quota(most, period, version, all);
            }
            "cpu.weight" if !idle(files.get("cpu.idle")) => all.push(number("CPUWeight", amount(text)?)),
            "cpuset.cpus" | "cpuset.mems" if version >= 244 => {
                let name = if file == "cpuset.cpus" {
                    "AllowedCPUs"
                } else {
                    "AllowedMemoryNodes"
                };
                let bits = bits(text).map_err(|error| {
                    format!("unified resource {file:?}={text:?} conversion error: {error}")
                })?;
                all.push(property(name, Value::bytes(&bits)));
            }
            "memory.high" => all.push(number("MemoryHigh", amount(text)?)),
            "memory.low" => all.push(number("MemoryLow", amount(text)?)),
            "memory.min" => all.push(number("MemoryMin", amount(text)?)),
            "memory.max" => all.push(number("MemoryMax", amount(text)?)),
            "memory.swap.max" => all.push(number("MemorySwapMax", amount(text)?)),
            "pids.max" => all.push(number("TasksMax", amount(text)?.max(1))),
            _ => {}
        }
    }
    Ok(())
}

/// What can be said only when the unit is made.
pub(crate) fn at_birth(resources: &LinuxResources, version: u32) -> Result<Vec<Property>, String> {
    match resources.unified.get("memory.oom.group").map(|text| text.trim()) {
        Some("0") if version >= 253 => Ok(vec![property("OOMPolicy", Value::text("continue"))]),
        Some("1") if version >= 253 => Ok(vec![property("OOMPolicy", Value::text("kill"))]),
        _ => Ok(Vec::new()),
    }
}

/// `1,3-5` as bits, the lowest first.
fn bits(text: &str) -> Result<Vec<u8>, String> {
    let mut bits: Vec<u8> = Vec::new();
    let parse = |text: &str| match text.parse::<usize>() {
        // No machine has so many; a typing error does not cost gigabytes.
        Ok(number) if number < 1 << 16 => Ok(number),
        Ok(_) => Err(format!("{text:?} is out of range")),
        Err(error) => Err(error.to_string()),
    };
    for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (parse(first)?, parse(last)?);
        if first > last {
            return Err(format!("invalid range: {range}"));
        }
        if bits.len() <= last / 8 {
            bits.resize(last / 8 + 1, 0);
        }
        for number in first..=last {
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    if bits.is_empty() {
        Err("empty value".to_owned())
    } else {
        Ok(bits)
    }
}

/// Rules for devices. systemd knows only lists of what is allowed: a list of what is denied becomes one that denies all
/// until our own program takes its place.
pub(crate) fn devices(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Property>, String> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let policy = Policy::of(rules)?;
    let list = |entries: Vec<(String, &'static str)>| {
        let entry =
            |(path, access): (String, &str)| Value::Struct(vec![Value::text(path), Value::text(access)]);
        property(
            "DeviceAllow",
            Value::Array("(ss)".to_owned(), entries.into_iter().map(entry).collect()),
        )
    };
    let free = policy.allow && policy.exceptions.is_empty();
    let word = if free { "auto" } else { "strict" };
    // Nothing at all empties the list first.
    let mut all = vec![list(Vec::new()), property("DevicePolicy", Value::text(word))];
    if !policy.allow {
        let entry = |exception: &crate::translate::devices::Exception| {
            let kind = if exception.kind == CHARACTER {
                "char"
            } else {
                "block"
            };
            let path = match (exception.major, exception.minor) {
                (None, None) => format!("{kind}-*"),
                // Has no words with systemd; our own program knows it.
                (None, Some(_)) => return None,
                (Some(major), None) => format!("{kind}-{major}"),
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            };
            Some((path, exception.letters()))
        };
        all.push(list(policy.exceptions.iter().filter_map(entry).collect()));
    }
    Ok(all)
}

/// Whether systemd's version matters for these limits: asking for it costs a call.
pub(crate) fn depend_on_version(resources: &LinuxResources) -> bool {
    let cpu = resources.cpu.as_ref();
    let cpu = cpu.is_some_and(|cpu| {
        cpu.period.is_some_and(|period| period != 0)
            || cpu.idle.is_some()
            || !cpu.cpus.is_empty()
            || !cpu.mems.is_empty()
    });
    cpu || !resources.unified.is_empty()
}

#[cfg(test)]
mod tests;
