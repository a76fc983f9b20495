//! The supervisor's metrics, containerd's messages of both cgroup versions, turned into the API's statistics. Pure.

use gantry_api_types::Map;
use gantry_api_types::container::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, PidsStats, Stats, ThrottlingData,
};
use gantry_errdefs::Error;
use gantry_supervisor_core::Any;
use prost::Message;

/// What the host adds to a sample: nanoseconds of CPU time it had, how many CPUs, how many bytes of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Host {
    pub(super) cpu_time: u64,
    pub(super) cpus: u32,
    pub(super) memory: u64,
}

mod v1 {
    //! `io.containerd.cgroups.v1`

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metrics {
        #[prost(message, optional, tag = "2")]
        pub(super) pids: Option<super::Pids>,
        #[prost(message, optional, tag = "3")]
        pub(super) cpu: Option<Cpu>,
        #[prost(message, optional, tag = "4")]
        pub(super) memory: Option<Memory>,
        #[prost(message, optional, tag = "5")]
        pub(super) blkio: Option<Blkio>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Cpu {
        #[prost(message, optional, tag = "1")]
        pub(super) usage: Option<Usage>,
        #[prost(message, optional, tag = "2")]
        pub(super) throttling: Option<Throttle>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Usage {
        #[prost(uint64, tag = "1")]
        pub(super) total: u64,
        #[prost(uint64, tag = "2")]
        pub(super) kernel: u64,
        #[prost(uint64, tag = "3")]
        pub(super) user: u64,
        #[prost(uint64, repeated, tag = "4")]
        pub(super) per_cpu: Vec<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Throttle {
        #[prost(uint64, tag = "1")]
        pub(super) periods: u64,
        #[prost(uint64, tag = "2")]
        pub(super) throttled_periods: u64,
        #[prost(uint64, tag = "3")]
        pub(super) throttled_time: u64,
    }

    /// The totals over the hierarchy, which are what Docker shows.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Memory {
        #[prost(uint64, tag = "16")]
        pub(super) hierarchical_memory_limit: u64,
        #[prost(uint64, tag = "18")]
        pub(super) total_cache: u64,
        #[prost(uint64, tag = "19")]
        pub(super) total_rss: u64,
        #[prost(uint64, tag = "21")]
        pub(super) total_mapped_file: u64,
        #[prost(uint64, tag = "25")]
        pub(super) total_pgfault: u64,
        #[prost(uint64, tag = "26")]
        pub(super) total_pgmajfault: u64,
        #[prost(uint64, tag = "27")]
        pub(super) total_inactive_anon: u64,
        #[prost(uint64, tag = "28")]
        pub(super) total_active_anon: u64,
        #[prost(uint64, tag = "29")]
        pub(super) total_inactive_file: u64,
        #[prost(uint64, tag = "30")]
        pub(super) total_active_file: u64,
        #[prost(message, optional, tag = "33")]
        pub(super) usage: Option<Entry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Entry {
        #[prost(uint64, tag = "1")]
        pub(super) limit: u64,
        #[prost(uint64, tag = "2")]
        pub(super) usage: u64,
        #[prost(uint64, tag = "3")]
        pub(super) max: u64,
        #[prost(uint64, tag = "4")]
        pub(super) failcnt: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Blkio {
        #[prost(message, repeated, tag = "1")]
        pub(super) service_bytes: Vec<BlkioEntry>,
        #[prost(message, repeated, tag = "2")]
        pub(super) serviced: Vec<BlkioEntry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BlkioEntry {
        #[prost(string, tag = "1")]
        pub(super) op: String,
        #[prost(uint64, tag = "3")]
        pub(super) major: u64,
        #[prost(uint64, tag = "4")]
        pub(super) minor: u64,
        #[prost(uint64, tag = "5")]
        pub(super) value: u64,
    }
}

mod v2 {
    //! `io.containerd.cgroups.v2`

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metrics {
        #[prost(message, optional, tag = "1")]
        pub(super) pids: Option<super::Pids>,
        #[prost(message, optional, tag = "2")]
        pub(super) cpu: Option<Cpu>,
        #[prost(message, optional, tag = "4")]
        pub(super) memory: Option<Memory>,
        #[prost(message, optional, tag = "6")]
        pub(super) io: Option<Io>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Cpu {
        #[prost(uint64, tag = "1")]
        pub(super) usage_usec: u64,
        #[prost(uint64, tag = "2")]
        pub(super) user_usec: u64,
        #[prost(uint64, tag = "3")]
        pub(super) system_usec: u64,
        #[prost(uint64, tag = "4")]
        pub(super) nr_periods: u64,
        #[prost(uint64, tag = "5")]
        pub(super) nr_throttled: u64,
        #[prost(uint64, tag = "6")]
        pub(super) throttled_usec: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Memory {
        #[prost(uint64, tag = "1")]
        pub(super) anon: u64,
        #[prost(uint64, tag = "2")]
        pub(super) file: u64,
        #[prost(uint64, tag = "3")]
        pub(super) kernel_stack: u64,
        #[prost(uint64, tag = "4")]
        pub(super) slab: u64,
        #[prost(uint64, tag = "6")]
        pub(super) shmem: u64,
        #[prost(uint64, tag = "7")]
        pub(super) file_mapped: u64,
        #[prost(uint64, tag = "11")]
        pub(super) inactive_anon: u64,
        #[prost(uint64, tag = "12")]
        pub(super) active_anon: u64,
        #[prost(uint64, tag = "13")]
        pub(super) inactive_file: u64,
        #[prost(uint64, tag = "14")]
        pub(super) active_file: u64,
        #[prost(uint64, tag = "18")]
        pub(super) pgfault: u64,
        #[prost(uint64, tag = "19")]
        pub(super) pgmajfault: u64,
        #[prost(uint64, tag = "32")]
        pub(super) usage: u64,
        #[prost(uint64, tag = "33")]
        pub(super) usage_limit: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Io {
        #[prost(message, repeated, tag = "1")]
        pub(super) usage: Vec<IoEntry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct IoEntry {
        #[prost(uint64, tag = "1")]
        pub(super) major: u64,
        #[prost(uint64, tag = "2")]
        pub(super) minor: u64,
        #[prost(uint64, tag = "3")]
        pub(super) rbytes: u64,
        #[prost(uint64, tag = "4")]
        pub(super) wbytes: u64,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pids {
    #[prost(uint64, tag = "1")]
    current: u64,
    #[prost(uint64, tag = "2")]
    limit: u64,
}

/// The statistics of one sample, without times and names.
pub(super) fn read(metrics: &Any, host: Host) -> Result<Stats, Error> {
    let undecodable =
        |e: prost::DecodeError| Error::internal(format!("failed to decode the metrics of a task: {e}"));
    match metrics.type_url.rsplit('/').next().unwrap_or_default() {
        "io.containerd.cgroups.v1.Metrics" => Ok(of_v1(
            v1::Metrics::decode(metrics.value.as_slice()).map_err(undecodable)?,
            host,
        )),
        "io.containerd.cgroups.v2.Metrics" => Ok(of_v2(
            v2::Metrics::decode(metrics.value.as_slice()).map_err(undecodable)?,
            host,
        )),
        other => Err(Error::internal(format!("metrics of an unknown type {other:?}"))),
    }
}

fn pids(pids: Option<Pids>) -> PidsStats {
    let pids = pids.unwrap_or_default();
    // Without a limit Docker shows the largest number.
    let limit = if pids.limit == 0 { u64::MAX } else { pids.limit };
    PidsStats {
        current: pids.current,
        limit,
    }
}

fn map(pairs: &[(&str, u64)]) -> Map<u64> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}

/// A limit as large as the machine's memory, or larger, is none: then the machine's memory is what there is.
fn limit(limit: u64, host: Host) -> u64 {
    if limit == 0 || (host.memory != 0 && limit > host.memory) {
        host.memory
    } else {
        limit
    }
}

fn of_v1(metrics: v1::Metrics, host: Host) -> Stats {
    let cpu = metrics.cpu.unwrap_or_default();
    let (usage, throttle) = (cpu.usage.unwrap_or_default(), cpu.throttling.unwrap_or_default());
    let memory = metrics.memory.unwrap_or_default();
    let entry = memory.usage.clone().unwrap_or_default();
    let blkio = metrics.blkio.unwrap_or_default();
    let entries = |list: Vec<v1::BlkioEntry>| {
        let one = |e: v1::BlkioEntry| BlkioEntry {
            major: e.major,
            minor: e.minor,
            op: e.op,
            value: e.value,
        };
        list.into_iter().map(one).collect()
    };
    Stats {
        pids_stats: pids(metrics.pids),
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: usage.total,
                percpu_usage: usage.per_cpu,
                usage_in_kernelmode: usage.kernel,
                usage_in_usermode: usage.user,
            },
            system_cpu_usage: host.cpu_time,
            online_cpus: host.cpus,
            throttling_data: ThrottlingData {
                periods: throttle.periods,
                throttled_periods: throttle.throttled_periods,
                throttled_time: throttle.throttled_time,
            },
        },
        memory_stats: MemoryStats {
            usage: entry.usage,
            max_usage: entry.max,
            failcnt: entry.failcnt,
            limit: limit(entry.limit, host),
            stats: map(&[
                ("cache", memory.total_cache),
                ("rss", memory.total_rss),
                ("mapped_file", memory.total_mapped_file),
                ("hierarchical_memory_limit", memory.hierarchical_memory_limit),
                ("total_cache", memory.total_cache),
                ("total_rss", memory.total_rss),
                ("total_mapped_file", memory.total_mapped_file),
                ("total_pgfault", memory.total_pgfault),
                ("total_pgmajfault", memory.total_pgmajfault),
                ("total_inactive_anon", memory.total_inactive_anon),
                ("total_active_anon", memory.total_active_anon),
                ("total_inactive_file", memory.total_inactive_file),
                ("total_active_file", memory.total_active_file),
            ]),
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: entries(blkio.service_bytes),
            io_serviced_recursive: entries(blkio.serviced),
            ..BlkioStats::default()
        },
        ..Stats::default()
    }
}

fn of_v2(metrics: v2::Metrics, host: Host) -> Stats {
    let cpu = metrics.cpu.unwrap_or_default();
    let memory = metrics.memory.unwrap_or_default();
    let io = metrics.io.unwrap_or_default();
    let entries = io.usage.iter().flat_map(|e| {
        let one = |op: &str, value| BlkioEntry {
            major: e.major,
            minor: e.minor,
            op: op.to_owned(),
            value,
        };
        [one("read", e.rbytes), one("write", e.wbytes)]
    });
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    Stats {
        pids_stats: pids(metrics.pids),
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: nanoseconds(cpu.usage_usec),
                percpu_usage: Vec::new(),
                usage_in_kernelmode: nanoseconds(cpu.system_usec),
                usage_in_usermode: nanoseconds(cpu.user_usec),
            },
            system_cpu_usage: host.cpu_time,
            online_cpus: host.cpus,
            throttling_data: ThrottlingData {
                periods: cpu.nr_periods,
                throttled_periods: cpu.nr_throttled,
                throttled_time: nanoseconds(cpu.throttled_usec),
            },
        },
        memory_stats: MemoryStats {
            usage: memory.usage,
            limit: limit(memory.usage_limit, host),
            stats: map(&[
                ("anon", memory.anon),
                ("file", memory.file),
                ("kernel_stack", memory.kernel_stack),
                ("slab", memory.slab),
                ("shmem", memory.shmem),
                ("file_mapped", memory.file_mapped),
                ("inactive_anon", memory.inactive_anon),
                ("active_anon", memory.active_anon),
                ("inactive_file", memory.inactive_file),
                ("active_file", memory.active_file),
                ("pgfault", memory.pgfault),
                ("pgmajfault", memory.pgmajfault),
            ]),
            ..MemoryStats::default()
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: entries.collect(),
            ..BlkioStats::default()
        },
        ..Stats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host {
        cpu_time: 9,
        cpus: 2,
        memory: 1 << 30,
    };

    fn any(version: &str, value: Vec<u8>) -> Any {
        Any {
            type_url: format!("io.containerd.cgroups.{version}.Metrics"),
            value,
        }
    }

    #[test]
    fn both_versions_are_read() {
        let entry = v1::Entry {
            limit: u64::MAX >> 1,
            usage: 7,
            ..v1::Entry::default()
        };
        let old = v1::Metrics {
            pids: Some(Pids { current: 3, limit: 0 }),
            memory: Some(v1::Memory {
                total_inactive_file: 2,
                usage: Some(entry),
                ..v1::Memory::default()
            }),
            ..v1::Metrics::default()
        };
        let stats = read(&any("v1", old.encode_to_vec()), HOST).unwrap();
        assert_eq!((stats.pids_stats.current, stats.pids_stats.limit), (3, u64::MAX));
        assert_eq!((stats.memory_stats.usage, stats.memory_stats.limit), (7, 1 << 30));
        assert_eq!(stats.memory_stats.stats["total_inactive_file"], 2);
        assert_eq!(
            (stats.cpu_stats.system_cpu_usage, stats.cpu_stats.online_cpus),
            (9, 2)
        );

        let new = v2::Metrics {
            cpu: Some(v2::Cpu {
                usage_usec: 5,
                ..v2::Cpu::default()
            }),
            memory: Some(v2::Memory {
                usage: 7,
                usage_limit: 8,
                inactive_file: 1,
                ..v2::Memory::default()
            }),
            io: Some(v2::Io {
                usage: vec![v2::IoEntry {
                    major: 8,
                    rbytes: 4,
                    ..v2::IoEntry::default()
                }],
            }),
            ..v2::Metrics::default()
        };
        let stats = read(&any("v2", new.encode_to_vec()), HOST).unwrap();
        assert_eq!(stats.cpu_stats.cpu_usage.total_usage, 5000);
        assert_eq!((stats.memory_stats.usage, stats.memory_stats.limit), (7, 8));
        assert_eq!(stats.blkio_stats.io_service_bytes_recursive.len(), 2);
    }

    #[test]
    fn noise_is_an_error() {
        assert!(read(&any("v1", vec![0xff]), HOST).is_err());
        assert!(read(&any("v3", Vec::new()), HOST).is_err());
    }
}
