//! What every snapshotter must do, run against one: `testsuite::run(root, &open, &with_mount)`.
//!
//! It panics at the first thing that is wrong, as tests do. It mounts nothing itself: the caller says how.

use std::fs;
use std::path::Path;

use gantry_errdefs::Kind as ErrorKind;

use crate::{Error, Kind, Labels, Mount, Snapshotter};

/// Mounts at a path of its own choosing, calls the function with that path, and unmounts.
pub type WithMount = dyn Fn(&[Mount], &mut dyn FnMut(&Path));

type Open<'a> = &'a dyn Fn() -> Box<dyn Snapshotter>;
type Case = fn(Open<'_>, &WithMount);

/// Runs all of it, each case on a new root below `root`. `open` opens the driver at a root that is new or was opened
/// before.
pub fn run<S: Snapshotter + 'static>(root: &Path, open: &dyn Fn(&Path) -> S, with_mount: &WithMount) {
    let cases: &[(&str, Case)] = &[
        ("names", names),
        ("layers", layers),
        ("views", views),
        ("removal", removal),
        ("labels", labels),
        ("usage", usage),
        ("deep", deep),
    ];
    for (name, case) in cases {
        let root = root.join(name);
        case(&|| Box::new(open(&root)), with_mount);
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, message: &str) {
    let error = result.expect_err("must fail");
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
}

#[track_caller]
fn write(with_mount: &WithMount, mounts: &[Mount], work: &dyn Fn(&Path) -> std::io::Result<()>) {
    let mut done = false;
    with_mount(mounts, &mut |at| {
        work(at).expect("work in the mount");
        done = true;
    });
    assert!(done, "the mount was not used");
}

fn layer(
    s: &dyn Snapshotter,
    name: &str,
    parent: &str,
    m: &WithMount,
    work: &dyn Fn(&Path) -> std::io::Result<()>,
) {
    let key = format!("{name}-active");
    let mounts = s.prepare(&key, parent, &Labels::new()).expect("prepare");
    write(m, &mounts, work);
    s.commit(name, &key, &Labels::new()).expect("commit");
}

fn names(open: Open<'_>, _: &WithMount) {
    let s = open();
    let none = Labels::new();
    s.prepare("a", "", &none).expect("prepare");
    fails(
        s.prepare("a", "", &none),
        ErrorKind::AlreadyExists,
        "snapshot \"a\": already exists",
    );
    fails(
        s.view("a", "", &none),
        ErrorKind::AlreadyExists,
        "snapshot \"a\": already exists",
    );
    fails(
        s.prepare("", "", &none),
        ErrorKind::InvalidArgument,
        "snapshot key must not be empty: invalid argument",
    );
    fails(
        s.prepare("b", "a", &none),
        ErrorKind::InvalidArgument,
        "parent \"a\" is not committed snapshot: invalid argument",
    );
    fails(
        s.prepare("b", "nope", &none),
        ErrorKind::NotFound,
        "parent snapshot nope does not exist: not found",
    );
    fails(
        s.commit("a", "a", &none),
        ErrorKind::AlreadyExists,
        "snapshot \"a\": already exists",
    );
    s.commit("A", "a", &none).expect("commit");
    fails(
        s.stat("a"),
        ErrorKind::NotFound,
        "snapshot a does not exist: not found",
    );
    fails(
        s.commit("B", "A", &none),
        ErrorKind::FailedPrecondition,
        "snapshot \"A\" is not active: failed precondition",
    );
    fails(
        s.commit("B", "a", &none),
        ErrorKind::NotFound,
        "snapshot a does not exist: not found",
    );
    fails(
        s.mounts("A"),
        ErrorKind::FailedPrecondition,
        "requested snapshot A not active or view: failed precondition",
    );
    fails(
        s.mounts("a"),
        ErrorKind::NotFound,
        "snapshot a does not exist: not found",
    );
    let mounts = s.prepare("b", "A", &none).expect("prepare");
    drop(s);

    let s = open();
    assert_eq!(s.mounts("b").expect("mounts"), mounts);
    let list = s.list().expect("list");
    let seen: Vec<_> = list
        .iter()
        .map(|i| (i.name.as_str(), i.parent.as_str(), i.kind))
        .collect();
    assert_eq!(seen, [("A", "", Kind::Committed), ("b", "A", Kind::Active)]);
    assert_eq!(s.stat("b").expect("stat"), list[1]);
}

fn layers(open: Open<'_>, m: &WithMount) {
    let s = open();
    layer(&*s, "one", "", m, &|at| {
        fs::create_dir(at.join("d"))?;
        fs::write(at.join("d/kept"), "1")?;
        fs::write(at.join("d/changed"), "1")?;
        fs::write(at.join("d/deleted"), "1")
    });
    layer(&*s, "two", "one", m, &|at| {
        fs::write(at.join("d/changed"), "2")?;
        fs::remove_file(at.join("d/deleted"))?;
        fs::write(at.join("d/added"), "2")
    });
    let text = |at: &Path, name: &str| fs::read_to_string(at.join(name)).ok();
    for key in ["x", "y"] {
        let mounts = s.prepare(key, "two", &Labels::new()).expect("prepare");
        write(m, &mounts, &|at| {
            let found = ["d/kept", "d/changed", "d/deleted", "d/added", "own"].map(|n| text(at, n));
            assert_eq!(
                found,
                [Some("1".into()), Some("2".into()), None, Some("2".into()), None]
            );
            fs::write(at.join("own"), key)
        });
    }
    // Each keeps what it wrote, and nobody else sees it.
    let mounts = s.mounts("x").expect("mounts");
    write(m, &mounts, &|at| {
        assert_eq!(text(at, "own").as_deref(), Some("x"));
        Ok(())
    });
}

fn views(open: Open<'_>, m: &WithMount) {
    let s = open();
    layer(&*s, "one", "", m, &|at| fs::write(at.join("f"), "1"));
    layer(&*s, "two", "one", m, &|at| fs::write(at.join("g"), "2"));
    for (key, parent, expected) in [("v0", "", ""), ("v1", "one", "f"), ("v2", "two", "f g")] {
        let mounts = s.view(key, parent, &Labels::new()).expect("view");
        write(m, &mounts, &|at| {
            let mut seen: Vec<_> = fs::read_dir(at)?
                .map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_, _>>()?;
            seen.sort();
            assert_eq!(seen.join(" "), expected);
            let error = fs::write(at.join("new"), "").expect_err("a view is read-only");
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            Ok(())
        });
        assert_eq!(s.usage(key).expect("usage").inodes, 0);
        fails(
            s.commit("c", key, &Labels::new()),
            ErrorKind::FailedPrecondition,
            &format!("snapshot {key:?} is not active: failed precondition"),
        );
    }
}

fn removal(open: Open<'_>, m: &WithMount) {
    let s = open();
    layer(&*s, "one", "", m, &|at| fs::write(at.join("f"), "1"));
    layer(&*s, "two", "one", m, &|at| fs::write(at.join("g"), "2"));
    s.prepare("x", "two", &Labels::new()).expect("prepare");
    s.view("v", "one", &Labels::new()).expect("view");
    for key in ["one", "two"] {
        fails(
            s.remove(key),
            ErrorKind::FailedPrecondition,
            "cannot remove snapshot with child: failed precondition",
        );
    }
    for key in ["x", "two", "v", "one"] {
        s.remove(key).expect("remove");
        fails(
            s.remove(key),
            ErrorKind::NotFound,
            &format!("snapshot {key} does not exist: not found"),
        );
    }
    s.cleanup().expect("cleanup");
    assert!(s.list().expect("list").is_empty());
    // A name is free again, and what it had is not.
    let mounts = s.prepare("x", "", &Labels::new()).expect("prepare");
    write(m, &mounts, &|at| {
        assert_eq!(fs::read_dir(at)?.count(), 0);
        Ok(())
    });
}

fn labels(open: Open<'_>, _: &WithMount) {
    let s = open();
    let of = |pairs: &[(&str, &str)]| -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    s.prepare("a", "", &of(&[("k", "1"), ("l", "1")]))
        .expect("prepare");
    let mut info = s.stat("a").expect("stat");
    let before = info.clone();
    info.labels = of(&[("k", "2"), ("l", "2"), ("m", "2")]);
    let info = s.update(&info, &["labels.k".into()]).expect("update");
    assert_eq!(info.labels, of(&[("k", "2"), ("l", "1")]));
    assert_eq!(
        (info.created_at, s.stat("a").expect("stat")),
        (before.created_at, info.clone())
    );
    assert!(info.updated_at > before.updated_at);
    let mut wanted = info.clone();
    wanted.labels = of(&[("n", "3")]);
    assert_eq!(
        s.update(&wanted, &["labels.k".into()]).expect("update").labels,
        of(&[("l", "1")])
    );
    assert_eq!(
        s.update(&wanted, &["labels".into()]).expect("update").labels,
        of(&[("n", "3")])
    );
    wanted.labels = of(&[("o", "4")]);
    assert_eq!(s.update(&wanted, &[]).expect("update").labels, of(&[("o", "4")]));
    fails(
        s.update(&wanted, &["parent".into()]),
        ErrorKind::InvalidArgument,
        "cannot update \"parent\" field on snapshot \"a\": invalid argument",
    );
    s.commit("A", "a", &of(&[("p", "5")])).expect("commit");
    assert_eq!(s.stat("A").expect("stat").labels, of(&[("p", "5")]));
}

fn usage(open: Open<'_>, m: &WithMount) {
    let s = open();
    let mounts = s.prepare("a", "", &Labels::new()).expect("prepare");
    assert_eq!(s.usage("a").expect("usage").inodes, 1);
    write(m, &mounts, &|at| {
        fs::write(at.join("f"), vec![1; 1 << 20])?;
        fs::hard_link(at.join("f"), at.join("g"))?;
        fs::create_dir(at.join("d"))
    });
    let active = s.usage("a").expect("usage");
    s.commit("A", "a", &Labels::new()).expect("commit");
    for _ in 0..2 {
        let usage = s.usage("A").expect("usage");
        assert_eq!(usage.inodes, 3);
        assert!(
            (1 << 20..(1 << 20) + (64 << 10)).contains(&usage.size),
            "{usage:?}"
        );
        assert_eq!(usage.inodes, active.inodes);
    }
    fails(
        s.usage("a"),
        ErrorKind::NotFound,
        "snapshot a does not exist: not found",
    );
}

fn deep(open: Open<'_>, m: &WithMount) {
    // Deeper than a path may be long and than a process may have files open.
    let s = open();
    let mounts = s.prepare("a", "", &Labels::new()).expect("prepare");
    write(m, &mounts, &|at| {
        let (inner, outer) = (at.join("inner"), at.join("outer"));
        fs::create_dir(&inner)?;
        fs::write(inner.join("f"), "x")?;
        for _ in 0..3000 {
            fs::create_dir(&outer)?;
            fs::rename(&inner, outer.join("inner"))?;
            fs::rename(&outer, &inner)?;
        }
        Ok(())
    });
    s.remove("a").expect("remove");
    s.cleanup().expect("cleanup");
}
