//! A cgroup's numbers as containerd's messages.

use gantry_cgroups::{BlkioEntry as Entry, Manager, Stats, Version};
use gantry_shim_api::messages as m;
use prost::Message;

/// The numbers of the cgroup that a configuration names.
pub(crate) fn read(manager: &Manager) -> m::Any {
    let stats = manager.stats();
    match manager.version() {
        Version::V1 => any("io.containerd.cgroups.v1.Metrics", &v1(&stats)),
        Version::V2 => any("io.containerd.cgroups.v2.Metrics", &v2(&stats)),
    }
}

fn any(type_url: &str, message: &impl Message) -> m::Any {
    m::Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

fn pids(stats: &Stats) -> m::PidsStat {
    m::PidsStat {
        current: stats.pids.current,
        limit: stats.pids.limit,
    }
}

fn v1(stats: &Stats) -> m::MetricsV1 {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let get = |name: &str| memory.stat.get(name).copied().unwrap_or_default();
    let entry = |entry: &Entry| m::BlkioEntry {
        op: entry.operation.clone(),
        device: String::new(),
        major: entry.major,
        minor: entry.minor,
        value: entry.value,
    };
    m::MetricsV1 {
        pids: Some(pids(stats)),
        cpu: Some(m::CpuStatV1 {
            usage: Some(m::CpuUsage {
                total: cpu.total,
                kernel: cpu.kernel,
                user: cpu.user,
                per_cpu: cpu.per_cpu.clone(),
            }),
            throttling: Some(m::Throttle {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_time,
            }),
        }),
        memory: Some(m::MemoryStatV1 {
            cache: get("cache"),
            rss: get("rss"),
            total_inactive_file: get("total_inactive_file"),
            usage: Some(m::MemoryEntry {
                limit: memory.limit,
                usage: memory.usage,
                max: memory.max_usage,
                failcnt: memory.failures,
            }),
            swap: Some(m::MemoryEntry {
                limit: memory.swap_limit,
                usage: memory.swap_usage,
                max: 0,
                failcnt: 0,
            }),
        }),
        blkio: Some(m::BlkioStat {
            io_service_bytes_recursive: stats.io_bytes.iter().map(entry).collect(),
            io_serviced_recursive: stats.io_operations.iter().map(entry).collect(),
        }),
    }
}

fn v2(stats: &Stats) -> m::MetricsV2 {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let get = |name: &str| memory.stat.get(name).copied().unwrap_or_default();
    m::MetricsV2 {
        pids: Some(pids(stats)),
        cpu: Some(m::CpuStatV2 {
            usage_usec: cpu.total / 1000,
            user_usec: cpu.user / 1000,
            system_usec: cpu.kernel / 1000,
            nr_periods: cpu.periods,
            nr_throttled: cpu.throttled_periods,
            throttled_usec: cpu.throttled_time / 1000,
        }),
        memory: Some(m::MemoryStatV2 {
            anon: get("anon"),
            file: get("file"),
            inactive_file: get("inactive_file"),
            usage: memory.usage,
            usage_limit: memory.limit,
            swap_usage: memory.swap_usage,
            swap_limit: memory.swap_limit,
        }),
    }
}
