//! Times in the API's spellings: RFC 3339 with nanoseconds, and the stamps that `since` and `until` take.

use gantry_supervisor_core::Time;
use jiff::Timestamp;

fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_nanosecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// RFC 3339, fraction as short as it may be: Go's `RFC3339Nano`.
pub(crate) fn rfc3339(time: Time) -> String {
    let stamp = timestamp(time);
    let base = jiff::tz::TimeZone::UTC.to_datetime(stamp);
    let mut text = base.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let nanos = stamp.subsec_nanosecond();
    if nanos != 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// RFC 3339 with all nine digits, as `logs --timestamps` and `stats` print.
pub(crate) fn rfc3339_fixed(time: Time) -> String {
    let stamp = timestamp(time);
    let base = jiff::tz::TimeZone::UTC.to_datetime(stamp);
    format!(
        "{}.{:09}Z",
        base.strftime("%Y-%m-%dT%H:%M:%S"),
        stamp.subsec_nanosecond()
    )
}

/// The time of an RFC 3339 text.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(|t| Time(t.as_nanosecond()))
}

/// `since` and `until`: seconds with up to nine digits of fraction, or RFC 3339. `None` for what is neither.
pub(crate) fn parse_stamp(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: Option<i128> = seconds.parse::<i64>().ok().map(i128::from);
    match number {
        Some(seconds) if fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
            Some(Time(seconds * 1_000_000_000 + nanos))
        }
        _ => parse_rfc3339(text),
    }
}

/// What `until` of a filter takes: a stamp, or a duration that counts back from now.
pub(crate) fn parse_until(text: &str) -> Option<Time> {
    let back = || {
        gantry_opts::duration::parse(text)
            .ok()
            .map(|nanoseconds| Time(Time::now().0 - i128::from(nanoseconds)))
    };
    parse_stamp(text).or_else(back)
}

/// Seconds since the epoch.
pub(crate) fn seconds(time: Time) -> i64 {
    i64::try_from(time.0.div_euclid(1_000_000_000)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let time = Time(1_136_214_245_120_000_000);
        assert_eq!(rfc3339(time), "2006-01-02T15:04:05.12Z");
        assert_eq!(rfc3339_fixed(time), "2006-01-02T15:04:05.120000000Z");
        assert_eq!(rfc3339(Time(0)), "1970-01-01T00:00:00Z");
        assert_eq!(parse_rfc3339("2006-01-02T15:04:05.12Z"), Some(time));
        assert_eq!(parse_stamp("1136214245.12"), Some(time));
        assert_eq!(parse_stamp("2006-01-02T16:04:05.12+01:00"), Some(time));
        assert_eq!(parse_stamp("1136214245"), Some(Time(1_136_214_245_000_000_000)));
        for bad in ["", "x", "1.x", "1.1234567890"] {
            assert_eq!(parse_stamp(bad), None, "{bad}");
        }
    }
}
