//! containerd's filter language: `name==redis,labels."com.example/a"~=^x`. A comma is "and"; a list of filters is "or";
//! a field alone asks for its presence. White space between the words means nothing. Knows nothing of the objects but what [`Fields`] tells.
//!
//! `~=` takes a regular expression. What is understood of it is what clients send: literals, `^`, `$`, `.`, `*`, `+`,
//! `?`, `|`, groups, classes and `\` before a character; see [`pattern`].

pub mod pattern;

use pattern::Pattern;

use crate::{Error, Result};

/// An object that filters look at.
pub trait Fields {
    /// The value of a field by its path, for example `["labels", "com.example/a"]`; `None` when it has none.
    fn field(&self, path: &[String]) -> Option<String>;
}

impl<F: Fn(&[String]) -> Option<String>> Fields for F {
    fn field(&self, path: &[String]) -> Option<String> {
        self(path)
    }
}

/// A list of filters, any of which must match. Without any, everything matches.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<Vec<Selector>>);

#[derive(Clone, Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Pattern),
}

impl Filters {
    /// Reads a list of filters. `InvalidArgument` names the filter and where it fails.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<Self> {
        filters
            .iter()
            .map(|f| parse_one(f.as_ref()))
            .collect::<Result<Vec<_>>>()
            .map(Self)
    }

    /// Whether any of them matches.
    pub fn matches(&self, object: &dyn Fields) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|all| all.iter().all(|selector| selector.matches(object)))
    }
}

impl Selector {
    fn matches(&self, object: &dyn Fields) -> bool {
        let value = object.field(&self.path);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(want) => value.as_ref() == Some(want),
            Test::NotEqual(want) => value.as_ref() != Some(want),
            Test::Matches(pattern) => pattern.is_match(&value.unwrap_or_default()),
        }
    }
}

