//! Values written as text, as annotations have them: `uint64 5`, `'inactive-or-failed'`, `['a', 'b']`, `@as []`. Pure.

use super::marshal::{Value, first_type};

/// Values nest no deeper than this.
const DEPTH: usize = 16;

/// Reads one value.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader {
        text,
        rest: text,
        depth: 0,
    };
    let value = reader.value(None)?;
    reader.blank();
    if reader.rest.is_empty() {
        return Ok(value);
    }
    Err(reader.unexpected())
}

/// Reads from `rest`, which is the end of `text`.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn unexpected(&self) -> String {
        let at = self.text.len() - self.rest.len();
        match self.rest.chars().next() {
            Some(letter) => format!("unexpected {letter:?} at position {at}"),
            None => "unexpected end of the text".to_owned(),
        }
    }

    fn take(&mut self, what: &str) -> bool {
        self.blank();
        let rest = self.rest.strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, what: &str) -> Result<(), String> {
        if self.take(what) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// What is made of letters, digits and signs of numbers.
    fn word(&mut self) -> &'a str {
        self.blank();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A value, of the type `wanted` if that is known.
    fn value(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("values are nested too deeply".to_owned());
        }
        self.blank();
        let value = match self.rest.as_bytes().first() {
            Some(b'\'' | b'"') => self.string(wanted),
            Some(b'[') => self.array(wanted),
            Some(b'(') => self.tuple(wanted),
            Some(b'{') => self.dictionary(wanted),
            Some(b'<') => self.variant(wanted),
            Some(b'@') => {
                self.rest = &self.rest[1..];
                let known = first_type(self.rest.split(char::is_whitespace).next().unwrap_or_default());
                let known = known.map_err(|_| self.unexpected())?;
                self.rest = &self.rest[known.len()..];
                self.value(Some(known))
            }
            Some(b'b') if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = &self.rest[1..];
                match self.string(None)? {
                    Value::Text(text) => Ok(Value::bytes(&[text.as_bytes(), b"\0"].concat())),
                    other => Ok(other),
                }
            }
            _ => self.plain(wanted),
        };
        self.depth -= 1;
        value
    }

    fn plain(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let before = self.rest;
        let word = self.word();
        let named = match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "" => return Err(self.unexpected()),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" | "handle" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            number => {
                let kind = wanted.unwrap_or(if number.contains('.') { "d" } else { "i" });
                let value = self.number(number, kind);
                return value.inspect_err(|_| self.rest = before);
            }
        };
        self.value(Some(named))
    }

    fn number(&self, word: &str, kind: &str) -> Result<Value, String> {
        let wrong = || format!("invalid number {word:?}");
        let (sign, digits) = match word.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", word.strip_prefix('+').unwrap_or(word)),
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(wrong());
        }
        if kind == "d" {
            return word.parse().map(Value::Double).map_err(|_| wrong());
        }
        let whole = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
            (Some(hex), _) => i128::from_str_radix(&format!("{sign}{hex}"), 16),
            (None, Some(octal)) if !octal.is_empty() => i128::from_str_radix(&format!("{sign}{octal}"), 8),
            _ => format!("{sign}{digits}").parse(),
        };
        let whole = whole.map_err(|_| wrong())?;
        let range = |_| format!("the number {word} is out of range");
        Ok(match kind {
            "y" => Value::Byte(whole.try_into().map_err(range)?),
            "n" => Value::Int16(whole.try_into().map_err(range)?),
            "q" => Value::Uint16(whole.try_into().map_err(range)?),
            "i" => Value::Int32(whole.try_into().map_err(range)?),
            "u" => Value::Uint32(whole.try_into().map_err(range)?),
            "x" => Value::Int64(whole.try_into().map_err(range)?),
            "t" => Value::Uint64(whole.try_into().map_err(range)?),
            other => return Err(format!("the number {word} is not of the type {other}")),
        })
    }

    fn string(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err("a text has no end".to_owned()),
                letter if letter == quote => break,
                Some('\\') => text.push(escaped(&mut letters)?),
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        if text.contains('\0') {
            return Err("a text has a zero byte".to_owned());
        }
        match wanted {
            Some("o") => Ok(Value::Path(text)),
            Some("g") => Ok(Value::Signature(text)),
            None | Some("s") => Ok(Value::Text(text)),
            Some(other) => Err(format!("a text is not of the type {other}")),
        }
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.expect("[")?;
        let mut element = wanted
            .and_then(|wanted| wanted.strip_prefix('a'))
            .map(str::to_owned);
        let mut values = Vec::new();
        if !self.take("]") {
            loop {
                let value = self.value(element.as_deref())?;
                let found = value.signature();
                if *element.get_or_insert_with(|| found.clone()) != found {
                    return Err("an array's elements are of several types".to_owned());
                }
                values.push(value);
                if self.take("]") {
                    break;
                }
                self.expect(",")?;
            }
        }
        let element = element.ok_or("the type of an empty array is not known")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.expect("(")?;
        let mut types = wanted
            .and_then(|wanted| wanted.strip_prefix('(')?.strip_suffix(')'))
            .unwrap_or_default();
        let mut fields = Vec::new();
        loop {
            let field = first_type(types).ok();
            types = &types[field.map_or(0, str::len)..];
            fields.push(self.value(field)?);
            if self.take(")") {
                return Ok(Value::Struct(fields));
            }
            self.expect(",")?;
            if self.take(")") {
                return Ok(Value::Struct(fields));
            }
        }
    }

    fn dictionary(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.expect("{")?;
        let types = wanted.and_then(|wanted| wanted.strip_prefix("a{")?.strip_suffix('}'));
        let key = types.and_then(|types| first_type(types).ok());
        let content = types.zip(key).map(|(types, key)| &types[key.len()..]);
        let mut element = wanted
            .and_then(|wanted| wanted.strip_prefix('a'))
            .map(str::to_owned);
        let mut entries = Vec::new();
        if !self.take("}") {
            loop {
                let name = self.value(key)?;
                self.expect(":")?;
                let entry = Value::Entry(Box::new((name, self.value(content)?)));
                let found = entry.signature();
                if *element.get_or_insert_with(|| found.clone()) != found {
                    return Err("a dictionary's entries are of several types".to_owned());
                }
                entries.push(entry);
                if self.take("}") {
                    break;
                }
                self.expect(",")?;
            }
        }
        let element = element.ok_or("the type of an empty dictionary is not known")?;
        Ok(Value::Array(element, entries))
    }

    fn variant(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        if wanted.is_some_and(|wanted| wanted != "v") {
            return Err(self.unexpected());
        }
        self.expect("<")?;
        let value = self.value(None)?;
        self.expect(">")?;
        Ok(Value::Variant(Box::new(value)))
    }
}

