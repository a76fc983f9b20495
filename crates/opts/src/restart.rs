//! `--restart no|always|unless-stopped|on-failure[:retries]`. Which policies there are is for the
//! engine to say.

use thiserror::Error;

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// How often at most; no limit if 0.
    pub retries: i64,
}

/// Why a policy cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RestartError {
    /// Nothing before the colon.
    #[error("invalid restart policy format: no policy provided before colon")]
    NoName,
    /// The number of retries is none.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    Retries,
}

/// Reads a policy.
pub fn parse(text: &str) -> Result<Policy, RestartError> {
    let (name, retries) = match text.split_once(':') {
        None => (text, 0),
        Some(("", _)) => return Err(RestartError::NoName),
        Some((name, "")) => (name, 0),
        Some((name, retries)) => (name, retries.parse().map_err(|_| RestartError::Retries)?),
    };
    Ok(Policy {
        name: name.to_owned(),
        retries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        let policy = |name: &str, retries| {
            Ok(Policy {
                name: name.to_owned(),
                retries,
            })
        };
        assert_eq!(parse("no"), policy("no", 0));
        assert_eq!(parse(""), policy("", 0));
        assert_eq!(parse("on-failure:3"), policy("on-failure", 3));
        assert_eq!(parse("on-failure:-1"), policy("on-failure", -1));
        assert_eq!(parse(":3"), Err(RestartError::NoName));
        assert_eq!(parse("on-failure:x"), Err(RestartError::Retries));
    }
}
