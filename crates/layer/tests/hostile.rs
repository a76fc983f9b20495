//! Layers that mean harm or make no sense: each one clear error, and nothing outside of the target is touched.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use gantry_errdefs::Kind;
use gantry_layer::{Error, Options, Target, apply};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use support::{Spec, Stack, Tar, look};
use tempfile::TempDir;

/// A target inside of a folder that has something to lose.
struct Guarded {
    outer: TempDir,
    before: std::collections::BTreeMap<std::path::PathBuf, support::Seen>,
}

impl Guarded {
    fn new() -> Self {
        let outer = TempDir::new().expect("tempdir");
        fs::create_dir(outer.path().join("root")).expect("mkdir");
        fs::create_dir(outer.path().join("secret")).expect("mkdir");
        fs::write(outer.path().join("secret/kept"), "kept").expect("write");
        let before = Self::outside(outer.path());
        Self { outer, before }
    }

    fn outside(outer: &Path) -> std::collections::BTreeMap<std::path::PathBuf, support::Seen> {
        let mut seen = look(outer);
        seen.retain(|path, _| !path.starts_with("root"));
        seen
    }

    fn apply(&self, layer: &[u8]) -> Result<gantry_layer::Applied, Error> {
        let target = Target::Directory(self.outer.path().join("root"));
        let applied = apply(layer, &target, &Options::default());
        assert_eq!(
            Self::outside(self.outer.path()),
            self.before,
            "something outside was touched"
        );
        applied
    }

    fn path(&self, of: &str) -> String {
        self.outer.path().join(of).display().to_string()
    }
}

fn tar(build: impl FnOnce(&mut Tar) -> &mut Tar) -> Vec<u8> {
    let mut tar = Tar::default();
    build(&mut tar);
    tar.end()
}

#[track_caller]
fn refused(layer: &[u8], message: &str) {
    let error = Guarded::new().apply(layer).expect_err("must be refused");
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        (message, Kind::InvalidArgument)
    );
    // The same over a lower layer.
    let mut stack = Stack::new();
    stack.apply(&tar(|t| t.dir("lower"))).expect("lower");
    assert_eq!(
        stack.apply(layer).expect_err("must be refused").to_string(),
        message
    );
}

#[test]
fn names_that_leave_the_root() {
    for name in [
        "../secret/x",
        "../../etc/x",
        "a/../../secret/x",
        "/../secret/x",
        "..",
    ] {
        refused(
            &tar(|t| t.file(name, "x")),
            &format!("layer entry {name:?} is outside of the root"),
        );
        refused(
            &tar(|t| t.file("f", "").link("l", name)),
            &format!("layer entry {name:?} is outside of the root"),
        );
    }
    refused(
        &tar(|t| t.file("a/../../.wh.secret", "")),
        "layer entry \"a/../../.wh.secret\" is outside of the root",
    );
}

#[test]
fn links_that_lead_out_of_the_root() {
    let message = |name: &str, link: &str, to: &str, why: &str| {
        format!("layer entry {name:?} leads through the symbolic link {link:?} to {to:?}, which is {why}")
    };
    let (out, gone) = ("outside of the root", "not a directory in the root");
    for to in ["..", "../secret", "../../../../tmp", "d/../../secret"] {
        let layer = tar(|t| t.dir("d").symlink("s", to).file("s/x", "x"));
        refused(&layer, &message("s/x", "s", to, out));
        let layer = tar(|t| t.dir("d").symlink("s", to).link("l", "s/kept"));
        refused(&layer, &message("l", "s", to, out));
        let layer = tar(|t| t.dir("d").symlink("s", to).file("s/.wh.kept", ""));
        refused(&layer, &message("s/.wh.kept", "s", to, out));
        let layer = tar(|t| t.dir("d").symlink("s", to).file("s/.wh..wh..opq", ""));
        refused(&layer, &message("s/.wh..wh..opq", "s", to, out));
    }
    refused(
        &tar(|t| t.symlink("s", "/nowhere").file("s/x", "")),
        &message("s/x", "s", "/nowhere", gone),
    );
    refused(
        &tar(|t| t.symlink("s", "s").file("s/x", "")),
        &message("s/x", "s", "s", "one of too many"),
    );
    let nested = tar(|t| {
        t.dir("a")
            .symlink("a/b", "..")
            .symlink("c", "a/b/..")
            .file("c/x", "")
    });
    refused(&nested, &message("c/x", "c", "a/b/..", out));
}

