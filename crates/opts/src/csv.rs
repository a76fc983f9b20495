//! One record of comma-separated values as Go's `encoding/csv` reads it: a field may stand in double
//! quotes, in which two of them mean one.

use thiserror::Error;

/// Why a record cannot be read, in Go's words.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CsvError {
    /// Nothing is there.
    #[error("EOF")]
    Empty,
    /// A quote in the middle of a field without quotes.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted-field")]
    BareQuote(usize),
    /// A quoted field does not end, or goes on after its quote.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// The fields of a record.
pub fn fields(text: &str) -> Result<Vec<String>, CsvError> {
    if text.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let at = text.len() - rest.len();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut left = quoted;
            loop {
                let end = left.find('"').ok_or(CsvError::Quote(text.len() + 1))?;
                field.push_str(&left[..end]);
                left = &left[end + 1..];
                match left.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        left = more;
                    }
                    None => break,
                }
            }
            fields.push(field);
            match left.strip_prefix(',') {
                Some(more) => rest = more,
                None if left.is_empty() => return Ok(fields),
                None => return Err(CsvError::Quote(text.len() - left.len())),
            }
            continue;
        }
        let end = rest.find(',');
        let field = &rest[..end.unwrap_or(rest.len())];
        if let Some(quote) = field.find('"') {
            return Err(CsvError::BareQuote(at + quote + 1));
        }
        fields.push(field.to_owned());
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        assert_eq!(fields("a,b=c,").expect("csv"), ["a", "b=c", ""]);
        assert_eq!(fields("\"a,b\",c").expect("csv"), ["a,b", "c"]);
        assert_eq!(fields("\"a\"\"b\"").expect("csv"), ["a\"b"]);
    }

    #[test]
    fn bad() {
        assert_eq!(fields(""), Err(CsvError::Empty));
        assert_eq!(fields("a\"b"), Err(CsvError::BareQuote(2)));
        assert!(matches!(fields("\"a"), Err(CsvError::Quote(_))));
        assert!(matches!(fields("\"a\"b"), Err(CsvError::Quote(_))));
    }
}
