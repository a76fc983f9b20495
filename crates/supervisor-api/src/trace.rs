//! Where a server's events go: people's log to stderr, and the trace (`docs/protocols.md`) to the file that
//! `GANTRY_TRACE` names.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The target of events that are lines of the trace.
const TARGET: &str = "gantry::trace";

/// Sets both up for the process. `level` is that of the log, for what the crates named `own` say.
pub fn set_up(level: &str, own: &[&str]) {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter_fn(|metadata| metadata.target() != TARGET));
    let file = std::env::var_os("GANTRY_TRACE")
        .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok())
        .map(|file| Lines { file }.with_filter(filter_fn(|metadata| metadata.target() == TARGET)));
    let trace = if file.is_some() { "info" } else { "off" };
    // Libraries are not spoken of unless they are in trouble.
    let own: String = own.iter().map(|name| format!(",{name}={level}")).collect();
    let filter = EnvFilter::new(format!("warn,{TARGET}={trace}{own}"));
    tracing_subscriber::registry()
        .with(filter)
        .with(log)
        .with(file)
        .init();
}

/// One line of JSON for each event, written by one `write`.
struct Lines {
    file: File,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut text = serde_json::json!({
            "timestamp": now(),
            "layer": line.layer,
            "pid": std::process::id(),
            "message": line.message,
        });
        if let Some(took) = line.took_us {
            text["took_us"] = took.into();
        }
        // A trace that cannot be written must not stop the engine.
        let _ = (&self.file).write_all(format!("{text}\n").as_bytes());
    }
}

/// The time in UTC with nine decimals, so that lines of all programs sort.
fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

#[derive(Default)]
struct Line {
    layer: String,
    message: String,
    took_us: Option<u64>,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "took_us" {
            self.took_us = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "layer" {
            value.clone_into(&mut self.layer);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}