/// Reads one filter. An empty one matches everything.
fn parse_one(text: &str) -> Result<Vec<Selector>> {
    let mut reader = Reader { text, at: 0 };
    let mut selectors = Vec::new();
    if text.is_empty() {
        return Ok(selectors);
    }
    loop {
        selectors.push(reader.selector()?);
        reader.skip();
        match reader.peek() {
            None => return Ok(selectors),
            Some(',') => reader.bump(),
            Some(c) => return Err(reader.error(format!("expected separator, found {c:?}"))),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// Goes on to the next word.
    fn skip(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::invalid(format!(
            "parse error: filters: [{}] at {}: {why}",
            self.text, self.at
        ))
    }

    fn selector(&mut self) -> Result<Selector> {
        let mut path = vec![self.field()?];
        self.skip();
        while self.peek() == Some('.') {
            self.bump();
            path.push(self.field()?);
            self.skip();
        }
        let operator = match self.rest().as_bytes() {
            [b'=', b'=', ..] => "==",
            [b'!', b'=', ..] => "!=",
            [b'~', b'=', ..] => "~=",
            [] | [b',', ..] => {
                return Ok(Selector {
                    path,
                    test: Test::Present,
                });
            }
            _ => return Err(self.error("unsupported operator")),
        };
        self.at += 2;
        let value = self.value(operator == "~=")?;
        let test = match operator {
            "==" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            _ => Test::Matches(Pattern::parse(&value).map_err(|why| self.error(why))?),
        };
        Ok(Selector { path, test })
    }

    fn field(&mut self) -> Result<String> {
        self.skip();
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let mut end = 0;
        for c in self.rest().chars() {
            if !(c.is_alphanumeric() || c == '_' || (c == '-' && end > 0)) {
                break;
            }
            end += c.len_utf8();
        }
        if end == 0 {
            return Err(self.error("expected field or quoted"));
        }
        let field = self.rest()[..end].to_owned();
        self.at += end;
        Ok(field)
    }

    /// A value ends at a comma or white space; in quotes it may hold them. A regular expression may also stand between two `/` or `|`.
    fn value(&mut self, expression: bool) -> Result<String> {
        self.skip();
        match self.peek() {
            Some('"') => return self.quoted(),
            Some(c @ ('/' | '|')) if expression => {
                let body = &self.rest()[1..];
                let Some(end) = body.find(c) else {
                    return Err(self.error("quoted literal not terminated"));
                };
                let value = body[..end].to_owned();
                self.at += end + 2;
                return Ok(value);
            }
            _ => {}
        }
        let ends = |c: char| c == ',' || c.is_whitespace();
        let end = self.rest().find(ends).unwrap_or(self.rest().len());
        let value = self.rest()[..end].to_owned();
        self.at += end;
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String> {
        self.bump();
        let mut value = String::new();
        while let Some(c) = self.peek() {
            self.bump();
            match c {
                '"' => return Ok(value),
                '\\' => {
                    let Some(escaped) = self.peek() else { break };
                    self.bump();
                    match escaped {
                        'n' => value.push('\n'),
                        't' => value.push('\t'),
                        'r' => value.push('\r'),
                        '"' | '\\' | '\'' => value.push(escaped),
                        other => return Err(self.error(format!("unknown escape \\{other}"))),
                    }
                }
                c => value.push(c),
            }
        }
        Err(self.error("quoted literal not terminated"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filters: &[&str], fields: &[(&str, &str)]) -> bool {
        let object = |path: &[String]| {
            let name = path.join("/");
            fields
                .iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Filters::parse(filters).unwrap().matches(&object)
    }

    #[test]
    fn operators_and_lists() {
        let event = [
            ("namespace", "moby"),
            ("topic", "/tasks/exit"),
            ("event/container_id", "c1"),
        ];
        assert!(matches(&[], &event));
        assert!(matches(&[""], &event));
        assert!(matches(&["namespace==moby,topic~=|^/tasks/|"], &event));
        assert!(matches(&["namespace==moby,topic~=/^.tasks/"], &event));
        assert!(!matches(&["namespace==moby,topic~=|^/images/|"], &event));
        assert!(matches(&["namespace==other", "topic~=\"exit$\""], &event));
        assert!(matches(&["event.container_id==c1"], &event));
        assert!(matches(&["namespace!=other"], &event));
        assert!(!matches(&["namespace!=moby"], &event));
        assert!(matches(&["topic"], &event) && !matches(&["other"], &event));
    }

    #[test]
    fn quoted_labels() {
        let object = [("labels/com.example/a", "x,y"), ("name", "docker.io/library/b:1")];
        assert!(matches(&["labels.\"com.example/a\"==\"x,y\""], &object));
        assert!(matches(
            &["name==docker.io/library/b:1,labels.\"com.example/a\""],
            &object
        ));
        assert!(matches(&["name~=^docker\\.io/.*:1$"], &object));
    }

    /// As ctr 1.7 asks for a snapshotter.
    #[test]
    fn white_space_between_the_words_means_nothing() {
        let plugin = [
            ("type", "io.containerd.snapshotter.v1"),
            ("id", "overlayfs"),
            ("labels/a", "x y"),
        ];
        assert!(matches(
            &["type==io.containerd.snapshotter.v1, id==overlayfs"],
            &plugin
        ));
        assert!(!matches(
            &["type==io.containerd.snapshotter.v1, id==other"],
            &plugin
        ));
        assert!(matches(&[" id  ~= /^over/ ,\ttype "], &plugin));
        assert!(matches(&["labels . a == \"x y\""], &plugin));
        assert!(Filters::parse(&["id==over layfs"]).is_err());
        assert!(Filters::parse(&["id over"]).is_err());
    }

    #[test]
    fn bad_filters_are_refused() {
        for bad in [
            "==x",
            "a=b",
            "a==\"x",
            "a~=|x",
            "a~=(",
            "a.",
            "\"",
            "a==b,",
            "a~=[",
            "a~=*",
            "labels.\"\\",
        ] {
            assert!(Filters::parse(&[bad]).is_err(), "{bad}");
        }
    }
}
