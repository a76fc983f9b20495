//! A cgroup's numbers as containerd's messages.

use std::collections::BTreeMap;

use gantry_cgroups::{BlkioEntry, Manager, Memory, Stats, Version};
use gantry_shim_api::messages::{Any, metrics_v1 as v1, metrics_v2 as v2};
use prost::Message;

/// The numbers of a cgroup.
pub(crate) fn read(manager: &Manager) -> Any {
    let stats = manager.stats();
    match manager.version() {
        Version::V1 => any("io.containerd.cgroups.v1.Metrics", &version_1(&stats)),
        Version::V2 => any("io.containerd.cgroups.v2.Metrics", &version_2(&stats)),
    }
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

/// The kernel's number of this name; 0 where it has none.
fn number(stat: &BTreeMap<String, u64>, name: &str) -> u64 {
    stat.get(name).copied().unwrap_or_default()
}

fn version_1(stats: &Stats) -> v1::Metrics {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let entry = |entry: &BlkioEntry| v1::BlkIoEntry {
        op: entry.operation.clone(),
        device: String::new(),
        major: entry.major,
        minor: entry.minor,
        value: entry.value,
    };
    v1::Metrics {
        pids: Some(v1::PidsStat {
            current: stats.pids.current,
            limit: stats.pids.limit,
        }),
        cpu: Some(v1::CpuStat {
            usage: Some(v1::CpuUsage {
                total: cpu.total,
                kernel: cpu.kernel,
                user: cpu.user,
                per_cpu: cpu.per_cpu.clone(),
            }),
            throttling: Some(v1::Throttle {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_time,
            }),
        }),
        memory: Some(memory_1(memory)),
        blkio: Some(v1::BlkIoStat {
            io_service_bytes_recursive: stats.io_bytes.iter().map(entry).collect(),
            io_serviced_recursive: stats.io_operations.iter().map(entry).collect(),
        }),
        memory_oom_control: Some(v1::MemoryOomControl {
            oom_kill: memory.oom_kills,
            ..Default::default()
        }),
    }
}

fn memory_1(memory: &Memory) -> v1::MemoryStat {
    let get = |name: &str| number(&memory.stat, name);
    v1::MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: Some(v1::MemoryEntry {
            limit: memory.limit,
            usage: memory.usage,
            max: memory.max_usage,
            failcnt: memory.failures,
        }),
        swap: Some(v1::MemoryEntry {
            limit: memory.swap_limit,
            usage: memory.swap_usage,
            ..Default::default()
        }),
        kernel: None,
        kernel_tcp: None,
    }
}

fn version_2(stats: &Stats) -> v2::Metrics {
    let cpu = &stats.cpu;
    v2::Metrics {
        pids: Some(v2::PidsStat {
            current: stats.pids.current,
            limit: stats.pids.limit,
        }),
        cpu: Some(v2::CpuStat {
            usage_usec: cpu.total / 1000,
            user_usec: cpu.user / 1000,
            system_usec: cpu.kernel / 1000,
            nr_periods: cpu.periods,
            nr_throttled: cpu.throttled_periods,
            throttled_usec: cpu.throttled_time / 1000,
        }),
        memory: Some(memory_2(&stats.memory)),
        io: Some(v2::IoStat { usage: io_2(stats) }),
        memory_events: Some(v2::MemoryEvents {
            max: stats.memory.failures,
            oom_kill: stats.memory.oom_kills,
            ..Default::default()
        }),
    }
}

fn memory_2(memory: &Memory) -> v2::MemoryStat {
    let get = |name: &str| number(&memory.stat, name);
    v2::MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: get("workingset_refault"),
        workingset_activate: get("workingset_activate"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: memory.usage,
        usage_limit: memory.limit,
        swap_usage: memory.swap_usage,
        swap_limit: memory.swap_limit,
        max_usage: memory.max_usage,
    }
}

/// One entry for each device, of the lists that have one for each device and direction.
fn io_2(stats: &Stats) -> Vec<v2::IoEntry> {
    let mut devices: BTreeMap<(u64, u64), v2::IoEntry> = BTreeMap::new();
    let lists = [(&stats.io_bytes, true), (&stats.io_operations, false)];
    for (entry, bytes) in lists
        .into_iter()
        .flat_map(|(list, bytes)| list.iter().map(move |entry| (entry, bytes)))
    {
        let device = devices.entry((entry.major, entry.minor)).or_default();
        (device.major, device.minor) = (entry.major, entry.minor);
        let field = match (entry.operation.as_str(), bytes) {
            ("Read", true) => &mut device.rbytes,
            ("Write", true) => &mut device.wbytes,
            ("Read", false) => &mut device.rios,
            ("Write", false) => &mut device.wios,
            _ => continue,
        };
        *field = entry.value;
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_carry_what_docker_reckons_with() {
        let entry = |operation: &str, value| BlkioEntry {
            major: 8,
            minor: 0,
            operation: operation.to_owned(),
            value,
        };
        let mut stats = Stats {
            io_bytes: vec![entry("Read", 10), entry("Write", 20)],
            io_operations: vec![entry("Read", 1)],
            ..Stats::default()
        };
        stats.memory.usage = 100;
        stats.memory.stat = [("inactive_file", 7), ("total_inactive_file", 8)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let old = version_1(&stats).memory.unwrap();
        assert_eq!((old.usage.unwrap().usage, old.total_inactive_file), (100, 8));
        let new = version_2(&stats);
        assert_eq!(new.memory.unwrap().inactive_file, 7);
        let io = &new.io.unwrap().usage;
        assert_eq!((io.len(), io[0].rbytes, io[0].wbytes, io[0].rios), (1, 10, 20, 1));
    }
}
