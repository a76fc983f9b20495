//! Applying layers, as root: beside GNU tar, beside itself in the other form, and case by case.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use gantry_layer::{Options, Target, apply};
use support::{Spec, Stack, Tar, differences, look};
use tempfile::TempDir;

fn into_folder(root: &Path, layer: &[u8]) -> Result<gantry_layer::Applied, gantry_layer::Error> {
    apply(layer, &Target::Directory(root.to_owned()), &Options::default())
}

fn shell(script: &str, at: &Path) {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(at)
        .output()
        .expect("sh");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// One of everything that a file system has.
const NASTY: &str = r#"
    mkdir -p t/bin t/etc t/dev t/var/deep/er t/sticky t/empty 't/sp ace'
    printf hello > t/etc/hello; : > t/etc/nothing
    head -c 3000000 /dev/urandom > t/bin/big
    cp t/etc/hello t/bin/suid; chmod 6755 t/bin/suid
    cp t/etc/hello t/bin/cap; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 t/bin/cap
    setfattr -n user.note -v some t/etc/hello; setfattr -n user.folder -v d t/var/deep
    ln t/bin/suid t/bin/suid2; ln t/bin/cap t/bin/cap2; ln t/bin/cap t/etc/cap3
    ln -s ../etc/hello t/bin/sym; ln -s /nowhere t/bin/dangling; ln -s /etc t/absolute; ln t/bin/sym t/bin/sym2 || true
    mknod t/dev/null c 1 3; mknod t/dev/loop b 7 0; mkfifo t/dev/pipe; chmod 622 t/dev/pipe
    chown 1000:1001 t/etc/hello; chown 3000000000:70000 t/etc/nothing; chown -h 12:13 t/bin/sym
    chown 5:6 t/var/deep; chmod 1777 t/sticky; chmod 500 t/empty; chmod 2750 t/var/deep/er
    truncate -s 20M t/var/sparse; printf mid | dd of=t/var/sparse bs=1 seek=10000000 conv=notrunc 2>/dev/null
    truncate -s 9G t/var/huge; printf x | dd of=t/var/huge bs=1 seek=9000000000 conv=notrunc 2>/dev/null
    n=$(printf 'n%.0s' $(seq 1 200)); mkdir -p t/$n/$n; printf long > t/$n/$n/$n; ln t/$n/$n/$n t/$n/l; ln -s $n/$n t/$n/s
    printf sp > 't/sp ace/new
line'; printf utf > t/ütf
    touch -d '1999-12-31 23:59:59.123456789' t/etc/hello t/var/deep t/empty t/bin
    touch -h -d '2001-02-03 04:05:06.5' t/bin/sym
    touch -d '2020-02-03 04:05:06.7' t
"#;

#[test]
fn every_kind_of_tar_that_gnu_tar_writes_becomes_what_gnu_tar_reads() {
    let work = TempDir::new().expect("tempdir");
    shell(NASTY, work.path());
    for (name, options) in [
        ("pax", "--format=pax --xattrs --xattrs-include=*"),
        ("pax-sparse", "--format=pax -S --xattrs --xattrs-include=*"),
        ("pax-sparse-0.0", "--format=pax -S --sparse-version=0.0"),
        ("pax-sparse-0.1", "--format=pax -S --sparse-version=0.1"),
        ("gnu", "--format=gnu"),
        ("gnu-sparse", "--format=gnu -S"),
    ] {
        let huge = if options.contains("-S") {
            ""
        } else {
            "--exclude=./var/huge"
        };
        shell(
            &format!(
                "rm -rf out ours; mkdir out ours; touch -r t out ours
                 tar {options} {huge} --numeric-owner --sort=name -C t -cf t.tar .
                 tar --numeric-owner --xattrs --xattrs-include='*' --same-owner -p -C out -xf t.tar"
            ),
            work.path(),
        );
        let ours = work.path().join("ours");
        let file = fs::File::open(work.path().join("t.tar")).expect("open");
        apply(file, &Target::Directory(ours.clone()), &Options::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        // Nine gigabytes of nothing are looked at by their size and the one byte in them.
        let mut sizes = Vec::new();
        for tree in ["out", "ours"] {
            let huge = work.path().join(tree).join("var/huge");
            if huge.exists() {
                let stat = fs::metadata(&huge).expect("stat");
                let mut byte = [0];
                let file = fs::File::open(&huge).expect("open");
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 9_000_000_000).expect("read");
                assert!(stat.blocks() < 1000, "{name}: not sparse");
                sizes.push((stat.size(), byte));
                let parent = huge.parent().expect("parent");
                let times = fs::metadata(parent).expect("stat").modified().expect("mtime");
                fs::remove_file(&huge).expect("rm");
                let times = fs::FileTimes::new().set_modified(times);
                fs::File::open(parent)
                    .expect("open")
                    .set_times(times)
                    .expect("times");
            }
        }
        assert!(
            sizes.is_empty() || sizes == [(9 << 30, *b"x"); 2],
            "{name}: {sizes:?}"
        );
        let different = differences(&look(&work.path().join("out")), &look(&ours));
        assert!(different.is_empty(), "{name}:\n{}", different.join("\n"));
    }
}

#[test]
fn the_diff_id_is_that_of_the_uncompressed_bytes_however_they_are_packed() {
    use sha2::{Digest, Sha256};
    let mut tar = Tar::default();
    tar.file("a", &"x".repeat(700_000)).dir("b").file("b/c", "y");
    let mut plain = tar.end();
    plain.extend_from_slice(&[0; 9000]); // what follows the end counts
    let expected = gantry_oci::Digest::from_sha256(&Sha256::digest(&plain).into());
    let half = plain.len() / 2;
    let members = [gzip(&plain[..half]), gzip(&plain[half..])].concat();
    let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("zstd");
    let skippable = [
        &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..],
        &frame(&plain),
    ]
    .concat();
    let frames = [frame(&plain[..half]), frame(&plain[half..])].concat();
    for (name, packed) in [
        ("plain", plain.clone()),
        ("gzip", gzip(&plain)),
        ("gzip members", members),
        ("zstd", frame(&plain)),
        ("zstd frames", frames),
        ("zstd skippable", skippable),
    ] {
        let root = TempDir::new().expect("tempdir");
        let applied = into_folder(root.path(), &packed).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (applied.diff_id, applied.size, applied.entries),
            (expected.clone(), plain.len() as u64, 3)
        );
        assert_eq!(fs::read(root.path().join("b/c")).expect("read"), b"y");
    }
    let root = TempDir::new().expect("tempdir");
    assert_eq!(into_folder(root.path(), b"").expect("empty").entries, 0);
}

