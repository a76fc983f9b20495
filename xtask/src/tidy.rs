//! The house rules that a compiler does not know (`docs/style.md`), each named in its complaint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::root;

/// Past this a file is two rooms.
const LONGEST_FILE: usize = 800;

/// Where `unsafe` may stand.
const UNSAFE_ROOMS: &[&str] = &[
    "crates/sys/src/",
    "crates/runtime-core/src/init",
    "crates/seccomp/src/load.rs",
    "crates/cgroups/src/device_bpf",
];

/// Checks every tracked or new file.
pub(crate) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    let files = files()?;
    for path in &files {
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        let name = path.display().to_string();
        if name.ends_with(".rs") {
            rust(&name, &text, &mut wrong);
        }
        if name.starts_with("crates/") && name.ends_with("Cargo.toml") {
            manifest(path, &text, &mut wrong);
        }
        if (name.ends_with(".rs") || name.ends_with(".md") || name.ends_with(".proto"))
            && let Some(at) = text.lines().position(|line| line.ends_with([' ', '\t']))
        {
            wrong.push(format!("{name}:{}: white space at the end of the line", at + 1));
        }
    }
    if wrong.is_empty() {
        println!("tidy: {} files keep to the rules", files.len());
        return Ok(());
    }
    bail!("tidy:\n  {}", wrong.join("\n  "))
}

fn rust(name: &str, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        wrong.push(format!(
            "{name}: {lines} lines; past {LONGEST_FILE} it is two rooms"
        ));
    }
    let first = text.lines().next().unwrap_or_default();
    if !(first.starts_with("//!") || first.starts_with("#![doc")) {
        wrong.push(format!(
            "{name}: does not begin with a `//!` line that says what the room is for"
        ));
    }
    for bag in ["common", "utils", "util", "helpers", "misc"] {
        if name.ends_with(&format!("/{bag}.rs")) || name.contains(&format!("/{bag}/")) {
            wrong.push(format!(
                "{name}: a room called {bag} says nothing of what is in it"
            ));
        }
    }
    let mut explained = 0;
    for (at, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("// SAFETY:") {
            explained = at + 1;
        }
        let block = ["{", "impl", "extern"]
            .iter()
            .any(|what| code.contains(&["unsafe", what].join(" ")));
        if !block || code.starts_with("//") || code.starts_with("\"") {
            continue;
        }
        let in_tests = name.contains("/tests") || name.starts_with("tests/") || name.starts_with("xtask/");
        if !in_tests && !name.starts_with("xtask/") && !UNSAFE_ROOMS.iter().any(|room| name.starts_with(room))
        {
            wrong.push(format!(
                "{name}:{}: unsafe outside the rooms that may have it",
                at + 1
            ));
        }
        if explained == 0 || at + 1 - explained > 12 {
            wrong.push(format!(
                "{name}:{}: unsafe without a `// SAFETY:` above it",
                at + 1
            ));
        }
    }
    for (at, line) in text.lines().enumerate() {
        let marker = ["TODO", "FIXME", "XXX"]
            .iter()
            .find(|marker| line.contains(&format!("{marker}:")));
        if let Some(marker) = marker.filter(|_| !name.ends_with("xtask/src/tidy.rs")) {
            wrong.push(format!("{name}:{}: {marker}: do it, or write an issue", at + 1));
        }
    }
}

fn manifest(path: &Path, text: &str, wrong: &mut Vec<String>) {
    let name = path.display();
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if !text.contains(&format!("name = \"gantry-{folder}\"")) {
        wrong.push(format!(
            "{name}: the package of folder {folder} is called gantry-{folder}"
        ));
    }
    if !text.contains("[lints]\nworkspace = true") {
        wrong.push(format!("{name}: does not take the workspace's lints"));
    }
    let readme = root().join(path).with_file_name("README.md");
    match fs::read_to_string(&readme) {
        Ok(text) if text.lines().count() >= 10 => {}
        _ => wrong.push(format!("{name}: no README.md of some 20 lines beside it")),
    }
}

fn files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()?;
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .collect();
    files.retain(|path| root().join(path).is_file());
    Ok(files)
}
