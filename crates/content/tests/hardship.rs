//! The store on a full disk, and under SIGKILL. The first needs root (a small tmpfs).

use std::process::{Command, Stdio};
use std::time::Duration;

use gantry_content::{Error, Store, digest_of};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// The writer that is killed is this test program again, told by this variable where to write.
const ROOT: &str = "GANTRY_CONTENT_TEST_ROOT";

struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let at = TempDir::new().expect("tempdir");
        mount(
            Some("tmpfs"),
            at.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=1m,nr_inodes=64"),
        )
        .expect("mount tmpfs");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_told_as_such_and_nothing_is_left_of_the_ingest() {
    let disk = SmallDisk::new();
    let store = Store::open(disk.0.path()).expect("open");
    let mut writer = store.writer("big", 0, None).expect("writer");
    let chunk = vec![7; 300 << 10];
    let error = (0..8)
        .find_map(|_| writer.write(&chunk).err())
        .expect("must fill up");
    assert!(matches!(error, Error::Exhausted { .. }), "{error:?}");
    let error = gantry_errdefs::Error::from(error);
    assert_eq!(error.kind(), gantry_errdefs::Kind::ResourceExhausted);
    assert!(
        error.chain().contains("No space left on device"),
        "{}",
        error.chain()
    );
    assert_eq!(writer.status().offset % chunk.len() as u64, 0);
    drop(writer);
    assert!(store.statuses().expect("statuses").is_empty());

    // With the room back, the next one goes through.
    let small = vec![1; 900 << 10];
    let mut writer = store.writer("next", 0, None).expect("writer");
    writer.write(&small).expect("write");
    writer.commit(0, Some(&digest_of(&small))).expect("commit");
}

#[test]
fn no_inode_left_begins_no_ingest() {
    let disk = SmallDisk::new();
    let store = Store::open(disk.0.path()).expect("open");
    let error = (0..64)
        .map(|n| store.writer(&format!("r{n}"), 0, None))
        .find_map(Result::err)
        .expect("must run out");
    assert!(matches!(error, Error::Exhausted { .. }), "{error:?}");
    let whole = store.statuses().expect("statuses").len();
    let folders = std::fs::read_dir(disk.0.path().join("ingest"))
        .expect("ls")
        .count();
    assert_eq!(whole, folders);
}

/// Not a test by itself: writes blobs without end when the variable is set.
#[test]
fn writer_to_be_killed() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let store = Store::open(root).expect("open");
    for n in 0_u64.. {
        let bytes: Vec<u8> = n.to_le_bytes().repeat(20_000);
        let digest = digest_of(&bytes);
        match store.writer(&format!("ref-{}", n % 3), 0, None) {
            Ok(mut writer) => {
                writer.truncate(0).expect("truncate");
                for part in bytes.chunks(50_000) {
                    writer.write(part).expect("write");
                }
                match writer.commit(bytes.len() as u64, Some(&digest)) {
                    Ok(_) | Err(Error::AlreadyExists(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn killed_at_any_moment_every_visible_blob_is_whole_and_every_ingest_resumes() {
    let root = TempDir::new().expect("tempdir");
    let program = std::env::current_exe().expect("self");
    // On a busy machine some of the writers are killed before they wrote anything.
    for round in 0..200 {
        let mut child = Command::new(&program)
            .args(["--exact", "writer_to_be_killed", "--nocapture"])
            .env(ROOT, root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawn");
        std::thread::sleep(Duration::from_micros(15_000 + 3_700 * round));
        child.kill().expect("kill");
        let status = child.wait().expect("wait");
        assert!(
            !status.success() && status.code().is_none(),
            "it failed by itself: {status}"
        );

        let store = Store::open(root.path()).expect("open");
        for info in store.list().expect("list") {
            assert_eq!(digest_of(&store.read(&info.digest).expect("read")), info.digest);
        }
        if round >= 25 && !store.list().expect("list").is_empty() {
            return;
        }
        let statuses = store.statuses().expect("statuses");
        assert_eq!(
            std::fs::read_dir(root.path().join("ingest")).expect("ls").count(),
            statuses.len()
        );
        for status in statuses {
            let writer = store.writer(&status.reference, 0, None).expect("resume");
            assert_eq!(writer.status().offset, status.offset);
        }
    }
    panic!("no writer ever got to a blob");
}
