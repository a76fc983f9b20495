//! The overlay driver on the real overlayfs (root), its mounts beside containerd's, its crashes and its speed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gantry_snapshots::{Kind, Labels, Mount, Overlay, Snapshotter, testsuite};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

const ROOT: &str = "GANTRY_SNAPSHOTS_TEST_ROOT";

fn with_mount(mounts: &[Mount], work: &mut dyn FnMut(&Path)) {
    struct Mounted(TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
        }
    }
    let [one] = mounts else { panic!("{mounts:?}") };
    let at = Mounted(TempDir::new().expect("tempdir"));
    let has = |option: &str| one.options.iter().any(|o| o == option);
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for option in &one.options {
        match option.as_str() {
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "ro" | "rw" => {}
            other => data.push(other),
        }
    }
    let data = data.join(",");
    mount(
        Some(one.source.as_str()),
        at.0.path(),
        Some(one.kind.as_str()),
        flags,
        Some(data.as_str()),
    )
    .unwrap_or_else(|e| panic!("{one:?}: {e}"));
    if has("ro") {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, at.0.path(), None::<&str>, flags, None::<&str>).expect("read-only");
    }
    work(at.0.path());
}

#[test]
fn it_passes_the_suite() {
    let root = TempDir::new().expect("tempdir");
    testsuite::run(
        root.path(),
        &|root: &Path| Overlay::open(root).expect("open"),
        &with_mount,
    );
    for case in fs::read_dir(root.path()).expect("ls") {
        let trash = case.expect("case").path().join("trash");
        assert_eq!(fs::read_dir(&trash).expect("ls").count(), 0, "{trash:?}");
    }
}

#[test]
fn mounts_are_those_of_containerd() {
    let root = TempDir::new().expect("tempdir");
    let s = Overlay::open(root.path()).expect("open");
    let none = Labels::new();
    let dir = |n: u32, what: &str| {
        root.path()
            .join(format!("snapshots/{n}/{what}"))
            .display()
            .to_string()
    };
    let bind = |n: u32, access: &str| Mount {
        kind: "bind".into(),
        source: dir(n, "fs"),
        options: vec![access.into(), "rbind".into()],
    };
    assert_eq!(s.prepare("a", "", &none).expect("a"), [bind(1, "rw")]);
    s.commit("A", "a", &none).expect("commit");
    s.prepare("b", "A", &none).expect("b");
    s.commit("B", "b", &none).expect("commit");
    let lower = format!("lowerdir={}:{}", dir(2, "fs"), dir(1, "fs"));
    let overlay = |options: &[String]| Mount {
        kind: "overlay".into(),
        source: "overlay".into(),
        options: options.to_vec(),
    };
    let c = s.prepare("c", "B", &none).expect("c");
    let work = format!("workdir={}", dir(3, "work"));
    assert_eq!(
        c,
        [overlay(&[
            "index=off".into(),
            work,
            format!("upperdir={}", dir(3, "fs")),
            lower.clone()
        ])]
    );
    assert_eq!(
        s.view("v", "B", &none).expect("v"),
        [overlay(&["index=off".into(), lower])]
    );
    assert_eq!(s.view("w", "A", &none).expect("w"), [bind(1, "ro")]);
    assert_eq!(s.view("x", "", &none).expect("x"), [bind(6, "ro")]);
}

#[test]
fn the_root_of_a_child_looks_as_its_parent_left_it() {
    let root = TempDir::new().expect("tempdir");
    let s = Overlay::open(root.path()).expect("open");
    let none = Labels::new();
    let below = s.prepare("a", "", &none).expect("a");
    let below = Path::new(&below[0].source);
    assert_eq!(fs::metadata(below).expect("stat").mode() & 0o7777, 0o755);
    fs::set_permissions(below, fs::Permissions::from_mode(0o1711)).expect("chmod");
    std::os::unix::fs::chown(below, Some(7), Some(8)).expect("chown");
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::new(5, 6));
    fs::File::open(below)
        .expect("open")
        .set_times(old)
        .expect("times");
    s.commit("A", "a", &none).expect("commit");
    let mounts = s.prepare("b", "A", &none).expect("b");
    with_mount(&mounts, &mut |at| {
        let stat = fs::metadata(at).expect("stat");
        assert_eq!(
            (
                stat.mode() & 0o7777,
                stat.uid(),
                stat.gid(),
                stat.mtime(),
                stat.mtime_nsec()
            ),
            (0o1711, 7, 8, 5, 6)
        );
    });
}

