//! `stats`.

use std::time::Duration;

use futures_util::future::join_all;
use gantry_api_types::container::Stats;
use gantry_client::{Client, ListOptions};
use gantry_opts::size;

use crate::args::container::Stats as Args;
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;
use crate::format::list::{Kind, Row, WRONG, render};
use crate::terminal;
use crate::text::short_id;

const HEADERS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// Runs it.
pub(crate) async fn run(context: &Context, args: Args) -> Outcome {
    let mut format = args.format.clone();
    if format.is_empty() {
        format = context.config().stats_format;
    }
    loop {
        let names = match args.containers.is_empty() {
            false => args.containers.clone(),
            true => {
                let options = ListOptions {
                    all: args.all,
                    ..ListOptions::default()
                };
                let list = context.client.container_list(&options).await?;
                list.into_iter().map(|c| c.id).collect()
            }
        };
        // One that ends meanwhile has no figures; the others have theirs all the same.
        let samples = join_all(names.iter().map(|name| sample(&context.client, name))).await;
        let mut rows = Vec::new();
        for (name, sample) in names.iter().zip(samples) {
            match sample {
                Ok(stats) => rows.push(row(name, &stats, args.no_trunc)),
                Err(error) if !args.containers.is_empty() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let kind = Kind {
            table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
                .to_owned(),
            headers: HEADERS,
            context: "statsContext",
            wrong: WRONG,
        };
        let text = render(&kind, &format, &rows)?;
        if args.no_stream {
            console::text(&text);
            return Ok(());
        }
        let clear = if terminal::is_output() { "\x1b[H\x1b[J" } else { "" };
        console::text(&format!("{clear}{text}"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn sample(client: &Client, name: &str) -> gantry_client::Result<Stats> {
    let mut stats = client.container_stats(name, false).await?;
    Ok(stats.next().await?.unwrap_or_default())
}

fn row(name: &str, stats: &Stats, whole: bool) -> Row {
    let bytes = |n: u64| size::human_with_precision(n as f64, 3);
    let memory = memory_used(stats);
    let limit = stats.memory_stats.limit;
    let share = if limit == 0 {
        0.0
    } else {
        memory as f64 / limit as f64 * 100.0
    };
    let (received, sent) = stats
        .networks
        .values()
        .fold((0, 0), |(r, s), n| (r + n.rx_bytes, s + n.tx_bytes));
    let of = |op: &str| -> u64 {
        let entries = stats.blkio_stats.io_service_bytes_recursive.iter();
        entries
            .filter(|e| e.op.eq_ignore_ascii_case(op))
            .map(|e| e.value)
            .sum()
    };
    let id = if whole {
        stats.id.clone()
    } else {
        short_id(&stats.id)
    };
    Row::default()
        .with("Container", name)
        .with("Name", stats.name.trim_start_matches('/'))
        .with("ID", id)
        .with("CPUPerc", format!("{:.2}%", cpu_percent(stats)))
        .with(
            "MemUsage",
            format!("{} / {}", size::binary(memory as f64), size::binary(limit as f64)),
        )
        .with("MemPerc", format!("{share:.2}%"))
        .with("NetIO", format!("{} / {}", bytes(received), bytes(sent)))
        .with(
            "BlockIO",
            format!("{} / {}", bytes(of("read")), bytes(of("write"))),
        )
        .with("PIDs", stats.pids_stats.current.to_string())
}

fn cpu_percent(stats: &Stats) -> f64 {
    let used = stats.cpu_stats.cpu_usage.total_usage as f64 - stats.precpu_stats.cpu_usage.total_usage as f64;
    let system = stats.cpu_stats.system_cpu_usage as f64 - stats.precpu_stats.system_cpu_usage as f64;
    let cpus = match stats.cpu_stats.online_cpus {
        0 => stats.cpu_stats.cpu_usage.percpu_usage.len() as f64,
        n => f64::from(n),
    };
    if system > 0.0 && used > 0.0 {
        used / system * cpus * 100.0
    } else {
        0.0
    }
}

/// Without what the kernel would give back at once.
fn memory_used(stats: &Stats) -> u64 {
    let memory = &stats.memory_stats;
    let cache = memory
        .stats
        .get("total_inactive_file")
        .or_else(|| memory.stats.get("inactive_file"));
    match cache {
        Some(cache) if *cache < memory.usage => memory.usage - cache,
        _ => memory.usage,
    }
}
