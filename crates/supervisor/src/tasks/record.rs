//! `exit.json`, as in `docs/protocols.md`: how a container's first process ended. Knows nothing else of bundles.

use std::fs;
use std::io;
use std::path::Path;

use gantry_supervisor_core::Time;
use gantry_supervisor_core::event::wire::Timestamp;
use gantry_supervisor_core::task::Exit;

#[derive(serde::Deserialize, serde::Serialize)]
struct ExitRecord {
    version: u32,
    pid: u32,
    exit_status: u32,
    exited_at: String,
}

/// What is recorded.
pub(super) fn read(bundle: &Path) -> Option<Exit> {
    let text = fs::read(bundle.join("exit.json")).ok()?;
    let record: ExitRecord = serde_json::from_slice(&text).ok()?;
    if record.version != 1 {
        return None;
    }
    let exited_at = parse_time(&record.exited_at)?;
    Some(Exit {
        pid: record.pid,
        exit_status: record.exit_status,
        exited_at,
    })
}

/// Records an end, if there is no record: shims of others write none. Not for a crash of the machine, after which there is
/// no container.
pub(super) fn keep(bundle: &Path, exit: &Exit) -> io::Result<()> {
    let (temporary, path) = (bundle.join(".exit.json"), bundle.join("exit.json"));
    if path.exists() {
        return Ok(());
    }
    let record = ExitRecord {
        version: 1,
        pid: exit.pid,
        exit_status: exit.exit_status,
        exited_at: format_time(exit.exited_at),
    };
    fs::write(&temporary, serde_json::to_vec(&record)?)?;
    fs::rename(temporary, path)
}

/// RFC 3339 in UTC with nine decimals.
fn format_time(time: Time) -> String {
    let Timestamp { seconds, nanos } = time.into();
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The date of a day since the epoch in the Gregorian calendar; the year begins in March.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month < 10 {
        true => (era * 400 + year, month + 3),
        false => (era * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// RFC 3339 in UTC with up to nine decimals (`2006-01-02T15:04:05.999999999Z`).
fn parse_time(text: &str) -> Option<Time> {
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
        digits => digits.parse::<i32>().ok()? * 10_i32.pow(9 - digits.len() as u32),
    };
    // Days since the epoch of a date of the Gregorian calendar; the year begins in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp { seconds, nanos }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(Time(0)));
        assert_eq!(
            parse_time("2024-02-29T12:30:05.5Z"),
            Some(Time(1_709_209_805_500_000_000))
        );
        assert_eq!(
            parse_time("2006-01-02T15:04:05.999999999Z"),
            Some(Time(1_136_214_245_999_999_999))
        );
        for bad in [
            "",
            "Z",
            "2006-13-02T15:04:05Z",
            "2006-01-02 15:04:05Z",
            "2006-01-02T15:04:05.1234567890Z",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for seconds in [
            0,
            1,
            951_782_399,
            951_782_400,
            1_709_164_800,
            1_735_689_599,
            4_102_444_800_i64,
        ] {
            for nanos in [0, 5, 999_999_999] {
                let time = Time(i128::from(seconds) * 1_000_000_000 + nanos);
                assert_eq!(
                    parse_time(&format_time(time)),
                    Some(time),
                    "{}",
                    format_time(time)
                );
            }
        }
        assert_eq!(format_time(Time(1_000_000_000)), "1970-01-01T00:00:01.000000000Z");
    }

    #[test]
    fn the_first_record_holds() {
        let dir = tempfile::tempdir().unwrap();
        let exit = |exit_status| Exit {
            pid: 5,
            exit_status,
            exited_at: Time(1_700_000_000_123_456_789),
        };
        assert_eq!(read(dir.path()), None);
        keep(dir.path(), &exit(42)).unwrap();
        keep(dir.path(), &exit(137)).unwrap();
        assert_eq!(read(dir.path()), Some(exit(42)));
    }
}
