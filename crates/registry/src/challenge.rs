//! The header `WWW-Authenticate`: how a registry says what it wants to see. Pure.
//!
//! ```text
//! challenges = challenge { "," challenge }
//! challenge  = scheme [ param { "," param } ]
//! param      = token "=" ( token | quoted-string )
//! ```
//!
//! Source: RFC 9110, 11.6.1.

use std::collections::BTreeMap;

/// One way to authenticate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// The parameters, their names in lower case.
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// One parameter; empty when it is not there.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The challenges of one header. What cannot be read ends the list: a registry's slip is not worth a failure while
/// something before it can be used.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = skip(header);
    while !rest.is_empty() {
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        let next = blank(after);
        // `name = value` belongs to the challenge before; a word alone begins another one.
        match (next.strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let Some((value, after)) = value_of(blank(value)) else {
                    break;
                };
                challenge
                    .parameters
                    .entry(word.to_ascii_lowercase())
                    .or_insert(value);
                rest = skip(after);
            }
            (Some(_), None) => break,
            (None, _) => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: BTreeMap::new(),
                });
                rest = skip(next);
            }
        }
    }
    challenges
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

fn token(text: &str) -> (&str, &str) {
    let part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !part(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some registries leave the quotes out around what is no token.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each case is a header, then what it means: a line for each scheme and parameter.
    #[test]
    fn cases() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/challenges");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let (header, expected) = text.split_once('\n').unwrap();
            let mut said = String::new();
            for challenge in parse(header) {
                said.push_str(&format!("{}\n", challenge.scheme));
                for (name, value) in &challenge.parameters {
                    said.push_str(&format!("  {name} = {value}\n"));
                }
            }
            assert_eq!(said, expected, "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 8, "{seen} cases");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            parse(&text);
        }

        #[test]
        fn what_is_quoted_comes_back(scheme in "[A-Za-z]{1,9}", values in prop::collection::vec("[ -~]{0,20}", 0..5)) {
            let quoted = |v: &String| v.replace('\\', "\\\\").replace('"', "\\\"");
            let parameters: Vec<String> =
                values.iter().enumerate().map(|(n, v)| format!("p{n}=\"{}\"", quoted(v))).collect();
            let parsed = parse(&format!("{scheme} {}", parameters.join(", ")));
            prop_assert_eq!(parsed.len(), 1);
            prop_assert_eq!(&parsed[0].scheme, &scheme.to_ascii_lowercase());
            for (n, value) in values.iter().enumerate() {
                prop_assert_eq!(parsed[0].parameter(&format!("p{n}")), value);
            }
        }
    }
}
