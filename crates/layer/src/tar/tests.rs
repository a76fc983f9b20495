//! Reading tar: numbers, dialects, and what no reader must be brought to its knees by.

use proptest::prelude::*;

use super::numbers::{decimal, number, time};
use super::{Entry, Kind, Reader, Time};
use crate::Error;

#[test]
fn numbers() {
    for (field, expected) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"   644 \0", Some(0o644)),
        (b"644 ", Some(0o644)),
        (b"\0\0\0\0", Some(0)),
        (b"    ", Some(0)),
        (b"", Some(0)),
        (b"0008", None),
        (b"-1\0", None),
        (b"12 4", None),
        (b"777777777777", Some(0o777_777_777_777)),
        (b"\x80\0\0\x01", Some(1)),
        (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(0x2_0000_0000)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
        (b"\xff\xff\xff\xff\xff\xff\xff\0", Some(-256)),
        (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
    ] {
        assert_eq!(number(field), expected, "{field:?}");
    }
    for (text, expected) in [
        ("12", Some(12)),
        ("-3", Some(-3)),
        ("+3", None),
        ("", None),
        ("1-2", None),
    ] {
        assert_eq!(decimal(text.as_bytes()), expected, "{text}");
    }
    for (text, expected) in [
        ("1", Some((1, 0))),
        ("1.5", Some((1, 500_000_000))),
        ("1.0000000019", Some((1, 1))),
        ("-1.5", Some((-2, 500_000_000))),
        ("-0.5", Some((-1, 500_000_000))),
        (".5", Some((0, 500_000_000))),
        ("1.", Some((1, 0))),
        ("1.x", None),
        ("1.-5", None),
    ] {
        let expected = expected.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
        assert_eq!(time(text.as_bytes()), expected, "{text}");
    }
}

fn read(tar: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut reader = Reader::new(tar);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.data(|_, piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        all.push((entry, content));
    }
    Ok(all)
}

/// A tar by the `tar` crate.
fn written(names: &[String], contents: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in names.iter().zip(contents) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(3_000_000_000);
        header.set_mtime(1_234_567_890);
        builder
            .append_data(&mut header, name, content.as_slice())
            .expect("write");
    }
    builder.into_inner().expect("write")
}

#[test]
fn the_old_form_says_folder_by_a_slash_and_other_types_are_told() {
    let mut block = [0_u8; 512];
    block[..4].copy_from_slice(b"old/");
    block[100..107].copy_from_slice(b"0000755");
    let seal = |block: &mut [u8; 512]| {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    };
    seal(&mut block);
    let kind = |block: &[u8]| read(block).expect("read")[0].0.kind;
    assert_eq!(kind(&block), Kind::Directory);
    block[156] = b'0';
    seal(&mut block);
    assert_eq!(kind(&block), Kind::File);
    block[156] = b'V';
    seal(&mut block);
    assert_eq!(kind(&block), Kind::Other(b'V'));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_tar_crate_writes_is_read_back(
        names in prop::collection::vec("[a-z]{1,80}(/[a-z]{1,80}){0,3}", 0..5),
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 5),
    ) {
        let all = read(&written(&names, &contents)).expect("read");
        prop_assert_eq!(all.len(), names.len());
        for ((entry, content), (name, expected)) in all.iter().zip(names.iter().zip(&contents)) {
            prop_assert_eq!(&entry.name, name.as_bytes());
            prop_assert_eq!(content, expected);
            prop_assert_eq!((entry.mode, entry.uid, entry.size), (0o640, 3_000_000_000, expected.len() as u64));
            prop_assert_eq!(entry.modified, Time { seconds: 1_234_567_890, nanoseconds: 0 });
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut tar in prop::collection::vec(any::<u8>(), 0..4096),
        kinds in prop::collection::vec(prop::sample::select(b"0\x01xgLKS15\0".to_vec()), 0..8),
        flags in any::<bool>(),
    ) {
        // Headers with a right checksum and any content: what a stranger would send.
        for (n, kind) in kinds.iter().enumerate() {
            let at = n * 512;
            if tar.len() < at + 512 { break; }
            let block = &mut tar[at..at + 512];
            block[124..136].copy_from_slice(format!("{:011o}\0", n * 300).as_bytes());
            if flags {
                for field in [100..108, 108..116, 116..124, 136..148, 329..337, 337..345, 386..482, 483..495] {
                    block[field].fill(0);
                }
                block[257..265].copy_from_slice(b"ustar  \0");
            }
            block[156] = *kind;
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = read(&tar);
    }
}
