//! How single values are shown: ids, times, lengths. Pure but for the local time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.chars().take(12).collect()
}

/// At most `width` characters, the last of them an ellipsis if there were more.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// A text in quotes, as Go quotes it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `2006-01-02 15:04:05 -0700 MST` of seconds since 1970.
pub(crate) fn local_time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time
            .to_zoned_datetime(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S %z %Z")
            .to_string(),
        Err(_) => seconds.to_string(),
    }
}

/// `2006-01-02T15:04:05Z07:00` of seconds since 1970, with the nanoseconds if they are wanted.
pub(crate) fn rfc3339(nanoseconds: i128, fraction: bool) -> String {
    let Ok(time) = Timestamp::from_nanosecond(nanoseconds) else {
        return nanoseconds.to_string();
    };
    let zoned = time.to_zoned_datetime(TimeZone::system());
    let day = zoned.strftime(if fraction {
        "%Y-%m-%dT%H:%M:%S.%9f"
    } else {
        "%Y-%m-%dT%H:%M:%S"
    });
    let offset = match zoned.offset().seconds() {
        0 => "Z".to_owned(),
        _ => zoned.strftime("%:z").to_string(),
    };
    format!("{day}{offset}")
}

/// How long ago seconds since 1970 are, in words.
pub(crate) fn ago(seconds: i64) -> String {
    let passed = Timestamp::now().as_second().saturating_sub(seconds).max(0);
    format!("{} ago", gantry_opts::duration::human(passed.unsigned_abs()))
}

/// A point in time as the API takes it: seconds, RFC 3339, or a duration before now.
pub(crate) fn point_in_time(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    if let Ok(before) = gantry_opts::duration::parse(text) {
        let at = Timestamp::now().as_nanosecond() - i128::from(before);
        return format!(
            "{}.{:09}",
            at.div_euclid(1_000_000_000),
            at.rem_euclid(1_000_000_000)
        );
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    }
    // Without a zone it is the user's time.
    let padded = if text.contains('T') || text.contains(':') {
        text.to_owned()
    } else {
        format!("{text}T00:00:00")
    };
    if let Ok(local) = padded.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = local.to_zoned_datetime(TimeZone::system())
    {
        return format!(
            "{}.{:09}",
            zoned.timestamp().as_second(),
            zoned.timestamp().subsec_nanosecond()
        );
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_texts() {
        assert_eq!(short_id("sha256:d903f547efac4e18"), "d903f547efac");
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
        assert_eq!(quote("a \"b\"\n\u{1}"), "\"a \\\"b\\\"\\n\\x01\"");
    }

    #[test]
    fn times() {
        assert_eq!(point_in_time("2013-01-02T13:23:37Z"), "1357133017.000000000");
        assert_eq!(point_in_time("1357133017"), "1357133017");
        assert!(point_in_time("10m").contains('.'));
        assert_eq!(point_in_time(""), "");
    }
}
