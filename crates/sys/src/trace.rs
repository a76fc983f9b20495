//! The trace of `docs/protocols.md`: one line of JSON for each thing that a small program did. Without `GANTRY_TRACE`
//! nothing is done.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::clock::rfc3339;

/// Appends one line.
pub fn line(layer: &str, message: &str, took: Option<Duration>) {
    let Some(path) = std::env::var_os("GANTRY_TRACE") else {
        return;
    };
    let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) else {
        return;
    };
    let took = took
        .map(|took| format!(",\"took_us\":{}", took.as_micros()))
        .unwrap_or_default();
    let line = format!(
        "{{\"timestamp\":\"{}\",\"layer\":\"{layer}\",\"pid\":{},\"message\":\"{}\"{took}}}\n",
        rfc3339(SystemTime::now()),
        std::process::id(),
        escape(message)
    );
    // What cannot be traced is not worth failing for.
    let _ = file.write_all(line.as_bytes());
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c d");
    }
}
