//! A container's options for its shim, in the message that containerd's shims for runc read. Knows nothing of how they are
//! sent.

use std::path::Path;

use gantry_supervisor_core::{Any, RUNC_OPTIONS_TYPE};
use prost::Message;

/// The fields of `containerd.runc.v1.Options` that are used here. Paths are bytes: they need not be text.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(bytes = "vec", tag = "6")]
    binary_name: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    root: Vec<u8>,
    #[prost(bytes = "vec", tag = "1001")]
    attach_link: Vec<u8>,
}

/// What a container needs that is not as its shim does it by itself. None: nothing.
///
/// `binary`: another runtime. `foreign`: where the runtime keeps its records, and where the shim makes a link to its attach
/// socket, below a supervisor that says neither.
pub(crate) fn runc(binary: Option<&Path>, foreign: Option<(&Path, &Path)>) -> Option<Any> {
    if binary.is_none() && foreign.is_none() {
        return None;
    }
    let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let (root, link) = foreign.unzip();
    let options = Options {
        binary_name: binary.map(bytes).unwrap_or_default(),
        root: root.map(bytes).unwrap_or_default(),
        attach_link: link.map(bytes).unwrap_or_default(),
    };
    Some(Any {
        type_url: RUNC_OPTIONS_TYPE.to_owned(),
        value: options.encode_to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_path_may_be_longer_than_127_bytes() {
        assert_eq!(runc(None, None), None);
        let short = runc(Some(Path::new("/bin/runc")), None).unwrap();
        assert_eq!(short.value, b"\x32\x09/bin/runc");
        let long = format!("/{}/runc", "d".repeat(194));
        let options = runc(Some(Path::new(&long)), None).unwrap().value;
        // The length takes two bytes: 200 is 0x48 + 0x80, 1.
        assert_eq!(options[..3], [0x32, 0xc8, 0x01]);
        assert_eq!(&options[3..], long.as_bytes());
    }

    #[test]
    fn below_another_supervisor_both_places_are_said() {
        let foreign = (Path::new("/r"), Path::new("/a"));
        let options = runc(None, Some(foreign)).unwrap().value;
        // Field 1001, a text: 1001 * 8 + 2 as a varint.
        assert_eq!(options, b"\x3a\x02/r\xca\x3e\x02/a");
    }
}
