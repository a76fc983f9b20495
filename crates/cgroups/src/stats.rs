//! What a cgroup has used, read from its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::layout::Version;
use crate::manager::Manager;

/// Everything. What the machine does not tell is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Bytes read and written by device.
    pub io_bytes: Vec<BlkioEntry>,
    /// Operations by device.
    pub io_operations: Vec<BlkioEntry>,
}

/// Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// Outside of it.
    pub user: u64,
    /// By processor (version 1).
    pub per_cpu: Vec<u64>,
    /// Periods of the quota.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// How long was waited for the next.
    pub throttled_time: u64,
}

/// Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub usage: u64,
    /// At most (version 1).
    pub max_usage: u64,
    /// Allowed.
    pub limit: u64,
    /// How often the limit was met.
    pub failures: u64,
    /// Swap used now.
    pub swap_usage: u64,
    /// Swap allowed.
    pub swap_limit: u64,
    /// `memory.stat` by its names.
    pub stat: BTreeMap<String, u64>,
    /// Processes killed.
    pub oom_kills: u64,
}

/// Numbers of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// Allowed; 0 is no limit.
    pub limit: u64,
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// The device's number.
    pub major: u64,
    /// The device's number.
    pub minor: u64,
    /// `Read`, `Write` …
    pub operation: String,
    /// The number.
    pub value: u64,
}

/// `u64::MAX` for no limit.
const NO_LIMIT: u64 = u64::MAX;

/// Ticks of `cpuacct.stat` in a second.
const TICKS: u64 = 100;

impl Manager {
    /// Reads all there is.
    pub fn stats(&self) -> Stats {
        match self.version() {
            Version::V1 => self.stats_v1(),
            Version::V2 => self.stats_v2(),
        }
    }

    fn stats_v1(&self) -> Stats {
        let text = |controller: &str, file: &str| {
            let folder = self.folder(controller);
            folder
                .and_then(|folder| fs::read_to_string(folder.join(file)).ok())
                .unwrap_or_default()
        };
        let number = |controller: &str, file: &str| parse(&text(controller, file));
        let throttling = pairs(&text("cpu", "cpu.stat"));
        let times = pairs(&text("cpuacct", "cpuacct.stat"));
        let get = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or_default();
        Stats {
            cpu: Cpu {
                total: number("cpuacct", "cpuacct.usage"),
                kernel: get(&times, "system") * (1_000_000_000 / TICKS),
                user: get(&times, "user") * (1_000_000_000 / TICKS),
                per_cpu: text("cpuacct", "cpuacct.usage_percpu")
                    .split_whitespace()
                    .map(parse)
                    .collect(),
                periods: get(&throttling, "nr_periods"),
                throttled_periods: get(&throttling, "nr_throttled"),
                throttled_time: get(&throttling, "throttled_time"),
            },
            memory: Memory {
                usage: number("memory", "memory.usage_in_bytes"),
                max_usage: number("memory", "memory.max_usage_in_bytes"),
                limit: number("memory", "memory.limit_in_bytes"),
                failures: number("memory", "memory.failcnt"),
                swap_usage: number("memory", "memory.memsw.usage_in_bytes"),
                swap_limit: number("memory", "memory.memsw.limit_in_bytes"),
                stat: pairs(&text("memory", "memory.stat")),
                oom_kills: get(&pairs(&text("memory", "memory.oom_control")), "oom_kill"),
            },
            pids: Pids {
                current: number("pids", "pids.current"),
                limit: limit(&text("pids", "pids.max"), 0),
            },
            io_bytes: block_v1(&text("blkio", "blkio.throttle.io_service_bytes")),
            io_operations: block_v1(&text("blkio", "blkio.throttle.io_serviced")),
        }
    }

    fn stats_v2(&self) -> Stats {
        let folder = self.folder("").unwrap_or(Path::new("/"));
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let get = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or_default();
        let cpu = pairs(&text("cpu.stat"));
        let events = pairs(&text("memory.events"));
        let io = text("io.stat");
        Stats {
            cpu: Cpu {
                total: get(&cpu, "usage_usec") * 1000,
                kernel: get(&cpu, "system_usec") * 1000,
                user: get(&cpu, "user_usec") * 1000,
                per_cpu: Vec::new(),
                periods: get(&cpu, "nr_periods"),
                throttled_periods: get(&cpu, "nr_throttled"),
                throttled_time: get(&cpu, "throttled_usec") * 1000,
            },
            memory: Memory {
                usage: parse(&text("memory.current")),
                max_usage: parse(&text("memory.peak")),
                limit: limit(&text("memory.max"), NO_LIMIT),
                failures: get(&events, "max"),
                swap_usage: parse(&text("memory.swap.current")),
                swap_limit: limit(&text("memory.swap.max"), NO_LIMIT),
                stat: pairs(&text("memory.stat")),
                oom_kills: get(&events, "oom_kill"),
            },
            pids: Pids {
                current: parse(&text("pids.current")),
                limit: limit(&text("pids.max"), 0),
            },
            io_bytes: block_v2(&io, &[("rbytes", "Read"), ("wbytes", "Write")]),
            io_operations: block_v2(&io, &[("rios", "Read"), ("wios", "Write")]),
        }
    }
}

fn parse(text: &str) -> u64 {
    text.trim().parse().unwrap_or_default()
}

fn limit(text: &str, none: u64) -> u64 {
    text.trim().parse().unwrap_or(none)
}

/// Lines of a name and a number.
pub(crate) fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// `8:0 Read 4096`
fn block_v1(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut fields = line.split(' ');
        let (major, minor) = fields.next()?.split_once(':')?;
        let (operation, value) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            operation,
            value,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// `8:0 rbytes=4096 wbytes=0 …`
fn block_v2(text: &str, wanted: &[(&str, &str)]) -> Vec<BlkioEntry> {
    let mut all = Vec::new();
    for line in text.lines() {
        let Some((device, fields)) = line.split_once(' ') else {
            continue;
        };
        let Some((major, minor)) = device.split_once(':') else {
            continue;
        };
        for field in fields.split(' ').filter_map(|field| field.split_once('=')) {
            if let Some((_, operation)) = wanted.iter().find(|(key, _)| *key == field.0) {
                all.push(BlkioEntry {
                    major: parse(major),
                    minor: parse(minor),
                    operation: (*operation).to_owned(),
                    value: parse(field.1),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_both_forms() {
        assert_eq!(
            pairs("cache 1\nrss 2\nbad\n"),
            BTreeMap::from([("cache".into(), 1), ("rss".into(), 2)])
        );
        let read = BlkioEntry {
            major: 8,
            minor: 0,
            operation: "Read".into(),
            value: 5,
        };
        assert_eq!(block_v1("8:0 Read 5\nTotal 5\n"), std::slice::from_ref(&read));
        assert_eq!(block_v2("8:0 rbytes=5 rios=1\n", &[("rbytes", "Read")]), [read]);
        assert_eq!((limit("max\n", 0), limit("7\n", 0)), (0, 7));
    }

    #[test]
    fn the_own_cgroup_has_numbers() {
        let manager = Manager::new(Some("/"), "x").unwrap();
        assert!(manager.stats().cpu.total > 0);
    }
}
