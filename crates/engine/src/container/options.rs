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
}

/// Has the shim use another runtime than its own.
pub(crate) fn runc(binary: &Path) -> Any {
    let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let options = Options {
        binary_name: bytes(binary),
    };
    Any {
        type_url: RUNC_OPTIONS_TYPE.to_owned(),
        value: options.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_path_may_be_longer_than_127_bytes() {
        let short = runc(Path::new("/bin/runc"));
        assert_eq!(short.value, b"\x32\x09/bin/runc");
        let long = format!("/{}/runc", "d".repeat(194));
        let options = runc(Path::new(&long)).value;
        // The length takes two bytes: 200 is 0x48 + 0x80, 1.
        assert_eq!(options[..3], [0x32, 0xc8, 0x01]);
        assert_eq!(&options[3..], long.as_bytes());
    }
}
