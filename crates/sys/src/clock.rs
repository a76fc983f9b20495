//! Points in time as text, RFC 3339 in UTC: in records, logs and traces of the programs that are too small for a calendar's crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// A time in UTC with up to nine decimals: what [`rfc3339`] writes, and what others do. None for all else, and for what was
/// before 1970.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let (date, clock) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || fraction.len() > 9 {
        return None;
    }
    let nanos = match fraction {
        "" => 0,
        digits => digits.parse::<u32>().ok()? * 10_u32.pow(9 - digits.len() as u32),
    };
    // A date of the Gregorian calendar to days; the year begins in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let written = |seconds, nanos| rfc3339(at(seconds, nanos));
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(written(1, 0), "1970-01-01T00:00:01.000000000Z");
        assert_eq!(
            written(1_709_209_805, 500_000_000),
            "2024-02-29T12:30:05.500000000Z"
        );
        assert_eq!(
            written(1_136_214_245, 999_999_999),
            "2006-01-02T15:04:05.999999999Z"
        );
    }

    #[test]
    fn times_of_others_are_read() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(at(0, 0)));
        assert_eq!(
            parse_rfc3339("2024-02-29T12:30:05.5Z"),
            Some(at(1_709_209_805, 500_000_000))
        );
        assert_eq!(
            parse_rfc3339("2006-01-02T15:04:05.999999999Z"),
            Some(at(1_136_214_245, 999_999_999))
        );
        for bad in [
            "",
            "Z",
            "2006-13-02T15:04:05Z",
            "2006-01-02 15:04:05Z",
            "2006-01-02T15:04:05.1234567890Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_they_were_written() {
        for seconds in [
            0,
            1,
            951_782_399,
            951_782_400,
            1_709_164_800,
            1_735_689_599,
            4_102_444_800,
        ] {
            for nanos in [0, 5, 999_999_999] {
                let time = at(seconds, nanos);
                assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time), "{}", rfc3339(time));
            }
        }
    }
}
