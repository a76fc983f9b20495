//! What containers use, sampled as long as somebody looks.

mod metrics;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gantry_api_types::container::{NetworkStats, Stats};
use gantry_api_types::{Map, ZERO_TIME};
use gantry_supervisor_core::Time;

use super::Container;
use crate::{Engine, Result, clock};

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// The kernel's tick in `/proc/stat`: 100 a second on every architecture that Linux runs on today.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

impl Engine {
    /// Statistics of a container: once, or every second as long as there is a container. A container that does not run uses
    /// nothing. Without `one_shot` the first sample comes after a second, so that it has one before it.
    pub async fn container_stats(
        &self,
        reference: &str,
        stream: bool,
        one_shot: bool,
    ) -> Result<BoxStream<'static, Stats>> {
        let container = self.find(reference)?;
        if !stream {
            let first = self.sample(&container, None).await;
            let idle = !container.read(|record| record.state.status.is_running());
            let only = match one_shot || idle {
                true => first,
                false => {
                    tokio::time::sleep(PERIOD).await;
                    self.sample(&container, Some(&first)).await
                }
            };
            return Ok(stream::iter([only]).boxed());
        }
        let engine = self.me.clone();
        let samples = stream::unfold(None::<Stats>, move |before| {
            let (engine, container) = (engine.clone(), container.clone());
            async move {
                if before.is_some() {
                    tokio::time::sleep(PERIOD).await;
                }
                if *container.changes.borrow() {
                    return None;
                }
                let sample = engine.upgrade()?.sample(&container, before.as_ref()).await;
                Some((sample.clone(), Some(sample)))
            }
        });
        Ok(samples.boxed())
    }

    async fn sample(&self, container: &Arc<Container>, before: Option<&Stats>) -> Stats {
        let record = container.record();
        let (name, id) = (format!("/{}", record.name), record.id.clone());
        let idle = || Stats {
            name: name.clone(),
            id: id.clone(),
            read: ZERO_TIME.to_owned(),
            preread: ZERO_TIME.to_owned(),
            ..Stats::default()
        };
        if !record.state.status.is_running() {
            return idle();
        }
        // It may end meanwhile, or the supervisor be away: nothing is known then.
        let Ok(any) = self.services.tasks.metrics(&record.id).await else {
            return idle();
        };
        let Ok(mut stats) = metrics::read(&any, host()) else {
            return idle();
        };
        stats.name = name;
        stats.id = id;
        stats.read = clock::rfc3339(Time::now());
        stats.preread = before.map_or_else(|| ZERO_TIME.to_owned(), |before| before.read.clone());
        stats.precpu_stats = before.map(|before| before.cpu_stats.clone()).unwrap_or_default();
        if record.host.network_mode != "host" {
            let path = format!("/proc/{}/net/dev", record.state.pid);
            stats.networks = networks(&std::fs::read_to_string(path).unwrap_or_default());
        }
        stats
    }
}

/// The machine's side of a sample.
fn host() -> metrics::Host {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let (cpu_time, cpus) = processors(&stat);
    metrics::Host {
        cpu_time,
        cpus,
        memory: memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
    }
}

/// The machine's memory in bytes.
fn memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// The CPU time that the machine has had, in nanoseconds, and how many CPUs it has.
fn processors(stat: &str) -> (u64, u32) {
    let total = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .unwrap_or_default();
    // User, nice, system, idle, iowait, irq, softirq; what follows is counted in these already.
    let ticks: u64 = total
        .split_ascii_whitespace()
        .take(7)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    let cpus = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    (
        ticks.saturating_mul(NANOSECONDS_PER_TICK),
        u32::try_from(cpus).unwrap_or(1),
    )
}

/// The counters of every interface but loopback.
fn networks(dev: &str) -> Map<NetworkStats> {
    let mut networks = Map::new();
    for line in dev.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else {
            continue;
        };
        let n: Vec<u64> = counters
            .split_ascii_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        if name.trim() == "lo" || n.len() < 12 {
            continue;
        }
        let stats = NetworkStats {
            rx_bytes: n[0],
            rx_packets: n[1],
            rx_errors: n[2],
            rx_dropped: n[3],
            tx_bytes: n[8],
            tx_packets: n[9],
            tx_errors: n[10],
            tx_dropped: n[11],
        };
        networks.insert(name.trim().to_owned(), stats);
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 0 0 0\nintr 5\n";
        assert_eq!(processors(stat), (28 * NANOSECONDS_PER_TICK, 2));
        assert_eq!(processors(""), (0, 0));
        assert_eq!(memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), 16 << 10);
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n";
        let networks = networks(dev);
        assert_eq!(networks.len(), 1);
        assert_eq!((networks["eth0"].rx_bytes, networks["eth0"].tx_dropped), (10, 7));
    }
}