/// Applies layers in both forms, and demands the same tree of both; returns it.
fn both(layers: &[Tar]) -> std::collections::BTreeMap<std::path::PathBuf, support::Seen> {
    let mut stack = Stack::new();
    let flat = TempDir::new().expect("tempdir");
    for layer in layers {
        let layer = layer.end();
        stack.apply(&layer).expect("overlay form");
        into_folder(flat.path(), &layer).expect("deleting form");
    }
    let (mut a, mut b) = (look(flat.path()), stack.look());
    for tree in [&mut a, &mut b] {
        tree.remove(Path::new(""));
        // Folders that no entry is about are of now.
        for seen in tree.values_mut().filter(|seen| seen.mtime.0 > 1_600_000_000) {
            seen.mtime = (0, 0);
        }
    }
    let different = differences(&a, &b);
    assert!(different.is_empty(), "{}", different.join("\n"));
    b
}

fn paths(layers: &[Tar]) -> String {
    let seen = both(layers);
    seen.iter()
        .map(|(path, seen)| match seen.mode & 0o170_000 {
            0o040_000 => format!("{}/", path.display()),
            0o120_000 => format!("{}>{}", path.display(), String::from_utf8_lossy(&seen.content)),
            _ => format!("{}={}", path.display(), String::from_utf8_lossy(&seen.content)),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn tar(build: impl FnOnce(&mut Tar) -> &mut Tar) -> Tar {
    let mut tar = Tar::default();
    build(&mut tar);
    tar
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
    let base = tar(|t| {
        t.dir("d")
            .file("d/a", "1")
            .file("d/b", "1")
            .dir("d/e")
            .file("d/e/x", "1")
            .file("top", "1")
            .dir("p");
        t.file("p/q", "1")
    });
    let after = |build: for<'a> fn(&'a mut Tar) -> &'a mut Tar| paths(&[base.clone(), tar(build)]);
    assert_eq!(
        after(|t| t.file("d/.wh.a", "")),
        "d/ d/b=1 d/e/ d/e/x=1 p/ p/q=1 top=1"
    );
    assert_eq!(after(|t| t.file(".wh.d", "").file(".wh.top", "")), "p/ p/q=1");
    assert_eq!(
        after(|t| t.file(".wh.d", "").file("d", "now")),
        "d=now p/ p/q=1 top=1"
    );
    assert_eq!(
        after(|t| t.file("d", "now").file(".wh.d", "")),
        "d=now p/ p/q=1 top=1"
    );
    for order in [
        (|t| t.file(".wh.d", "").dir("d").file("d/n", "2")) as for<'a> fn(&'a mut Tar) -> &'a mut Tar,
        |t| t.dir("d").file("d/n", "2").file(".wh.d", ""),
        |t| t.dir("d").file("d/n", "2").file("d/.wh..wh..opq", ""),
        |t| t.dir("d").file("d/.wh..wh..opq", "").file("d/n", "2"),
        |t| t.file("d/.wh..wh..opq", "").file("d/n", "2"),
        |t| t.file("d", "in between").dir("d").file("d/n", "2"),
    ] {
        assert_eq!(after(order), "d/ d/n=2 p/ p/q=1 top=1");
    }
    assert_eq!(after(|t| t.file(".wh..wh..opq", "").file("only", "2")), "only=2");
    assert_eq!(
        after(|t| t.dir("p").file("p/r", "2").file(".wh..wh..opq", "")),
        "p/ p/r=2"
    );
    assert_eq!(
        after(|t| t
            .file(".wh..wh.plnk", "")
            .file(".wh..wh.aufs", "")
            .file(".wh.none", "")),
        { "d/ d/a=1 d/b=1 d/e/ d/e/x=1 p/ p/q=1 top=1" }
    );
    // Something hidden comes back, and only as the last layer has it.
    let gone = tar(|t| t.file(".wh.d", ""));
    let back = tar(|t| t.dir("d").file("d/z", "3"));
    assert_eq!(
        paths(&[base.clone(), gone.clone(), back]),
        "d/ d/z=3 p/ p/q=1 top=1"
    );
    let implied = tar(|t| t.file("d/z", "3"));
    assert_eq!(
        paths(&[base.clone(), gone.clone(), implied]),
        "d/ d/z=3 p/ p/q=1 top=1"
    );
    let hidden_again = tar(|t| t.file(".wh.d", "").file("d/z/y", "3"));
    assert_eq!(paths(&[base, hidden_again]), "d/ d/z/ d/z/y=3 p/ p/q=1 top=1");
}

#[test]
fn replacing_one_kind_by_another() {
    let base = tar(|t| {
        t.dir("d")
            .file("d/a", "1")
            .file("f", "1")
            .symlink("s", "d")
            .symlink("t", "f")
    });
    let after = |build: for<'a> fn(&'a mut Tar) -> &'a mut Tar| paths(&[base.clone(), tar(build)]);
    assert_eq!(after(|t| t.file("d", "2")), "d=2 f=1 s>d t>f");
    assert_eq!(
        after(|t| t.dir("f").file("f/x", "2")),
        "d/ d/a=1 f/ f/x=2 s>d t>f"
    );
    assert_eq!(after(|t| t.file("s", "2")), "d/ d/a=1 f=1 s=2 t>f");
    assert_eq!(after(|t| t.file("t", "2")), "d/ d/a=1 f=1 s>d t=2");
    assert_eq!(
        after(|t| t.dir("s").file("s/x", "2")),
        "d/ d/a=1 f=1 s/ s/x=2 t>f"
    );
    assert_eq!(after(|t| t.symlink("d", "f")), "d>f f=1 s>d t>f");
    assert_eq!(
        after(|t| t.dir("d").file("d/b", "2")),
        "d/ d/a=1 d/b=2 f=1 s>d t>f"
    );
    assert_eq!(after(|t| t.file("f", "2").file("f", "3")), "d/ d/a=1 f=3 s>d t>f");
}