#[test]
fn an_absolute_link_to_something_real_outside_stays_inside() {
    let guarded = Guarded::new();
    let secret = guarded.path("secret");
    let layer = tar(|t| t.symlink("s", &secret).file("s/kept", "stolen"));
    let error = guarded.apply(&layer).expect_err("there is no such folder inside");
    assert!(matches!(error, Error::Symlink { .. }), "{error}");
    // A link that is replaced, written to, or given times is never followed.
    let guarded = Guarded::new();
    let kept = format!("{}/kept", guarded.path("secret"));
    guarded
        .apply(&tar(|t| t.symlink("s", &kept).file("s", "own")))
        .expect("replaced");
    assert_eq!(fs::read(guarded.path("root/s")).expect("read"), b"own");
    let guarded = Guarded::new();
    let secret = guarded.path("secret");
    guarded
        .apply(&tar(|t| t.dir("d").dir("d/e").symlink("d", &secret)))
        .expect("a folder replaced by a link");
    assert!(fs::read_link(guarded.path("root/d")).is_ok());
    let guarded = Guarded::new();
    guarded
        .apply(&tar(|t| t.symlink("s", &kept).link("h", "s")))
        .expect("a hard link to a link");
    assert!(
        fs::symlink_metadata(guarded.path("root/h"))
            .expect("stat")
            .is_symlink()
    );
}

#[test]
fn entries_that_make_no_sense() {
    let spec = |name: &'static [u8], kind| Spec {
        name,
        kind,
        ..Spec::default()
    };
    refused(
        &tar(|t| t.file("a/.wh.", "")),
        "layer entry \"a/.wh.\" is invalid: it is a whiteout of no name",
    );
    refused(
        &tar(|t| t.file("a/.wh..", "")),
        "layer entry \"a/.wh..\" is invalid: it is a whiteout of no name",
    );
    refused(
        &tar(|t| t.file("a/.wh...", "")),
        "layer entry \"a/.wh...\" is invalid: it is a whiteout of no name",
    );
    refused(
        &tar(|t| t.file("./", "")),
        "layer entry \"./\" is invalid: the root must be a directory",
    );
    refused(
        &tar(|t| t.add(&spec(b"x", b'M'))),
        "layer entry \"x\": unhandled tar header type 77",
    );
    refused(
        &tar(|t| t.link("l", "none")),
        "layer entry \"l\" is a hard link to \"none\", which does not exist",
    );
    refused(
        &tar(|t| t.link("l", "/")),
        "layer entry \"l\" is a hard link to \"/\", which does not exist",
    );
    refused(
        &tar(|t| t.dir("d").link("l", "d")),
        "layer entry \"l\" is invalid: it is a hard link to a directory",
    );
    refused(
        &tar(|t| t.file("f", "").link("f", "f")),
        "layer entry \"f\" is invalid: it is a hard link to itself",
    );
    refused(
        &tar(|t| t.file("f", "").file("f/x", "")),
        "layer entry \"f/x\": \"f\" is not a directory",
    );
    let huge = tar(|t| t.pax(&[("uid", b"4294967295")]).file("f", ""));
    refused(&huge, "layer entry \"f\" is invalid: its owner is out of range");
    let long = "n".repeat(300);
    let error = Guarded::new()
        .apply(&tar(|t| t.pax(&[("path", long.as_bytes())]).file("f", "")))
        .expect_err("long");
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn bytes_that_are_no_layer() {
    let at = |problem: &str| format!("layer is corrupt: invalid tar header at byte 0: {problem}");
    refused(&[7; 512], &at("checksum is no number"));
    let mut broken = tar(|t| t.file("f", "x"));
    broken[0] ^= 1;
    refused(&broken, &at("checksum does not match"));
    refused(b"BZh91AY&SY", "layer compression bzip2 is not supported");
    refused(b"\xfd7zXZ\0\0\0", "layer compression xz is not supported");
    refused(
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03garbage garbage",
        "layer is corrupt: invalid gzip stream",
    );
    for records in [
        &b"5 a=b\n"[..],
        b"7 a=bb\n!",
        b"x a=b\n",
        b"6 =bb\n",
        b"999999999999999999999 a=b\n",
    ] {
        let layer = tar(|t| {
            t.add(&Spec {
                name: b"p",
                kind: b'x',
                data: records,
                ..Spec::default()
            })
            .file("f", "")
        });
        let error = Guarded::new().apply(&layer).expect_err("must be refused");
        assert!(matches!(error, Error::Header { .. }), "{error}");
    }
}

