//! Values and messages of D-Bus as bytes, and back. Pure: knows neither sockets nor what is said.
//!
//! Only little-endian messages, which is what every machine that runs systemd and containers writes to itself.

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a…`: the elements' signature, as there may be none of them.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`: of an array only.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

/// Values nest no deeper than this; the specification allows 64.
const DEPTH: usize = 32;

/// No message is longer: the specification's limit.
const LONGEST: usize = 128 << 20;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Array("y".to_owned(), bytes.iter().copied().map(Self::Byte).collect())
    }

    /// Its type in the protocol's letters.
    pub(crate) fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::Int16(_) => "n".to_owned(),
            Self::Uint16(_) => "q".to_owned(),
            Self::Int32(_) => "i".to_owned(),
            Self::Uint32(_) => "u".to_owned(),
            Self::Int64(_) => "x".to_owned(),
            Self::Uint64(_) => "t".to_owned(),
            Self::Double(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", signature(fields)),
            Self::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Self::Variant(_) => "v".to_owned(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        pad(out, alignment(self.signature().as_bytes()[0]));
        match self {
            Self::Byte(value) => out.push(*value),
            Self::Bool(value) => out.extend(u32::from(*value).to_le_bytes()),
            Self::Int16(value) => out.extend(value.to_le_bytes()),
            Self::Uint16(value) => out.extend(value.to_le_bytes()),
            Self::Int32(value) => out.extend(value.to_le_bytes()),
            Self::Uint32(value) => out.extend(value.to_le_bytes()),
            Self::Int64(value) => out.extend(value.to_le_bytes()),
            Self::Uint64(value) => out.extend(value.to_le_bytes()),
            Self::Double(value) => out.extend(value.to_le_bytes()),
            Self::Text(text) | Self::Path(text) => {
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.bytes().chain([0]));
            }
            Self::Signature(text) => short(text, out),
            Self::Array(element, values) => {
                let length = out.len();
                out.extend([0; 4]);
                // The padding before the first element is no part of the length.
                pad(out, alignment(element.as_bytes()[0]));
                let start = out.len();
                for value in values {
                    value.write(out);
                }
                let bytes = (out.len() - start) as u32;
                out[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
            }
            Self::Struct(fields) => fields.iter().for_each(|field| field.write(out)),
            Self::Entry(entry) => {
                entry.0.write(out);
                entry.1.write(out);
            }
            Self::Variant(value) => {
                short(&value.signature(), out);
                value.write(out);
            }
        }
    }
}

fn short(text: &str, out: &mut Vec<u8>) {
    out.push(text.len() as u8);
    out.extend(text.bytes().chain([0]));
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

fn alignment(letter: u8) -> usize {
    match letter {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
}

/// The kinds of messages.
const CALL: u8 = 1;
pub(crate) const RETURN: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const SIGNAL: u8 = 4;

const VERSION: u8 = 1;

/// The message that makes a call.
pub(crate) fn call(serial: u32, call: &Call<'_>, body: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in body {
        value.write(&mut bytes);
    }
    let field =
        |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    let mut fields = vec![
        field(1, Value::Path(call.path.to_owned())),
        field(2, Value::text(call.interface)),
        field(3, Value::text(call.member)),
        field(6, Value::text(call.destination)),
    ];
    if !body.is_empty() {
        fields.push(field(8, Value::Signature(signature(body))));
    }
    let mut message = vec![b'l', CALL, 0, VERSION];
    message.extend((bytes.len() as u32).to_le_bytes());
    message.extend(serial.to_le_bytes());
    Value::Array("(yv)".to_owned(), fields).write(&mut message);
    pad(&mut message, 8);
    message.extend(bytes);
    message
}

/// A message that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Incoming {
    pub(crate) kind: u8,
    pub(crate) reply_to: Option<u32>,
    pub(crate) member: String,
    /// The name of an error.
    pub(crate) error: String,
    pub(crate) body: Vec<Value>,
}

/// How many bytes a header's fixed part has.
pub(crate) const FIXED: usize = 16;

/// How long the message is whose fixed part this is.
pub(crate) fn length(fixed: &[u8; FIXED]) -> Result<usize, Malformed> {
    if fixed[0] != b'l' || fixed[3] != VERSION {
        return Err(Malformed);
    }
    let word =
        |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
    let total = (FIXED + word(12)).next_multiple_of(8) + word(4);
    if total > LONGEST {
        Err(Malformed)
    } else {
        Ok(total)
    }
}

