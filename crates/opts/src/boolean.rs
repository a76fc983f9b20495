//! Truth as Go's flags read it.

use thiserror::Error;

/// The text is no truth value.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("strconv.ParseBool: parsing {0:?}: invalid syntax")]
pub struct BoolError(pub String);

/// Reads `1 t T TRUE true True` and `0 f F FALSE false False`.
pub fn parse(text: &str) -> Result<bool, BoolError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(BoolError(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        assert_eq!(parse("True"), Ok(true));
        assert_eq!(parse("0"), Ok(false));
        assert_eq!(
            parse("maybe").map_err(|e| e.to_string()),
            Err("strconv.ParseBool: parsing \"maybe\": invalid syntax".to_owned())
        );
    }
}
