//! Signal names and numbers of Linux, with the real-time ones (`RTMIN+3`).
//! Must not send any.

use thiserror::Error;

/// A name or number that is no signal.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid signal: {0}")]
pub struct InvalidSignal(pub String);

/// The first real-time signal that programs may use (glibc keeps 32 and 33).
pub const RTMIN: i32 = 34;
/// The last real-time signal.
pub const RTMAX: i32 = 64;

const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

/// The number of a signal given as `15`, `TERM`, `SIGTERM`, `sigterm` or `RTMIN+3`.
pub fn parse(text: &str) -> Result<i32, InvalidSignal> {
    let invalid = || InvalidSignal(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |digits: &str| -> Option<i32> {
        (!digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    };
    let number = match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(digits), _) => offset(digits).map(|n| RTMIN + n),
            (_, Some(digits)) => offset(digits).map(|n| RTMAX - n),
            _ => None,
        },
    };
    number.filter(|n| (RTMIN..=RTMAX).contains(n)).ok_or_else(invalid)
}

/// The name of a signal without `SIG`, such as `TERM` or `RTMIN+3`; `None` for a number that has none.
pub fn name(number: i32) -> Option<String> {
    if let Some((name, _)) = NAMES.iter().find(|(_, n)| *n == number) {
        return Some((*name).to_owned());
    }
    match number {
        RTMIN => Some("RTMIN".to_owned()),
        RTMAX => Some("RTMAX".to_owned()),
        35..=49 => Some(format!("RTMIN+{}", number - RTMIN)),
        50..=63 => Some(format!("RTMAX-{}", RTMAX - number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, number) in [
            ("15", 15),
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("RTMAX", 64),
            ("64", 64),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn bad() {
        for text in [
            "", "0", "65", "-1", "SIGFOO", "RTMIN+31", "RTMIN+", "RTMAX-31", "RTMIN+x", "SIG",
        ] {
            assert_eq!(
                parse(text).map_err(|e| e.to_string()),
                Err(format!("invalid signal: {text}"))
            );
        }
    }

    #[test]
    fn names_read_back() {
        for number in (1..=64).filter(|n| !(32..=33).contains(n)) {
            let name = name(number).unwrap_or_else(|| panic!("no name for {number}"));
            assert_eq!(parse(&name), Ok(number));
            assert_eq!(parse(&format!("SIG{name}")), Ok(number));
        }
    }
}
