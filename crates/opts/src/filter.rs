//! `--filter name=value`. Must not know which filters there are.

use thiserror::Error;

/// A filter without a value.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid filter '{0}'")]
pub struct FilterError(pub String);

/// Reads a filter; nothing if the text is empty.
pub fn parse(text: &str) -> Result<Option<(String, String)>, FilterError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, value) = text.split_once('=').ok_or_else(|| FilterError(text.to_owned()))?;
    Ok(Some((name.trim().to_lowercase(), value.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        assert_eq!(
            parse("Label = a=b "),
            Ok(Some(("label".to_owned(), "a=b".to_owned())))
        );
        assert_eq!(parse(""), Ok(None));
        assert!(parse("foo").is_err());
    }
}
