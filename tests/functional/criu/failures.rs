//! What fails says why in one sentence, and leaves nothing behind.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::case::{COUNTS, Case, unusable};

#[test]
fn images_that_are_missing_or_damaged() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    case.restore(&[]).failure("images");
    case.is_gone();
    case.start();
    case.counted(0);
    case.dump(&[]).success();
    let images = fs::read_dir(case.images()).expect("the images").flatten();
    let core = images.map(|entry| entry.path()).find(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("core-")
    });
    let core = core.expect("an image of registers");
    fs::write(&core, "damaged").expect("damage it");
    let said = case.restore(&[]).failure("criu failed: type RESTORE errno");
    for part in ["Error (criu/", "log file: ", "restore.log"] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    case.is_gone();
    assert!(!case.place.join("pid").with_extension("new").exists());
    // What was not written down is not made.
    fs::remove_file(case.images().join("descriptors.json")).expect("remove it");
    case.restore(&[]).failure("descriptors.json");
    case.is_gone();
}

#[test]
fn a_mount_whose_source_is_gone() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    let source = case.place.join("source");
    fs::create_dir(&source).expect("a folder");
    // Some places of mounts are in other mounts, and are made again.
    case.mount(json!({ "type": "bind", "source": source, "destination": "/outer", "options": ["bind"] }));
    case.mount(json!({
        "type": "bind", "source": "/etc/passwd", "destination": "/outer/in/ner", "options": ["bind", "ro"],
    }));
    case.start();
    let before = case.counted(0);
    case.dump(&[]).success();
    fs::remove_dir_all(source.join("in")).expect("remove the place");
    case.restore(&[]).success();
    case.counted(before);
    case.exec("grep -q root /outer/in/ner").success();
    case.dump(&[]).success();
    fs::rename(&source, case.place.join("elsewhere")).expect("move it");
    case.restore(&[]).failure("source");
    case.is_gone();
    assert!(Path::new("/etc/passwd").exists());
    assert!(case.place.join("elsewhere/in/ner").exists());
}

#[test]
fn a_dump_that_fails_lets_it_go_on() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    case.install("flock");
    case.dump(&[]).failure("does not exist");
    case.start();
    let before = case.counted(0);
    // A folder that is a file.
    fs::write(case.images(), "").expect("a file");
    case.dump(&[]).failure("images");
    fs::remove_file(case.images()).expect("remove it");
    case.exec("flock /tmp/lock sleep 1000 < /dev/null > /dev/null 2>&1 &")
        .success();
    gantry_testkit::cmd::wait_until("a lock", || case.exec("flock -n /tmp/lock true").code == 1);
    let said = case.dump(&[]).failure("criu failed: type DUMP errno");
    assert!(
        said.stderr.contains("file lock") && said.stderr.contains("dump.log"),
        "{said:?}"
    );
    assert_eq!(case.status(), "running");
    case.counted(before);
    case.call(&["kill", case.id(), "KILL"]).success();
    gantry_testkit::cmd::wait_until("its end", || case.status() == "stopped");
    case.dump(&[])
        .failure("Container cannot be checkpointed in stopped state");
    case.delete();
    case.is_gone();
}
