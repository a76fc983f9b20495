//! What an engine, a demo or a suite must not leave on the machine, read from the kernel before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything of the kernel that a container makes, as text lines.
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Mounts, cgroups, pinned network namespaces and Gantry's own processes, now.
    pub(crate) fn take() -> Self {
        let mut seen = BTreeSet::new();
        for line in read("/proc/self/mountinfo").lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if let (Some(id), Some(point)) = (fields.first(), fields.get(4)) {
                seen.insert(format!("mount {point} (id {id})"));
            }
        }
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut seen);
        for dir in ["/run/netns", "/run/docker/netns"] {
            for name in names(dir) {
                seen.insert(format!("netns {dir}/{name}"));
            }
        }
        for pid in names("/proc")
            .into_iter()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        {
            let line = read(&format!("/proc/{pid}/cmdline")).replace('\0', " ");
            let program = line
                .split(' ')
                .next()
                .unwrap_or_default()
                .rsplit('/')
                .next()
                .unwrap_or_default();
            if program.starts_with("gantry") || program == "docker-registry" {
                seen.insert(format!("process {pid} {}", line.trim()));
            }
        }
        Self(seen)
    }

    /// What `later` has and this has not.
    pub(crate) fn left_by(&self, later: &Snapshot) -> Vec<String> {
        later.0.difference(&self.0).cloned().collect()
    }
}

/// What is new since `before`, given a moment to go away: a cgroup or mount may be on its way out.
pub(crate) fn settle(before: &Snapshot) -> Vec<String> {
    let mut left = Vec::new();
    for _ in 0..40 {
        left = before.left_by(&Snapshot::take());
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    left
}

/// Removes an empty cgroup from every hierarchy.
pub(crate) fn remove_cgroup(name: &str) -> std::io::Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)?.flatten().map(|entry| entry.path());
    for top in std::iter::once(root.to_path_buf()).chain(hierarchies) {
        match fs::remove_dir(top.join(name.trim_start_matches('/'))) {
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn cgroups(dir: &Path, depth: usize, seen: &mut BTreeSet<String>) {
    if depth > 6 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            seen.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), depth + 1, seen);
        }
    }
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn names(dir: &str) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
