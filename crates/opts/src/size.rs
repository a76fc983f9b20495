//! Sizes as Docker's units library reads and prints them: `512m`, `1.5g`, `1.23MB`, `4KiB`.
//! Must not know what is being measured.

use thiserror::Error;

/// Why a text is no size.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// There is no number in it, or it is negative.
    #[error("invalid size: '{0}'")]
    Invalid(String),
    /// The number in front of the unit cannot be read.
    #[error("strconv.ParseFloat: parsing \"{0}\": invalid syntax")]
    Number(String),
    /// The unit is unknown.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
}

/// Reads a size whose units are powers of 1024: `512m` is 536,870,912 bytes.
pub fn ram_in_bytes(text: &str) -> Result<i64, SizeError> {
    parse(text, 1024.0)
}

/// Reads a size whose units are powers of 1000: `1kB` is 1000 bytes.
pub fn from_human(text: &str) -> Result<i64, SizeError> {
    parse(text, 1000.0)
}

/// Reads `--memory-swap`: `-1` for no limit, else as [`ram_in_bytes`].
pub fn memory_swap(text: &str) -> Result<i64, SizeError> {
    if text == "-1" { Ok(-1) } else { ram_in_bytes(text) }
}

fn parse(text: &str, base: f64) -> Result<i64, SizeError> {
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(|| SizeError::Invalid(text.to_owned()))?;
    let (number, suffix) = if text.as_bytes()[last] == b' ' {
        (&text[..last], &text[last + 1..])
    } else {
        (&text[..=last], &text[last + 1..])
    };
    // `inf` and `nan` end in a letter and so never come here alone; whitespace is no number either.
    let value: f64 = number.parse().map_err(|_| SizeError::Number(number.to_owned()))?;
    if value < 0.0 || !value.is_finite() {
        return Err(SizeError::Invalid(text.to_owned()));
    }
    let unit = suffix.to_lowercase();
    let bad = || {
        SizeError::Suffix(if suffix.len() > 3 {
            suffix.to_owned()
        } else {
            unit.clone()
        })
    };
    let power = match unit.as_bytes() {
        [] | [b'b'] => 0,
        [_, b'i', b'b'] | [_, b'b'] | [_] => match unit.as_bytes()[0] {
            b'k' => 1,
            b'm' => 2,
            b'g' => 3,
            b't' => 4,
            b'p' => 5,
            _ => return Err(bad()),
        },
        _ => return Err(bad()),
    };
    Ok((value * base.powi(power)) as i64)
}

/// A size in decimal units with four significant digits, as `docker info` prints: `16.42GB`.
pub fn human(bytes: f64) -> String {
    human_with_precision(bytes, 4)
}

/// A size in decimal units, as `docker images` (three digits): `1.23MB`.
pub fn human_with_precision(bytes: f64, digits: usize) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
        digits,
    )
}

/// A size in binary units with four significant digits, as `docker stats` prints: `1.5GiB`.
pub fn binary(bytes: f64) -> String {
    scaled(
        bytes,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
        4,
    )
}

fn scaled(mut value: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// C's `%.<digits>g` for numbers that are not negative.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("32 MB", 32 << 20),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("0", 0),
            (".5k", 512),
            ("32.3", 32),
        ] {
            assert_eq!(ram_in_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(from_human("1.5MB"), Ok(1_500_000));
        assert_eq!(memory_swap("-1"), Ok(-1));
        assert_eq!(memory_swap("1g"), Ok(1 << 30));
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("", "invalid size: ''"),
            ("hello", "invalid size: 'hello'"),
            ("-32", "invalid size: '-32'"),
            ("32mm", "invalid suffix: 'mm'"),
            ("32bb", "invalid suffix: 'bb'"),
            ("32kbytes", "invalid suffix: 'kbytes'"),
            ("32x", "invalid suffix: 'x'"),
            (" 32 ", "strconv.ParseFloat: parsing \" 32\": invalid syntax"),
            ("1..2", "strconv.ParseFloat: parsing \"1..2\": invalid syntax"),
        ] {
            assert_eq!(
                ram_in_bytes(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn printed() {
        for (bytes, text) in [
            (0.0, "0B"),
            (1000.0, "1kB"),
            (1024.0, "1.02kB"),
            (1_234_567.0, "1.23MB"),
            (4_263_000.0, "4.26MB"),
            (999.0, "999B"),
            (123_456_789.0, "123MB"),
        ] {
            assert_eq!(human_with_precision(bytes, 3), text);
        }
        assert_eq!(human(1_073_741_824.0), "1.074GB");
        assert_eq!(binary(1_610_612_736.0), "1.5GiB");
        assert_eq!(binary(0.0), "0B");
    }
}
