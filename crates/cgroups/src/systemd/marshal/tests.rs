//! Bytes as the specification of D-Bus draws them, and everything there and back.

use super::*;
use proptest::prelude::*;

#[test]
fn a_call_in_its_bytes() {
    let hello = Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
    };
    let bytes = call(1, &hello, &[]);
    let expected = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00\
        \x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00\
        \x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00\
        \x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00";
    assert_eq!(bytes, expected);
    assert_eq!(length(bytes.first_chunk().unwrap()), Ok(bytes.len()));
}

#[test]
fn a_body_in_its_bytes() {
    let properties = Value::Array(
        "(sv)".into(),
        vec![
            Value::Struct(vec![
                Value::text("PIDs"),
                Value::Variant(Box::new(Value::Array("u".into(), vec![Value::Uint32(7)]))),
            ]),
            Value::Struct(vec![
                Value::text("MemoryMax"),
                Value::Variant(Box::new(Value::Uint64(1 << 20))),
            ]),
        ],
    );
    let mut bytes = Vec::new();
    properties.write(&mut bytes);
    let expected = b"\x38\x00\x00\x00\x00\x00\x00\x00\
        \x04\x00\x00\x00PIDs\x00\x02au\x00\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\
        \x09\x00\x00\x00MemoryMax\x00\x01t\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00";
    assert_eq!(bytes.len(), expected.len(), "{bytes:?}");
    assert_eq!(bytes, expected);
}

#[test]
fn an_error_is_read() {
    // As a bus sends it: fields for the sender and the destination are not ours to look at.
    let mut message = vec![b'l', ERROR, 1, 1, 9, 0, 0, 0, 5, 0, 0, 0];
    let field = |code, value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    Value::Array(
        "(yv)".into(),
        vec![
            field(4, Value::text("org.x.Bad")),
            field(5, Value::Uint32(3)),
            field(6, Value::text(":1.5")),
            field(8, Value::Signature("s".into())),
        ],
    )
    .write(&mut message);
    pad(&mut message, 8);
    message.extend(b"\x04\x00\x00\x00oops\x00");
    let read = parse(&message).unwrap();
    assert_eq!(
        (read.kind, read.reply_to, read.error.as_str()),
        (ERROR, Some(3), "org.x.Bad")
    );
    assert_eq!(read.body, [Value::text("oops")]);
    message.pop();
    assert_eq!(parse(&message), Err(Malformed));
}

#[test]
fn types_are_taken_apart() {
    assert_eq!(first_type("a(ss)u"), Ok("a(ss)"));
    assert_eq!(first_type("aay"), Ok("aay"));
    assert_eq!(first_type("ss"), Ok("s"));
    for bad in ["", "a", "(s", ")", "k"] {
        assert_eq!(first_type(bad), Err(Malformed), "{bad}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::Int16),
        any::<u32>().prop_map(Value::Uint32),
        any::<u64>().prop_map(Value::Uint64),
        "[a-z]{0,9}".prop_map(Value::Text),
        "/[a-z]{0,9}".prop_map(Value::Path),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            inner.clone().prop_map(|value| Value::Variant(Box::new(value))),
            (inner, 0..4_usize)
                .prop_map(|(value, count)| Value::Array(value.signature(), vec![value; count])),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(body in prop::collection::vec(values(), 0..4)) {
        let what = Call { destination: "a.b", path: "/", interface: "a.b", member: "C" };
        let read = parse(&call(9, &what, &body)).unwrap();
        prop_assert_eq!(read.body, body);
        prop_assert_eq!(read.member, "C");
    }

    #[test]
    fn no_bytes_are_a_surprise(mut bytes in prop::collection::vec(any::<u8>(), 16..200)) {
        bytes[0] = b'l';
        bytes[3] = 1;
        let _ = parse(&bytes);
        // With lengths that fit, as far as they can.
        bytes[4..8].copy_from_slice(&0_u32.to_le_bytes());
        let fields = (bytes.len() - 16) as u32 & !7;
        bytes.truncate(16 + fields as usize);
        bytes[12..16].copy_from_slice(&fields.to_le_bytes());
        let _ = parse(&bytes);
    }
}
