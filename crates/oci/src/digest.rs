//! Digests: an algorithm and a hash in hex, validated. Nothing is hashed here.
//!
//! Source: <https://github.com/opencontainers/image-spec>, `descriptor.md`, "Digests".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The algorithms that the specification registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// 64 hex digits.
    Sha256,
    /// 96 hex digits.
    Sha384,
    /// 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hex digits its hash has.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It has no colon, or other characters than lower-case hex after it.
    #[error("invalid checksum digest format")]
    Format,
    /// The hash has another length than the algorithm's.
    #[error("invalid checksum digest length")]
    Length,
    /// The algorithm is not known.
    #[error("unsupported digest algorithm")]
    Algorithm,
}

/// A valid digest, `sha256:…`.
///
/// Ordering is that of the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// From an algorithm and a hash in lower-case hex.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, ParseError> {
        format!("{}:{hex}", algorithm.as_str()).parse()
    }

    /// From the 32 bytes of a SHA-256 hash.
    pub fn from_sha256(hash: &[u8; 32]) -> Self {
        Self(format!("sha256:{}", to_hex(hash)))
    }

    /// From the 48 bytes of a SHA-384 hash.
    pub fn from_sha384(hash: &[u8; 48]) -> Self {
        Self(format!("sha384:{}", to_hex(hash)))
    }

    /// From the 64 bytes of a SHA-512 hash.
    pub fn from_sha512(hash: &[u8; 64]) -> Self {
        Self(format!("sha512:{}", to_hex(hash)))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.split_once(':') {
            Some(("sha384", _)) => Algorithm::Sha384,
            Some(("sha512", _)) => Algorithm::Sha512,
            _ => Algorithm::Sha256,
        }
    }

    /// The hash in hex.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }
}

/// Bytes in lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, hex) = text.split_once(':').ok_or(ParseError::Format)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ if is_algorithm_name(name) && !hex.is_empty() => return Err(ParseError::Algorithm),
            _ => return Err(ParseError::Format),
        };
        if hex.len() != algorithm.hex_len() {
            return Err(if hex.is_empty() {
                ParseError::Format
            } else {
                ParseError::Length
            });
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseError::Format);
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_algorithm_name(name: &str) -> bool {
    name.split(['-', '_', '+', '.'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

impl TryFrom<String> for Digest {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        let hex = "a".repeat(64);
        let good = format!("sha256:{hex}");
        let digest: Digest = good.parse().expect("good");
        assert_eq!(
            (digest.algorithm(), digest.hex(), digest.as_str()),
            (Algorithm::Sha256, &*hex, &*good)
        );
        for (algorithm, len) in [(Algorithm::Sha384, 96), (Algorithm::Sha512, 128)] {
            let digest = Digest::new(algorithm, &"0".repeat(len)).expect("good");
            assert_eq!(digest.algorithm(), algorithm);
        }
        for (text, error) in [
            ("", ParseError::Format),
            ("sha256", ParseError::Format),
            ("sha256:", ParseError::Format),
            (":abc", ParseError::Format),
            ("sha256:abc", ParseError::Length),
            (&format!("sha256:{}", "A".repeat(64)), ParseError::Format),
            (&format!("sha256:{}", "g".repeat(64)), ParseError::Format),
            (&format!("md5:{}", "a".repeat(32)), ParseError::Algorithm),
            (&format!("sha256:{hex}b"), ParseError::Length),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
        assert_eq!(
            Digest::from_sha256(&[0xab; 32]).as_str(),
            format!("sha256:{}", "ab".repeat(32))
        );
    }
}