#[test]
fn folders_that_are_links_are_followed_inside_the_root() {
    let base = tar(|t| {
        t.dir("usr")
            .dir("usr/lib")
            .file("usr/lib/a", "1")
            .symlink("lib", "usr/lib")
            .symlink("abs", "/usr");
        t.dir("var")
            .symlink("var/run", "../run")
            .dir("run")
            .symlink("chain", "abs/lib")
            .symlink("loop", "loop")
    });
    let all = |more: &str| {
        format!(
            "abs>/usr chain>abs/lib lib>usr/lib loop>loop run/ {more}usr/ usr/lib/ usr/lib/a=1 var/ var/run>../run"
        )
    };
    let after = |build: for<'a> fn(&'a mut Tar) -> &'a mut Tar| paths(&[base.clone(), tar(build)]);
    assert_eq!(after(|t| t.file("var/run/pid", "2")), all("run/pid=2 "));
    for build in [
        (|t| t.file("lib/b", "2")) as for<'a> fn(&'a mut Tar) -> &'a mut Tar,
        |t| t.file("abs/lib/b", "2"),
        |t| t.file("chain/b", "2"),
        |t| t.file("usr/lib/b", "2"),
    ] {
        assert_eq!(after(build).replace(" usr/lib/b=2", ""), all(""));
    }
    assert_eq!(
        after(|t| t.file("lib/.wh.a", "")),
        all("").replace(" usr/lib/a=1", "")
    );
    assert_eq!(after(|t| t.link("run/l", "lib/a")), all("run/l=1 "));
    // The folders that are only passed through keep their look.
    let seen = both(&[base.clone(), tar(|t| t.file("lib/b", "2"))]);
    assert_eq!(seen[Path::new("usr/lib")].mtime, (1_000_000_000, 0));
}

