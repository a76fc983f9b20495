//! The encoding of criu's messages: numbers, texts and messages within, each behind the number of its field (Protocol Buffers).
//! Must not know what they mean.

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, field: u32, value: u64) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    pub(super) fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(&mut self, field: u32, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.0
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Number(_) => String::new(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The fields of a message in their order; of numbers with a fixed width nothing is read here. It ends where the message is
/// damaged.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a message that is within another.
    pub(super) fn of(value: Value<'a>) -> Self {
        match value {
            Value::Number(_) => Self(&[]),
            Value::Bytes(bytes) => Self(bytes),
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let tag = self.varint()?;
            let value = match tag & 7 {
                0 => Value::Number(self.varint()?),
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    Value::Bytes(self.take(length)?)
                }
                1 => {
                    self.take(8)?;
                    continue;
                }
                5 => {
                    self.take(4)?;
                    continue;
                }
                _ => return None,
            };
            return Some((tag >> 3, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Writer::default();
        inner.number(1, 300);
        let mut writer = Writer::default();
        writer
            .number(1, 0)
            .text(51, "a")
            .message(2, &inner)
            .number(48, u64::MAX);
        assert_eq!(writer.encoded()[..6], [8, 0, 0x9a, 3, 1, b'a']);
        let fields: Vec<_> = Fields(writer.encoded()).collect();
        assert_eq!(fields[0], (1, Value::Number(0)));
        assert_eq!(fields[1].1.text(), "a");
        assert_eq!(Fields::of(fields[2].1).next(), Some((1, Value::Number(300))));
        assert_eq!(fields[3], (48, Value::Number(u64::MAX)));
    }

    #[test]
    fn damage_ends_it() {
        for bytes in [&[8][..], &[10, 200, 1], &[0xff; 20], &[11, 1], &[9, 1, 2]] {
            assert_eq!(Fields(bytes).next(), None, "{bytes:?}");
        }
        // A fixed width is passed over.
        assert_eq!(
            Fields(&[13, 1, 2, 3, 4, 8, 7]).next(),
            Some((1, Value::Number(7)))
        );
    }
}