/// Reads a whole message.
pub(crate) fn parse(message: &[u8]) -> Result<Incoming, Malformed> {
    let fixed = message.first_chunk::<FIXED>().ok_or(Malformed)?;
    if length(fixed)? != message.len() {
        return Err(Malformed);
    }
    let mut reader = Reader {
        bytes: message,
        at: 12,
    };
    let mut incoming = Incoming {
        kind: message[1],
        ..Incoming::default()
    };
    let mut body = String::new();
    let Value::Array(_, fields) = reader.value("a(yv)", 0)?.0 else {
        return Err(Malformed);
    };
    for field in fields {
        let Value::Struct(mut parts) = field else { continue };
        let (Some(Value::Variant(value)), Some(Value::Byte(code))) = (parts.pop(), parts.pop()) else {
            return Err(Malformed);
        };
        match (code, *value) {
            (3, Value::Text(text)) => incoming.member = text,
            (4, Value::Text(text)) => incoming.error = text,
            (5, Value::Uint32(serial)) => incoming.reply_to = Some(serial),
            (8, Value::Signature(text)) => body = text,
            _ => {}
        }
    }
    // The body has its own beginning for what is aligned, which is a multiple of eight as well.
    reader.align(8)?;
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (value, left) = reader.value(rest, 0)?;
        incoming.body.push(value);
        rest = left;
    }
    Ok(incoming)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, alignment: usize) -> Result<(), Malformed> {
        self.at = self.at.next_multiple_of(alignment);
        if self.at > self.bytes.len() {
            Err(Malformed)
        } else {
            Ok(())
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?;
        self.take(1)?;
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }

    /// The value of the first type of `signature`, and what of that is left.
    fn value<'s>(&mut self, signature: &'s str, depth: usize) -> Result<(Value, &'s str), Malformed> {
        let letter = *signature.as_bytes().first().ok_or(Malformed)?;
        if depth > DEPTH || !signature.is_ascii() {
            return Err(Malformed);
        }
        self.align(alignment(letter))?;
        let mut rest = &signature[1..];
        let value = match letter {
            b'y' => Value::Byte(self.array::<1>()?[0]),
            b'b' => Value::Bool(u32::from_le_bytes(self.array()?) != 0),
            b'n' => Value::Int16(i16::from_le_bytes(self.array()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.array()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.array()?)),
            b'u' => Value::Uint32(u32::from_le_bytes(self.array()?)),
            b'x' => Value::Int64(i64::from_le_bytes(self.array()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.array()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.array()?)),
            b's' | b'o' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                let text = self.text(length)?;
                if letter == b's' {
                    Value::Text(text)
                } else {
                    Value::Path(text)
                }
            }
            b'g' => {
                let length = usize::from(self.array::<1>()?[0]);
                Value::Signature(self.text(length)?)
            }
            b'v' => {
                let length = usize::from(self.array::<1>()?[0]);
                let inner = self.text(length)?;
                let (value, left) = self.value(&inner, depth + 1)?;
                if !left.is_empty() {
                    return Err(Malformed);
                }
                Value::Variant(Box::new(value))
            }
            b'a' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                let element = first_type(rest)?;
                rest = &rest[element.len()..];
                self.align(alignment(element.as_bytes()[0]))?;
                let end = self.at.checked_add(length).ok_or(Malformed)?;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.value(element, depth + 1)?.0);
                }
                if self.at != end {
                    return Err(Malformed);
                }
                Value::Array(element.to_owned(), values)
            }
            b'(' | b'{' => {
                let close = if letter == b'(' { b')' } else { b'}' };
                let mut fields = Vec::new();
                while rest.as_bytes().first() != Some(&close) {
                    let (field, left) = self.value(rest, depth + 1)?;
                    fields.push(field);
                    rest = left;
                }
                rest = &rest[1..];
                match (letter, fields.len()) {
                    (b'(', 1..) => Value::Struct(fields),
                    (b'{', 2) => {
                        let (value, key) = (fields.pop(), fields.pop());
                        let (Some(key), Some(value)) = (key, value) else {
                            return Err(Malformed);
                        };
                        Value::Entry(Box::new((key, value)))
                    }
                    _ => return Err(Malformed),
                }
            }
            _ => return Err(Malformed),
        };
        Ok((value, rest))
    }
}

/// The first whole type of a signature.
pub(crate) fn first_type(signature: &str) -> Result<&str, Malformed> {
    let mut open = 0_usize;
    for (at, letter) in signature.bytes().enumerate() {
        match letter {
            b'(' | b'{' => open += 1,
            b')' | b'}' => open = open.checked_sub(1).ok_or(Malformed)?,
            b'a' => continue,
            letter if b"ybnqiuxtdsogv".contains(&letter) => {}
            _ => return Err(Malformed),
        }
        if open == 0 {
            return Ok(&signature[..=at]);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests;