#[test]
fn folders_that_nobody_owns_go_at_open_and_a_taken_number_is_no_obstacle() {
    let root = TempDir::new().expect("tempdir");
    drop(Overlay::open(root.path()).expect("open"));
    for orphan in ["snapshots/1/fs/x", "snapshots/99/fs", "trash/5/fs/y"] {
        fs::create_dir_all(root.path().join(orphan)).expect("mkdir");
    }
    let s = Overlay::open(root.path()).expect("open");
    let count = |folder: &str| fs::read_dir(root.path().join(folder)).expect("ls").count();
    assert_eq!((count("snapshots"), count("trash")), (0, 0));
    // As if the process had died between making the folder and the commit.
    fs::create_dir_all(root.path().join("snapshots/1/fs/x")).expect("mkdir");
    let mounts = s.prepare("a", "", &Labels::new()).expect("prepare");
    assert!(mounts[0].source.ends_with("/1/fs"));
    assert_eq!((count("snapshots/1/fs"), count("trash")), (0, 0));
}

/// Not a test by itself: works without end when the variable is set.
#[test]
fn worker_to_be_killed() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let s = Overlay::open(root).expect("open");
    let none = Labels::new();
    let first = s.list().expect("list").len() * 1000;
    for n in first.. {
        let (key, name) = (format!("k{n}"), format!("n{n}"));
        let mounts = s.prepare(&key, "", &none).expect("prepare");
        fs::create_dir_all(format!("{}/a/b/c", mounts[0].source)).expect("mkdir");
        s.commit(&name, &key, &none).expect("commit");
        s.prepare(&key, &name, &none).expect("prepare");
        s.remove(&key).expect("remove");
        if n % 2 == 0 {
            s.remove(&name).expect("remove");
        }
    }
}

#[test]
fn killed_at_any_moment_rows_and_folders_agree() {
    let root = TempDir::new().expect("tempdir");
    let program = std::env::current_exe().expect("self");
    for round in 0..20 {
        let mut child = Command::new(&program)
            .args(["--exact", "worker_to_be_killed", "--nocapture"])
            .env(ROOT, root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawn");
        std::thread::sleep(Duration::from_micros(20_000 + 2_900 * round));
        child.kill().expect("kill");
        let status = child.wait().expect("wait");
        assert!(status.code().is_none(), "it failed by itself: {status}");

        let s = Overlay::open(root.path()).expect("open");
        let list = s.list().expect("list");
        let folders = fs::read_dir(root.path().join("snapshots")).expect("ls").count();
        assert_eq!(folders, list.len());
        assert_eq!(fs::read_dir(root.path().join("trash")).expect("ls").count(), 0);
        for info in list {
            if info.kind == Kind::Committed {
                s.view("probe", &info.name, &Labels::new()).expect("view");
                assert!(
                    Path::new(&s.mounts("probe").expect("mounts")[0].source)
                        .join("a/b/c")
                        .is_dir()
                );
                s.remove("probe").expect("remove");
            } else {
                s.remove(&info.name).expect("remove");
            }
        }
    }
}

#[test]
fn a_durable_commit_is_quick() {
    let root = TempDir::new().expect("tempdir");
    let s = Overlay::open(root.path()).expect("open");
    let none = Labels::new();
    let mut times: Vec<_> = (0..40)
        .map(|n| {
            let (key, name) = (format!("k{n}"), format!("n{n}"));
            s.prepare(&key, "", &none).expect("prepare");
            let begun = Instant::now();
            s.commit(&name, &key, &none).expect("commit");
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("commit: median {:?}, worst {:?}", times[20], times[39]);
    // The disk of the machine decides; this is to find orders of magnitude lost, not to measure.
    assert!(times[20] < Duration::from_millis(500), "{times:?}");
}
