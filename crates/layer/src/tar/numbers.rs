//! The numbers of tar: octal, base 256, and PAX's decimals. Knows no header.

use super::Time;

/// Text up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number of a header: base 256 when its first bit is set, else octal; blank is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn base256(field: &[u8]) -> Option<i64> {
    // Two's complement in all bits but the first, which only marks the form.
    let negative = field[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = match at {
            0 if negative => byte | 0x80,
            0 => byte & 0x7f,
            _ => *byte,
        };
        value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(value)
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = text(&field[start..]);
    let end = digits.iter().rposition(|b| !blank(b)).map_or(0, |at| at + 1);
    let mut value: i64 = 0;
    for digit in &digits[..end] {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 8)?;
        value = value.checked_mul(8)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

/// A whole number in decimal, as PAX has it.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes()
        .all(|b| b.is_ascii_digit() || b == b'-')
        .then(|| text.parse().ok())?
}

/// A time in decimal, with as many digits after the point as there are; what is below a nanosecond is dropped.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let negative = whole.first() == Some(&b'-');
    let mut seconds = if whole.is_empty() || whole == b"-" {
        0
    } else {
        decimal(whole)?
    };
    let mut nanoseconds = 0;
    for at in 0..9 {
        nanoseconds = nanoseconds * 10 + u32::from(fraction.get(at).map_or(0, |d| d - b'0'));
    }
    if negative && nanoseconds > 0 {
        (seconds, nanoseconds) = (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds);
    }
    Some(Time { seconds, nanoseconds })
}