fn packed(kind: &str, bytes: &[u8]) -> Vec<u8> {
    match kind {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).expect("gzip");
            encoder.finish().expect("gzip")
        }
        "zstd" => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("zstd");
            encoder.include_checksum(true).expect("zstd");
            encoder.write_all(bytes).expect("zstd");
            encoder.finish().expect("zstd")
        }
        _ => bytes.to_vec(),
    }
}

/// Bytes that do not compress away.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + u8::try_from((state >> 33) % 90).expect("small"))
        })
        .collect()
}

#[test]
fn a_layer_that_is_cut_short_anywhere_is_said_to_be() {
    let (big, small) = (noise(30_000), noise(700));
    let mut tar = Tar::default();
    tar.dir("d")
        .file("d/f", &big)
        .pax(&[("mtime", b"1.5")])
        .file("g", &small);
    let whole = tar.end();
    let entries_end = tar.0.len();
    for kind in ["plain", "gzip", "zstd"] {
        let layer = packed(kind, &whole);
        for cut in (1..layer.len())
            .step_by(389)
            .chain([layer.len() - 1, layer.len() - 5])
        {
            let guarded = Guarded::new();
            match guarded.apply(&layer[..cut]) {
                Err(Error::Truncated(_)) => {}
                Err(Error::Header { .. }) if cut < 10 => {} // not even the magic number
                // A plain tar may end between two entries, or in what fills the last block of one, and needs no end;
                // but not between a PAX header and its entry.
                Ok(_)
                    if kind == "plain"
                        && ([512, entries_end].contains(&cut)
                            || (1024 + 30_000..=31_232).contains(&cut)
                            || cut + 512 > entries_end) => {}
                other => panic!("{kind} cut at {cut} of {}: {other:?}", layer.len()),
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_packed_layer_is_found() {
    let big = noise(20_000);
    let whole = tar(|t| t.file("f", &big));
    for kind in ["gzip", "zstd"] {
        let layer = packed(kind, &whole);
        // Behind the headers of the formats, which have parts that mean nothing.
        for at in (20..layer.len()).step_by(211) {
            let mut broken = layer.clone();
            broken[at] ^= 0x10;
            let error = Guarded::new().apply(&broken).expect_err("must be found");
            assert_eq!(error.kind(), Kind::InvalidArgument, "{kind} at {at}: {error}");
        }
    }
}

#[test]
fn an_error_of_the_source_is_told_as_such() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("the wire was cut"));
            }
            let length = buffer.len().min(self.0);
            self.0 -= length;
            buffer[..length].copy_from_slice(&tar(|t| t.file("f", ""))[..length]);
            Ok(length)
        }
    }
    for length in [0, 100] {
        let root = TempDir::new().expect("tempdir");
        let target = Target::Directory(root.path().to_owned());
        let error = apply(Failing(length), &target, &Options::default()).expect_err("must fail");
        let error = gantry_errdefs::Error::from(error);
        assert_eq!(error.chain(), "failed to read layer: the wire was cut");
    }
}

#[test]
fn a_full_disk_is_told_as_such() {
    struct Mounted(TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
        }
    }
    let big = noise(600_000);
    let full = tar(|t| t.file("a", &big).file("b", &big));
    let many = tar(|t| {
        for n in 0..100 {
            t.file(&format!("f{n}"), "");
        }
        t
    });
    for (options, layer) in [("size=1m", full), ("nr_inodes=20", many)] {
        let disk = Mounted(TempDir::new().expect("tempdir"));
        mount(
            Some("tmpfs"),
            disk.0.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
        .expect("mount");
        let target = Target::Directory(disk.0.path().to_owned());
        let error = apply(layer.as_slice(), &target, &Options::default()).expect_err("must be full");
        let error = gantry_errdefs::Error::from(error);
        assert_eq!(error.kind(), Kind::ResourceExhausted);
        assert!(
            error.chain().ends_with("No space left on device (os error 28)"),
            "{}",
            error.chain()
        );
    }
}
