//! `--ulimit name=soft[:hard]`.
//! Must not know the kernel's numbers of the resources.

use std::fmt;

use thiserror::Error;

/// A limit of a resource; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The resource in lower case: `nofile`.
    pub name: String,
    /// The soft limit.
    pub soft: i64,
    /// The hard limit.
    pub hard: i64,
}

/// Why a text is no ulimit.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UlimitError {
    /// There is no `=`.
    #[error("invalid ulimit argument: {0}")]
    Argument(String),
    /// The resource does not exist.
    #[error("invalid ulimit type: {0}")]
    Type(String),
    /// More than `soft:hard`.
    #[error("too many limit value arguments - {0}, can only have up to two, `soft[:hard]`")]
    TooMany(String),
    /// A limit that is not a whole number.
    #[error("strconv.ParseInt: parsing \"{0}\": invalid syntax")]
    Number(String),
    /// The soft limit is none, the hard limit is one.
    #[error("ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {0}")]
    SoftUnlimited(i64),
    /// The soft limit lies above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {0} > {1}")]
    SoftAboveHard(i64, i64),
}

/// The resources that can be limited.
pub const NAMES: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `name=soft[:hard]`.
pub fn parse(text: &str) -> Result<Ulimit, UlimitError> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| UlimitError::Argument(text.to_owned()))?;
    if !NAMES.contains(&name) {
        return Err(UlimitError::Type(name.to_owned()));
    }
    let number = |s: &str| s.parse::<i64>().map_err(|_| UlimitError::Number(s.to_owned()));
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => return Err(UlimitError::TooMany(values.to_owned())),
    };
    if hard != -1 && soft == -1 {
        return Err(UlimitError::SoftUnlimited(hard));
    }
    if hard != -1 && soft > hard {
        return Err(UlimitError::SoftAboveHard(soft, hard));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, soft, hard) in [
            ("nofile=512:1024", 512, 1024),
            ("nofile=1024", 1024, 1024),
            ("core=-1", -1, -1),
            ("cpu=5:-1", 5, -1),
            ("core=0", 0, 0),
        ] {
            let limit = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((limit.soft, limit.hard), (soft, hard));
        }
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("foo=1", "invalid ulimit type: foo"),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            ("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            (
                "nofile=3:2",
                "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
            ),
            (
                "nofile=-1:2",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 2",
            ),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
    }
}