fn escaped(letters: &mut std::str::Chars<'_>) -> Result<char, String> {
    let digits = |letters: &mut std::str::Chars<'_>, count: usize| {
        let digits: String = letters.by_ref().take(count).collect();
        let number = u32::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == count);
        number
            .and_then(char::from_u32)
            .ok_or_else(|| format!("invalid escape {digits:?} in a text"))
    };
    match letters.next() {
        Some('a') => Ok('\x07'),
        Some('b') => Ok('\x08'),
        Some('f') => Ok('\x0c'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('v') => Ok('\x0b'),
        Some('u') => digits(letters, 4),
        Some('U') => digits(letters, 8),
        Some(letter) => Ok(letter),
        None => Err("a text has no end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_as_people_write_them() {
        for (text, value) in [
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            (r#""a'b\n""#, Value::text("a'b\n")),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("@t 5", Value::Uint64(5)),
            ("5", Value::Int32(5)),
            ("-0x10", Value::Int32(-16)),
            ("1.5", Value::Double(1.5)),
            ("byte 0xff", Value::Byte(255)),
            (" true ", Value::Bool(true)),
            ("@as []", Value::Array("s".into(), vec![])),
            (
                "['a', 'b']",
                Value::Array("s".into(), vec![Value::text("a"), Value::text("b")]),
            ),
            (
                "[uint32 1, 2]",
                Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)]),
            ),
            (
                "@a(ss) [('/dev/null', 'rw')]",
                Value::Array(
                    "(ss)".into(),
                    vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])],
                ),
            ),
            ("b'x'", Value::bytes(b"x\0")),
            ("<'v'>", Value::Variant(Box::new(Value::text("v")))),
            (
                "{'k': uint32 1}",
                Value::Array(
                    "{su}".into(),
                    vec![Value::Entry(Box::new((Value::text("k"), Value::Uint32(1))))],
                ),
            ),
            ("objectpath '/a'", Value::Path("/a".into())),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "", "[]", "'", "uint64", "byte 256", "[1, 'a']", "5 5", "inactive", "(", "@k 5", "@s 5", "<1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_surprise(text in "[\\[\\](){}<>@'\"\\\\a-z0-9 ,:.éx-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
