//! The store's contract, on a real disk: what is verified, what is said, what is left.

use std::io::Read;

use gantry_content::{Error, Store, digest_of};
use gantry_errdefs::Kind;
use gantry_oci::Digest;
use gantry_oci::digest::Algorithm;
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let root = TempDir::new().expect("tempdir");
    let store = Store::open(root.path()).expect("open");
    (root, store)
}

fn said(error: Error) -> (Kind, String) {
    let error = gantry_errdefs::Error::from(error);
    (error.kind(), error.chain())
}

#[test]
fn a_blob_becomes_visible_by_its_commit_alone() {
    let (root, store) = store();
    let digest = digest_of(b"hello world");
    let mut writer = store.writer("one", 11, Some(&digest)).expect("writer");
    writer.write(b"hello ").expect("write");
    writer.write(b"world").expect("write");
    assert_eq!(
        said(store.info(&digest).expect_err("not yet")).1,
        format!("content digest {digest}: not found")
    );
    assert_eq!(store.statuses().expect("statuses").len(), 1);
    assert_eq!(store.status("one").expect("status").offset, 11);
    assert_eq!(writer.commit(11, Some(&digest)).expect("commit"), digest);
    drop(writer);
    assert!(store.statuses().expect("statuses").is_empty());
    let info = store.info(&digest).expect("info");
    assert_eq!((info.size, store.list().expect("list")), (11, vec![info]));
    assert_eq!(
        std::fs::read_dir(root.path().join("ingest")).expect("ls").count(),
        0
    );

    let mut reader = store.reader(&digest).expect("reader");
    let mut five = [0; 5];
    assert_eq!(reader.read_at(&mut five, 6).expect("read"), 5);
    assert_eq!(&five, b"world");
    assert_eq!(reader.read_at(&mut five, 11).expect("end"), 0);
    assert_eq!(
        said(reader.read_at(&mut five, 12).expect_err("past")).0,
        Kind::OutOfRange
    );
    store.delete(&digest).expect("delete");
    reader.seek_to(6).expect("seek");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("still open");
    assert_eq!(rest, "world");
    assert_eq!(said(store.delete(&digest).expect_err("twice")).0, Kind::NotFound);
}

#[test]
fn a_wrong_size_or_digest_is_told_and_the_ingest_stays() {
    let (_root, store) = store();
    let (right, wrong) = (digest_of(b"abc"), digest_of(b"abd"));
    let mut writer = store.writer("r", 0, None).expect("writer");
    writer.write(b"abc").expect("write");
    assert_eq!(
        said(writer.commit(4, None).expect_err("size")),
        (
            Kind::FailedPrecondition,
            "unexpected commit size 3, expected 4: failed precondition".into()
        )
    );
    assert_eq!(
        said(writer.commit(0, Some(&wrong)).expect_err("digest")),
        (
            Kind::FailedPrecondition,
            format!("unexpected commit digest {right}, expected {wrong}: failed precondition")
        )
    );
    assert!(store.list().expect("list").is_empty());
    writer.truncate(0).expect("truncate");
    assert_eq!(
        said(writer.truncate(1).expect_err("to 1")).0,
        Kind::InvalidArgument
    );
    writer.write(b"abd").expect("write");
    assert_eq!(writer.commit(0, Some(&wrong)).expect("commit"), wrong);
}

#[test]
fn an_ingest_is_resumed_with_what_was_written_and_has_one_writer() {
    let (root, store) = store();
    let digest = digest_of(b"first second");
    let mut writer = store.writer("layer", 12, None).expect("writer");
    writer.write(b"first ").expect("write");
    let locked = said(store.writer("layer", 12, None).expect_err("locked"));
    assert_eq!(
        locked,
        (Kind::Unavailable, "ref layer locked: unavailable".into())
    );
    drop(writer);
    let store = Store::open(root.path())
        .map(|again| (drop(store), again).1)
        .expect("reopen");
    assert_eq!(
        said(store.writer("layer", 13, None).expect_err("other total")).1,
        "provided total differs from status: 13 != 12: invalid argument"
    );
    let mut writer = store.writer("layer", 12, Some(&digest)).expect("resumed");
    assert_eq!((writer.status().offset, writer.status().total), (6, 12));
    writer.write(b"second").expect("write");
    writer.commit(12, Some(&digest)).expect("commit");
    assert_eq!(
        said(store.writer("x", 0, Some(&digest)).expect_err("there")).0,
        Kind::AlreadyExists
    );
}

#[test]
fn the_second_of_two_commits_of_one_blob_learns_that_it_exists() {
    let (_root, store) = store();
    let digest = digest_of(b"same");
    let mut writers: Vec<_> = ["a", "b"]
        .iter()
        .map(|r| store.writer(r, 0, Some(&digest)).expect("writer"))
        .collect();
    for writer in &mut writers {
        writer.write(b"same").expect("write");
    }
    writers[0].commit(4, Some(&digest)).expect("first");
    let second = said(writers[1].commit(4, Some(&digest)).expect_err("second"));
    assert_eq!(
        second,
        (Kind::AlreadyExists, format!("content {digest}: already exists"))
    );
    assert!(store.statuses().expect("statuses").is_empty());
}

#[test]
fn abort_forgets_and_another_algorithm_works() {
    let (_root, store) = store();
    store
        .writer("gone", 0, None)
        .expect("writer")
        .write(b"x")
        .expect("write");
    store.abort("gone").expect("abort");
    assert_eq!(said(store.abort("gone").expect_err("twice")).0, Kind::NotFound);
    assert_eq!(said(store.status("gone").expect_err("gone")).0, Kind::NotFound);
    assert_eq!(
        said(store.writer("", 0, None).expect_err("empty")).0,
        Kind::InvalidArgument
    );

    let mut hasher = gantry_content::Hasher::new(Algorithm::Sha512);
    hasher.update(b"long");
    let digest: Digest = hasher.digest();
    let mut writer = store.writer("l", 0, None).expect("writer");
    writer.write(b"long").expect("write");
    assert_eq!(writer.commit(0, Some(&digest)).expect("commit"), digest);
    assert_eq!(store.read(&digest).expect("read"), b"long");
}

#[test]
fn what_a_crash_left_is_tidied_at_open() {
    let (root, store) = store();
    drop(store.writer("kept", 0, None).expect("writer"));
    let ingests = root.path().join("ingest");
    for (folder, files) in [
        (".new-abc", &["data", "ref"][..]),
        ("noref", &["data"]),
        ("nodata", &["ref", "total"]),
    ] {
        std::fs::create_dir(ingests.join(folder)).expect("mkdir");
        for file in files {
            std::fs::write(ingests.join(folder).join(file), "1").expect("write");
        }
    }
    let store = Store::open(root.path()).expect("open");
    let left: Vec<_> = store
        .statuses()
        .expect("statuses")
        .into_iter()
        .map(|s| s.reference)
        .collect();
    assert_eq!(left, ["kept"]);
    assert_eq!(std::fs::read_dir(ingests).expect("ls").count(), 1);
}
