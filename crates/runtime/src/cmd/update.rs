//! `update`.

use std::io::Read;

use gantry_runtime_core::lifecycle;
use gantry_runtime_core::oci::LinuxResources;
use gantry_runtime_core::state::Container;

use super::{Outcome, sentence};
use crate::args::{Args, Global, unknown};

pub(super) fn update(global: &Global, mut args: Args) -> Outcome {
    let mut resources = LinuxResources::default();
    let mut read_from = None;
    let (mut cache, mut bandwidth) = (false, false);
    while let Some(flag) = args.flag() {
        let name = flag.name.clone();
        if name == "resources" || name == "r" {
            read_from = Some(args.value(flag)?);
            continue;
        }
        let memory = resources.memory.get_or_insert_default();
        let cpu = resources.cpu.get_or_insert_default();
        let unsigned = |text: String| {
            text.parse::<u64>()
                .map_err(|_| format!("invalid value {text:?} for --{name}"))
        };
        let signed = |text: String| {
            text.parse::<i64>()
                .map_err(|_| format!("invalid value {text:?} for --{name}"))
        };
        match name.as_str() {
            "memory" => memory.limit = Some(size(&args.value(flag)?)?),
            "memory-reservation" => memory.reservation = Some(size(&args.value(flag)?)?),
            "memory-swap" => memory.swap = Some(size(&args.value(flag)?)?),
            "cpu-period" => cpu.period = Some(unsigned(args.value(flag)?)?),
            "cpu-quota" => cpu.quota = Some(signed(args.value(flag)?)?),
            "cpu-burst" => cpu.burst = Some(unsigned(args.value(flag)?)?),
            "cpu-share" => cpu.shares = Some(unsigned(args.value(flag)?)?),
            "cpu-rt-period" => cpu.realtime_period = Some(unsigned(args.value(flag)?)?),
            "cpu-rt-runtime" => cpu.realtime_runtime = Some(signed(args.value(flag)?)?),
            "cpu-idle" => cpu.idle = Some(signed(args.value(flag)?)?),
            "cpuset-cpus" => cpu.cpus = args.value(flag)?,
            "cpuset-mems" => cpu.mems = args.value(flag)?,
            "pids-limit" => resources.pids.get_or_insert_default().limit = Some(signed(args.value(flag)?)?),
            "blkio-weight" => {
                let weight = unsigned(args.value(flag)?)?;
                let weight = u16::try_from(weight)
                    .map_err(|_| format!("invalid value {weight} for --blkio-weight"))?;
                resources.block_io.get_or_insert_default().weight = Some(weight);
            }
            "l3-cache-schema" => cache = !args.value(flag)?.is_empty(),
            "mem-bw-schema" => bandwidth = !args.value(flag)?.is_empty(),
            // Gone from the kernel; runc takes and ignores them.
            "kernel-memory" | "kernel-memory-tcp" => drop(args.value(flag)?),
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("update")?;
    args.end("update")?;
    if let Some(path) = read_from {
        // It says all, and further flags nothing.
        resources = read(&path)?;
    }
    if cache {
        return Err("Intel RDT/CAT: l3 cache schema is not enabled".to_owned());
    }
    if bandwidth {
        return Err("Intel RDT/MBA: memory bandwidth schema is not enabled".to_owned());
    }
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    lifecycle::update(&container, &resources, &global.open_log()?)
        .map(|()| 0)
        .map_err(sentence)
}

fn read(path: &str) -> Result<LinuxResources, String> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().lock().read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| format!("failed to read {path:?}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("failed to read {path:?}: {error}"))
}

/// Bytes, with an optional unit: `64m`.
fn size(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: {text:?}");
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 1_i64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(invalid()),
    };
    digits
        .parse::<i64>()
        .ok()
        .filter(|n| *n >= 0)
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("64m", 64 << 20),
            ("1GiB", 1 << 30),
            ("2kb", 2048),
        ] {
            assert_eq!(super::size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "1x", "-5", "99999999999999t"] {
            assert!(super::size(bad).is_err(), "{bad}");
        }
    }
}
