//! `events`: one line of JSON for each.

use std::io::Write;
use std::time::Duration;

use gantry_runtime_core::events::{self as core, Event};
use gantry_runtime_core::state::Container;
use gantry_runtime_core::stats::{BlkioEntry, Stats};
use serde_json::{Map, Value, json};

use super::{Outcome, sentence};
use crate::args::{Args, Global, unknown};

pub(super) fn events(global: &Global, mut args: Args) -> Outcome {
    let (mut interval, mut once) = (Duration::from_secs(5), false);
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "interval" => interval = duration(&args.value(flag)?)?,
            "stats" => once = flag.on()?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("events")?;
    args.end("events")?;
    if interval.is_zero() {
        return Err("duration interval must be greater than 0".to_owned());
    }
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    if once {
        let stats = core::stats(&container).map_err(sentence)?;
        say(&line(&id, "stats", Some(&data(&stats))));
        return Ok(0);
    }
    let told = core::watch(&container, interval, |event| match event {
        Event::Stats(stats) => say(&line(&id, "stats", Some(&data(&stats)))),
        Event::Oom => say(&line(&id, "oom", None)),
    });
    told.map(|()| 0).map_err(sentence)
}

/// False when nobody reads any more.
fn say(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// In the order in which readers know them.
fn line(id: &str, kind: &str, data: Option<&Value>) -> String {
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    format!("{{\"type\":\"{kind}\",\"id\":{}{data}}}", json!(id))
}

/// The figures in their form for readers; what is nothing is left out.
fn data(stats: &Stats) -> Value {
    let memory = &stats.memory;
    let raw = &memory.stat;
    let part = |name: &str| raw.get(name).copied().unwrap_or_default();
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu.total,
                "percpu": stats.cpu.per_cpu,
                "kernel": stats.cpu.kernel,
                "user": stats.cpu.user,
            },
            "throttling": sparse([
                ("periods", stats.cpu.periods),
                ("throttledPeriods", stats.cpu.throttled_periods),
                ("throttledTime", stats.cpu.throttled_time),
            ]),
        },
        "cpuset": {},
        "memory": {
            "cache": part("cache").max(part("file")),
            "usage": entry(memory.limit, memory.usage, memory.max_usage, memory.failures),
            "swap": entry(memory.swap_limit, memory.swap_usage, 0, 0),
            "kernel": entry(0, 0, 0, 0),
            "kernelTCP": entry(0, 0, 0, 0),
            "raw": raw,
        },
        "pids": sparse([("current", stats.pids.current), ("limit", stats.pids.limit)]),
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.io_bytes),
            "ioServicedRecursive": entries(&stats.io_operations),
        },
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

fn sparse<const N: usize>(pairs: [(&str, u64); N]) -> Value {
    let some = pairs.into_iter().filter(|(_, value)| *value != 0);
    Value::Object(
        some.map(|(name, value)| (name.to_owned(), json!(value)))
            .collect::<Map<_, _>>(),
    )
}

fn entry(limit: u64, usage: u64, max: u64, failures: u64) -> Value {
    let mut value = sparse([("usage", usage), ("max", max)]);
    value["limit"] = json!(limit);
    value["failcnt"] = json!(failures);
    value
}

fn entries(all: &[BlkioEntry]) -> Value {
    let one = |entry: &BlkioEntry| {
        let mut value = sparse([
            ("major", entry.major),
            ("minor", entry.minor),
            ("value", entry.value),
        ]);
        value["op"] = json!(entry.operation);
        value
    };
    all.iter().map(one).collect()
}

/// A length of time as Go writes it: `5s`, `100ms`, `1m30s`, `1.5h`.
fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let invalid = || format!("invalid value {text:?} for flag -interval: time: invalid duration {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = UNITS
            .iter()
            .find(|(name, _)| *name == &rest[..end])
            .ok_or_else(invalid)?;
        seconds += number * unit.1;
        rest = &rest[end..];
    }
    match text.is_empty() {
        true => Err(invalid()),
        false => Duration::try_from_secs_f64(seconds).map_err(|_| invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, ms) in [
            ("5s", 5000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("0", 0),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "1x", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_begin_as_readers_expect() {
        assert_eq!(line("a", "oom", None), r#"{"type":"oom","id":"a"}"#);
        let stats = line("a", "stats", Some(&data(&Stats::default())));
        assert!(stats.starts_with(r#"{"type":"stats","id":"a","data":{"#));
    }
}
