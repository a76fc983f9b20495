//! The trace of `docs/protocols.md`: one line of JSON for each thing that a small program did. Without `GANTRY_TRACE`
//! nothing is done.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// A time in UTC with nine decimals: `2006-01-02T15:04:05.000000000Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a date of the Gregorian calendar; the year begins in March.
    let z = days as i64 + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year_of_era, month + 3)
    } else {
        (year_of_era + 1, month - 9)
    };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        year + era * 400,
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds: u64, nanos: u32| rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(1_709_209_805, 500_000_000), "2024-02-29T12:30:05.500000000Z");
        assert_eq!(at(1_136_214_245, 999_999_999), "2006-01-02T15:04:05.999999999Z");
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c d");
    }
}
