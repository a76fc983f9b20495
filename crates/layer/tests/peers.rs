//! Whole images beside umoci, and random layers beside themselves in the other form. Needs root.

mod support;

use std::fs;
use std::process::Command;

use gantry_layer::{Options, Target, apply};
use proptest::prelude::*;
use support::{Stack, Tar, differences, look};
use tempfile::TempDir;

/// Three layers with all that can be said in one, made by GNU tar; whiteouts are files with their names.
const IMAGE: &str = r#"
    tar() { command tar --numeric-owner --sort=name --format=pax --xattrs --xattrs-include='*' "$@"; }
    mkdir -p 1/etc/conf.d 1/usr/bin 1/usr/lib/deep/er 1/gone/below 1/opaque/below 1/tmp 1/var 1/run
    printf one > 1/etc/a; printf one > 1/etc/b; printf one > 1/gone/below/x; printf one > 1/opaque/below/x
    printf s > 1/usr/bin/su; chmod 4755 1/usr/bin/su; ln 1/usr/bin/su 1/usr/bin/su2
    printf c > 1/usr/bin/ping
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 1/usr/bin/ping
    setfattr -n user.mark -v m 1/usr/lib/deep
    ln -s usr/lib 1/lib; ln -s ../run 1/var/run; mkfifo 1/run/pipe; mknod 1/run/null c 1 3
    chmod 1777 1/tmp; chown 10:20 1/etc/a 1/usr/lib/deep; chown -h 30:40 1/lib; chmod 750 1/usr/lib/deep
    find 1 -exec touch -h -d '2001-01-01 01:01:01.25' {} +

    mkdir -p 2/etc 2/opaque 2/usr/lib/deep 2/new
    printf two > 2/etc/b; : > 2/etc/.wh.a; : > 2/.wh.gone; : > 2/opaque/.wh..wh..opq; printf two > 2/opaque/y
    printf two > 2/new/f; ln 2/new/f 2/new/g; printf two > 2/usr/lib/deep/two
    chmod 711 2/usr/lib/deep; chown 11:21 2/usr/lib/deep
    find 2 -exec touch -h -d '2002-02-02 02:02:02.5' {} +

    mkdir -p 3/etc/conf.d 3/gone; printf three > 3/etc/a; printf three > 3/gone/z; printf three > 3/etc/conf.d/c
    mkdir -p 3/new; : > 3/etc/.wh.b; ln -s nowhere 3/new/dangling
    find 3 -exec touch -h -d '2003-03-03 03:03:03.75' {} +

    for n in 1 2 3; do tar -C $n -cf $n.tar .; done
    gzip -k 2.tar
    umoci init --layout image
    umoci new --image image:t
    for n in 1 2 3; do umoci raw add-layer --image image:t $n.tar; done
    umoci raw unpack --image image:t umoci
"#;

#[test]
fn an_image_becomes_what_umoci_unpacks() {
    if Command::new("umoci").arg("--version").output().is_err() {
        println!("umoci is not installed");
        return;
    }
    let work = TempDir::new().expect("tempdir");
    let made = Command::new("sh")
        .args(["-euc", IMAGE])
        .current_dir(work.path())
        .output()
        .expect("sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut stack = Stack::new();
    let flat = work.path().join("flat");
    fs::create_dir(&flat).expect("mkdir");
    for layer in ["1.tar", "2.tar.gz", "3.tar"] {
        let layer = fs::read(work.path().join(layer)).expect("read");
        stack.apply(&layer).expect("apply");
        apply(
            layer.as_slice(),
            &Target::Directory(flat.clone()),
            &Options::default(),
        )
        .expect("apply");
    }
    let umoci = look(&work.path().join("umoci"));
    for (form, ours) in [("overlay", stack.look()), ("folder", look(&flat))] {
        let different = differences(&umoci, &ours);
        assert!(
            different.is_empty(),
            "{form}: umoci's first\n{}",
            different.join("\n")
        );
    }
}

/// One thing that a random layer says.
#[derive(Clone, Debug)]
enum Said {
    File(String, u8),
    Dir(String),
    Symlink(String, String),
    Link(String, String),
    Whiteout(String),
    Opaque(String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|parts| parts.join("/"))
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(p, n)| Said::File(p, n)),
        4 => path().prop_map(Said::Dir),
        1 => (path(), "(/|\\.\\./)?[abc](/[abc])?").prop_map(|(p, to)| Said::Symlink(p, to)),
        1 => (path(), path()).prop_map(|(p, to)| Said::Link(p, to)),
        3 => path().prop_map(Said::Whiteout),
        1 => path().prop_map(Said::Opaque),
    ]
}

fn write(layer: &[Said]) -> Vec<u8> {
    let mut tar = Tar::default();
    for said in layer {
        match said {
            Said::File(path, n) => tar.file(path, &n.to_string()),
            Said::Dir(path) => tar.dir(path),
            Said::Symlink(path, to) => tar.symlink(path, to),
            Said::Link(path, to) => tar.link(path, to),
            Said::Whiteout(path) => {
                let (folder, name) = path.rsplit_once('/').map_or((".", path.as_str()), |pair| pair);
                tar.file(&format!("{folder}/.wh.{name}"), "")
            }
            Said::Opaque(path) => tar.file(&format!("{path}/.wh..wh..opq"), ""),
        };
    }
    tar.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is applied to upper folders and stacked by the kernel is what is applied to one folder by deleting.
    #[test]
    fn both_forms_agree(layers in prop::collection::vec(prop::collection::vec(said(), 0..8), 1..5)) {
        let flat = TempDir::new().expect("tempdir");
        let target = Target::Directory(flat.path().to_owned());
        let mut stack = Stack::new();
        let mut all = true;
        for layer in &layers {
            let layer = write(layer);
            let applied = apply(layer.as_slice(), &target, &Options::default()).map(|a| a.diff_id);
            let stacked = stack.apply(&layer).map(|a| a.diff_id);
            match (applied, stacked) {
                (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
                (Err(a), Err(b)) => {
                    prop_assert_eq!(a.to_string(), b.to_string());
                    all = false;
                    break;
                }
                (a, b) => prop_assert!(false, "{:?} and {:?}", a, b),
            }
        }
        if all {
            let (mut a, mut b) = (look(flat.path()), stack.look());
            for tree in [&mut a, &mut b] {
                for seen in tree.values_mut() {
                    // A hard link to a file below copies it up, alone; folders that no entry is about are of now.
                    seen.links = 0;
                    if seen.mode & 0o170_000 == 0o040_000 {
                        seen.mtime = (0, 0);
                    }
                }
            }
            let different = differences(&a, &b);
            prop_assert!(different.is_empty(), "folder first:\n{}", different.join("\n"));
        }
    }
}
