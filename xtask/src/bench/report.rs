//! What was measured, as a table for people and as JSON. The first contender of a bench is ours; the others' ratios are
//! ours divided by theirs: below 1 is better.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::Times;

/// All rows.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    bench: String,
    name: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    /// Median of the processor time.
    cpu: Option<f64>,
    /// Ours divided by theirs; none for ours.
    ratio: Option<f64>,
    runs: usize,
}

impl Report {
    /// Adds a bench of times.
    pub(crate) fn times(&mut self, bench: &str, all: Vec<Times>) {
        let ours = all.first().map(|times| median(&milliseconds(&times.wall)));
        for (at, times) in all.iter().enumerate() {
            let wall = milliseconds(&times.wall);
            let middle = median(&wall);
            self.rows.push(Row {
                bench: bench.to_owned(),
                name: times.name.clone(),
                unit: "ms",
                median: middle,
                min: wall.iter().copied().fold(f64::INFINITY, f64::min),
                max: wall.iter().copied().fold(0.0, f64::max),
                cpu: Some(median(&milliseconds(&times.cpu))),
                ratio: ours.filter(|_| at > 0).map(|ours| ours / middle),
                runs: wall.len(),
            });
        }
    }

    /// Adds what one contender's steps took: their medians, and how long they are together.
    pub(crate) fn steps(&mut self, bench: &str, all: &[(&str, Vec<Duration>)]) {
        let all = all.iter().map(|(name, times)| (*name, milliseconds(times)));
        let mut together = Vec::new();
        for (name, times) in all {
            together.resize(times.len(), 0.0);
            for (sum, time) in together.iter_mut().zip(&times) {
                *sum += time;
            }
            self.step(bench, name, &times);
        }
        if !together.is_empty() {
            self.step(bench, "together", &together);
        }
    }

    fn step(&mut self, bench: &str, name: &str, times: &[f64]) {
        self.rows.push(Row {
            bench: bench.to_owned(),
            name: name.to_owned(),
            unit: "ms",
            median: median(times),
            min: times.iter().copied().fold(f64::INFINITY, f64::min),
            max: times.iter().copied().fold(0.0, f64::max),
            cpu: None,
            ratio: None,
            runs: times.len(),
        });
    }

    /// Adds a bench of sizes in bytes.
    pub(crate) fn sizes(&mut self, bench: &str, all: &[(&str, u64)]) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let ours = all.first().map_or(0, |(_, bytes)| *bytes);
        for (at, (name, bytes)) in all.iter().copied().enumerate() {
            self.rows.push(Row {
                bench: bench.to_owned(),
                name: name.to_owned(),
                unit: "MB",
                median: megabytes(bytes),
                min: megabytes(bytes),
                max: megabytes(bytes),
                cpu: None,
                ratio: (at > 0).then(|| ours as f64 / bytes as f64),
                runs: 1,
            });
        }
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!(
            "{:<44} {:<28} {:>12} {:>18} {:>10} {:>8}",
            "bench", "who", "median", "min … max", "cpu", "ours/it"
        );
        let mut bench = "";
        for row in &self.rows {
            let title = if row.bench == bench { "" } else { &row.bench };
            bench = &row.bench;
            let cpu = row.cpu.map(|ms| format!("{ms:.1} ms")).unwrap_or_default();
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            println!(
                "{title:<44} {:<28} {:>9.2} {} {:>8.1} … {:<7.1} {cpu:>10} {ratio:>8}",
                row.name, row.median, row.unit, row.min, row.max
            );
        }
    }

    /// Writes the JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "bench": row.bench, "name": row.name, "unit": row.unit, "median": row.median, "min": row.min,
                    "max": row.max, "cpu_ms": row.cpu, "ours_divided_by_it": row.ratio, "runs": row.runs,
                })
            })
            .collect();
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, serde_json::to_vec_pretty(&rows)?)
            .with_context(|| format!("write {}", path.display()))?;
        println!("written to {}", path.display());
        Ok(())
    }
}

fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