#[test]
fn hard_links_to_files_of_lower_layers() {
    let base = tar(|t| {
        t.dir("d").add(&Spec {
            name: b"d/a",
            mode: 0o4711,
            owner: (7, 8),
            data: b"one",
            ..Spec::default()
        });
        t.symlink("d/s", "a")
    });
    let linked = tar(|t| {
        for (name, link) in [(b"b", &b"d/a"[..]), (b"c", b"./d/a")] {
            t.add(&Spec {
                name,
                link,
                kind: b'1',
                mode: 0o4711,
                owner: (7, 8),
                ..Spec::default()
            });
        }
        t.link("s2", "d/s")
    });
    let seen = {
        let mut stack = Stack::new();
        stack.apply(&base.end()).expect("base");
        stack.apply(&linked.end()).expect("linked");
        stack.look()
    };
    let of = |name: &str| {
        seen.get(Path::new(name))
            .unwrap_or_else(|| panic!("{name}: {seen:?}"))
    };
    for name in ["b", "c", "d/a"] {
        let seen = of(name);
        assert_eq!(
            (seen.links, seen.owner, seen.content.as_slice()),
            (3, (7, 8), &b"one"[..]),
            "{name}"
        );
    }
    assert_eq!((of("s2").content.as_slice(), of("s2").links), (&b"a"[..], 2));
}

#[test]
fn a_lower_layer_cannot_be_reached_where_it_is_hidden() {
    let base = tar(|t| t.dir("d").file("d/a", "1"));
    for hide in [
        tar(|t| t.file("d/.wh.a", "")),
        tar(|t| t.file(".wh.d", "")),
        tar(|t| t.file("d", "f")),
        tar(|t| t.dir("d").file("d/.wh..wh..opq", "")),
    ] {
        let link = tar(|t| t.link("b", "d/a"));
        let mut stack = Stack::new();
        for layer in [&base, &hide] {
            stack.apply(&layer.end()).expect("apply");
        }
        stack.apply(&link.end()).expect_err("two layers");
        let mut stack = Stack::new();
        stack.apply(&base.end()).expect("apply");
        let mut one = hide.clone();
        one.link("b", "d/a");
        stack.apply(&one.end()).expect_err("one layer");
    }
}

#[test]
fn overlayfs_own_marks_and_selinux_labels_are_not_taken_from_a_layer() {
    let mut tar = Tar::default();
    tar.pax(&[
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"x"),
        ("SCHILY.xattr.user.kept", b"k"),
    ]);
    tar.dir("d");
    let root = TempDir::new().expect("tempdir");
    into_folder(root.path(), &tar.end()).expect("apply");
    let mut names = vec![0; 1000];
    let length = rustix::fs::llistxattr(root.path().join("d"), names.as_mut_slice()).expect("list");
    assert_eq!(&names[..length], b"user.kept\0");
}
