//! A Debian as mmdebstrap makes it: an image's layer of real size, with everything that packages put in one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::cmd::{binaries, run_within};

/// What it is made with beside the smallest Debian: file capabilities, hard links, setuid bits, some size.
const PACKAGES: &str = "iputils-ping,libcap2-bin,perl";

/// The tar. Made once and kept beside the binaries under test, as it takes a minute.
pub fn tar() -> PathBuf {
    let kept = binaries().join("debian.tar");
    if !kept.is_file() {
        let fresh = binaries().join(format!("debian-{}.tar", std::process::id()));
        run_within(
            Command::new("mmdebstrap")
                .args(["--variant=minbase", "--quiet", "--include", PACKAGES, "bookworm"])
                .arg(&fresh),
            b"",
            Duration::from_secs(400),
        )
        .success();
        fs::rename(&fresh, &kept).expect("keep the tar");
    }
    kept
}
