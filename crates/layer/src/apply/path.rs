//! Names of entries as paths below the root. Knows no disk.

use crate::Error;
use crate::error::lossy;

/// A name without empty parts, `.` and `..`, and without a leading slash; empty for the root itself.
///
/// What climbs out of the root by its letters is refused, though it could be held inside: no honest layer has it.
pub(super) fn clean(name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut clean = Vec::with_capacity(name.len());
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if clean.is_empty() => return Err(Error::Outside { name: lossy(name) }),
            b".." => {
                let end = clean.iter().rposition(|b| *b == b'/').unwrap_or(0);
                clean.truncate(end);
            }
            _ => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(clean)
}

/// The folder and the name in it of a clean path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// `name` in the folder `path`, which may be the root.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return name.to_vec();
    }
    [path, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cases() {
        for (name, expected) in [
            ("", ""),
            ("/", ""),
            ("./", ""),
            ("a", "a"),
            ("./a/b/", "a/b"),
            ("/a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            ("a/..", ""),
            ("..a/...", "..a/..."),
        ] {
            assert_eq!(clean(name.as_bytes()).expect(name), expected.as_bytes(), "{name}");
        }
        for name in ["..", "../a", "a/../../b", "/../a", "./.././a"] {
            assert!(clean(name.as_bytes()).is_err(), "{name}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }

    proptest! {
        #[test]
        fn a_clean_path_never_climbs_and_stays_as_it_is(name in "[a./]{0,24}") {
            if let Ok(path) = clean(name.as_bytes()) {
                let parts = path.split(|b| *b == b'/');
                prop_assert!(path.is_empty() || parts.clone().all(|p| !matches!(p, b"" | b"." | b"..")));
                prop_assert_eq!(clean(&path).expect("clean"), path);
            }
        }

        #[test]
        fn it_refuses_exactly_what_leaves_the_root(parts in prop::collection::vec("a|b|\\.\\.|\\.", 0..12)) {
            let mut depth = 0_i32;
            let mut left = false;
            for part in &parts {
                depth += match part.as_str() { ".." => -1, "." => 0, _ => 1 };
                left |= depth < 0;
            }
            prop_assert_eq!(clean(parts.join("/").as_bytes()).is_err(), left);
        }
    }
}
