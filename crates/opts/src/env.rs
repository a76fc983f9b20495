//! `--env`, `--env-file`, `--label`, `--label-file`. Must not know the environment: what a bare name
//! stands for comes in as a function, and a file as its bytes.

use thiserror::Error;

/// Why a variable or a label cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvError {
    /// A variable without a name.
    #[error("invalid environment variable: {0}")]
    Variable(String),
    /// A label without a name.
    #[error("invalid label '{0}': empty name")]
    Label(String),
    /// A line of a file.
    #[error("invalid env file ({file}): no variable name on line '{line}'")]
    NoName {
        /// The file.
        file: String,
        /// The line.
        line: String,
    },
    /// A name with white space in it.
    #[error("invalid env file ({file}): variable '{name}' contains whitespaces")]
    WhiteSpace {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// Bytes that are no UTF-8.
    #[error("invalid env file ({file}): invalid utf8 bytes at line {line}: {bytes:?}")]
    NotText {
        /// The file.
        file: String,
        /// Its number, from 1.
        line: usize,
        /// What it holds.
        bytes: Vec<u8>,
    },
}

/// Checks a variable (`NAME=value`, or `NAME`).
pub fn variable(text: &str) -> Result<String, EnvError> {
    if text.starts_with('=') || text.is_empty() {
        return Err(EnvError::Variable(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// Checks a label (`name=value`, or `name`).
pub fn label(text: &str) -> Result<String, EnvError> {
    if text.starts_with('=') || text.is_empty() {
        return Err(EnvError::Label(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// A variable with its value: a bare name takes what `lookup` gives, and stays bare if that is nothing.
pub fn complete(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    if text.contains('=') {
        return text.to_owned();
    }
    match lookup(text) {
        Some(value) => format!("{text}={value}"),
        None => text.to_owned(),
    }
}

/// The variables of a file: one a line, `#` begins a comment, a bare name is looked up and left out if
/// there is none of that name.
pub fn file(
    name: &str,
    bytes: &[u8],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, EnvError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| EnvError::NotText {
            file: name.to_owned(),
            line: number + 1,
            bytes: line.to_owned(),
        })?;
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (variable, value) = match text.split_once('=') {
            Some((variable, value)) => (variable, Some(value)),
            None => (text, None),
        };
        if variable.is_empty() {
            return Err(EnvError::NoName {
                file: name.to_owned(),
                line: text.to_owned(),
            });
        }
        if variable.contains(char::is_whitespace) {
            return Err(EnvError::WhiteSpace {
                file: name.to_owned(),
                name: variable.to_owned(),
            });
        }
        match value {
            Some(value) => out.push(format!("{variable}={value}")),
            None => out.extend(lookup(variable).map(|value| format!("{variable}={value}"))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn good() {
        let text = b"\xef\xbb\xbfA=1\r\n# comment\n\n  B= x y\nHOME\nNOPE\nC=\n";
        assert_eq!(
            file("f", text, lookup).expect("file"),
            ["A=1", "B= x y", "HOME=/root", "C="]
        );
        assert_eq!(complete("HOME", lookup), "HOME=/root");
        assert_eq!(complete("NOPE", lookup), "NOPE");
        assert_eq!(complete("A==b", lookup), "A==b");
    }

    #[test]
    fn bad() {
        for (text, message) in [
            (&b"=x"[..], "invalid env file (f): no variable name on line '=x'"),
            (
                b"A B=x",
                "invalid env file (f): variable 'A B' contains whitespaces",
            ),
            (
                b"ok=1\n\xff",
                "invalid env file (f): invalid utf8 bytes at line 2: [255]",
            ),
        ] {
            assert_eq!(
                file("f", text, lookup).map_err(|e| e.to_string()),
                Err(message.to_owned())
            );
        }
        assert_eq!(
            variable("=a").expect_err("bad").to_string(),
            "invalid environment variable: =a"
        );
        assert_eq!(
            label("=a").expect_err("bad").to_string(),
            "invalid label '=a': empty name"
        );
    }
}
