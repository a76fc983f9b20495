//! What is to be seen of a file tree, so that what several programs unpacked can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use gantry_testkit::cmd::run;

/// What a container has beside its image: mount points, files that the engine writes.
const MOUNTED: [&str; 8] = [
    ".dockerenv",
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/hostname",
    "etc/mtab",
    "etc/resolv.conf",
];

/// Type and mode, owner, size, links, device, time, target and extended attributes of all that is below `root`, by path.
pub(crate) fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut next = vec![root.to_path_buf()];
    while let Some(path) = next.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if MOUNTED.contains(&name.as_str()) {
            continue;
        }
        let kind = metadata.file_type();
        if kind.is_dir() {
            next.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
        let target = fs::read_link(&path).unwrap_or_default();
        let links = if kind.is_dir() { 0 } else { metadata.nlink() };
        let is_device = kind.is_char_device() || kind.is_block_device();
        let line = format!(
            "{:o} {}:{} {} {links} {} {} {}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            if kind.is_file() { metadata.size() } else { 0 },
            if is_device { metadata.rdev() } else { 0 },
            // Those are in these.
            if name.is_empty() || name == "etc" {
                0
            } else {
                metadata.mtime()
            },
            target.display(),
        );
        all.insert(name, line);
    }
    let attributes = run(Command::new("getfattr").current_dir(root).args([
        "-R",
        "-P",
        "-h",
        "-m",
        "^(user|security)\\.",
        "-d",
        "-e",
        "hex",
        "--one-file-system",
        ".",
    ]));
    let mut name = String::new();
    for line in attributes.stdout.lines() {
        match line.strip_prefix("# file: ") {
            Some(file) => file.clone_into(&mut name),
            None if line.is_empty() => {}
            None => {
                let entry = all.get_mut(&name).map(|seen| seen.push_str(&format!(" {line}")));
                assert!(
                    entry.is_some() || MOUNTED.iter().any(|top| name.starts_with(top)),
                    "{name}"
                );
            }
        }
    }
    all
}

/// What the two have differently, one line a path.
#[track_caller]
pub(crate) fn assert_same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let paths = ours.keys().chain(theirs.keys());
    let mut differ: Vec<String> = paths
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            format!(
                "{path}\n  ours   {:?}\n  theirs {:?}",
                ours.get(path),
                theirs.get(path)
            )
        })
        .collect();
    differ.sort();
    differ.dedup();
    assert!(
        differ.is_empty(),
        "{} differ: {}",
        differ.len(),
        differ[..differ.len().min(20)].join("\n")
    );
}
