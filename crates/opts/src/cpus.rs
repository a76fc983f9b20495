//! `--cpus`: a rational number of processors, in billionths.

use thiserror::Error;

/// Why a number of processors cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpusError {
    /// No rational number.
    #[error("failed to parse {0} as a rational number")]
    Number(String),
    /// Finer than a billionth.
    #[error("value is too precise")]
    TooPrecise,
}

const BILLION: i128 = 1_000_000_000;

/// Reads `1.5`, `.5`, `2` or `1/2`; the result is in billionths of a processor.
pub fn parse(text: &str) -> Result<i64, CpusError> {
    let bad = || CpusError::Number(text.to_owned());
    let (numerator, denominator) = match text.split_once('/') {
        Some((a, b)) => {
            let (a, b) = (decimal(a).ok_or_else(bad)?, decimal(b).ok_or_else(bad)?);
            // Go takes whole numbers on both sides of the stroke.
            if a.1 != 1 || b.1 != 1 || b.0 <= 0 {
                return Err(bad());
            }
            (a.0, b.0)
        }
        None => decimal(text).ok_or_else(bad)?,
    };
    let scaled = numerator.checked_mul(BILLION).ok_or_else(bad)?;
    if scaled % denominator != 0 {
        return Err(CpusError::TooPrecise);
    }
    i64::try_from(scaled / denominator).map_err(|_| bad())
}

fn decimal(text: &str) -> Option<(i128, i128)> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > 24 || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all.parse().ok()?;
    Some((sign * value, 10_i128.pow(fraction.len() as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, billionths) in [
            ("1.5", 1_500_000_000),
            ("2", 2_000_000_000),
            (".5", 500_000_000),
            ("1/2", 500_000_000),
            ("0.000000001", 1),
            ("0", 0),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(billionths), "{text}");
        }
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("abc", "failed to parse abc as a rational number"),
            ("", "failed to parse  as a rational number"),
            ("1/0", "failed to parse 1/0 as a rational number"),
            ("1.23456789012", "value is too precise"),
            ("1/3", "value is too precise"),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
    }
}
