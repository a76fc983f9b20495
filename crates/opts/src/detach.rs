//! `--detach-keys`: a sequence of keys that detaches, and the search for it in what is typed.
//! Must not know terminals.

use thiserror::Error;

/// A key that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("Unknown character: '{0}'")]
pub struct KeyError(pub String);

/// The sequence that detaches unless another one is given.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes of a sequence: keys joined by commas, each one character, `DEL`, or `ctrl-` with a letter
/// or one of `@[\]^_`.
pub fn parse(text: &str) -> Result<Vec<u8>, KeyError> {
    text.split(',').map(key).collect()
}

fn key(name: &str) -> Result<u8, KeyError> {
    let bad = || KeyError(name.to_owned());
    if let [byte] = name.as_bytes() {
        return Ok(*byte);
    }
    if name.eq_ignore_ascii_case("del") {
        return Ok(127);
    }
    let control = name.to_ascii_lowercase();
    match control.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some(b"@") => Ok(0),
        Some([mark @ b'['..=b'_']) => Ok(mark - b'[' + 27),
        _ => Err(bad()),
    }
}

/// Looks for the sequence in what is typed, and holds back what may be its beginning.
#[derive(Clone, Debug)]
pub struct Scanner {
    keys: Vec<u8>,
    matched: usize,
}

impl Scanner {
    /// A scanner for a sequence; an empty one never detaches.
    pub fn new(keys: Vec<u8>) -> Self {
        Scanner { keys, matched: 0 }
    }

    /// Takes what was typed. Gives what goes on to the process, and whether the sequence is complete
    /// (what follows it is dropped).
    pub fn scan(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len() + self.matched);
        for &byte in typed {
            if self.keys.is_empty() {
                out.push(byte);
                continue;
            }
            if byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (out, true);
                }
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, bytes) in [
            (DEFAULT, &[16, 17][..]),
            ("a", b"a"),
            (
                "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_",
                &[0, 27, 28, 29, 30, 31],
            ),
            ("DEL,a", &[127, b'a']),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad() {
        for text in ["zz", "ctrl-", "ctrl-1", "a,,b", "", "alt-a"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("zz").expect_err("zz").to_string(),
            "Unknown character: 'zz'"
        );
    }

    #[test]
    fn the_sequence_is_found_across_reads() {
        let mut scanner = Scanner::new(vec![16, 17]);
        assert_eq!(scanner.scan(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(scanner.scan(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(scanner.scan(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(scanner.scan(b"\x11rest"), (vec![], true));
        let mut never = Scanner::new(vec![]);
        assert_eq!(never.scan(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
