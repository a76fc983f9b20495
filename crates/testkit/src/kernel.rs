//! Looks at the kernel: which processes, mounts and cgroups belong to a place, and their removal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a process is there and not a zombie.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may contain anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Everything in the kernel that belongs to `dir` and to the cgroup `cgroup`.
pub fn left(dir: &Path, cgroup: &str) -> Vec<String> {
    let mut left = Vec::new();
    for (pid, line) in processes(dir) {
        left.push(format!("process {pid}: {line}"));
    }
    for mount in mounts(dir) {
        left.push(format!("mount {}", mount.display()));
    }
    for path in cgroups(cgroup) {
        left.push(format!("cgroup {}", path.display()));
    }
    left
}

/// Ends and removes all of it, whatever state it is in.
pub fn sweep(dir: &Path, cgroup: &str) {
    for path in cgroups(cgroup) {
        for pid in fs::read_to_string(path.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            if let Ok(pid) = pid.parse() {
                let _ = gantry_sys::process::kill(pid, 9);
            }
        }
        let freezer = path.join("freezer.state");
        if freezer.exists() {
            let _ = fs::write(freezer, "THAWED");
        }
    }
    for (pid, _) in processes(dir) {
        let _ = gantry_sys::process::kill(pid, 9);
    }
    let mounts = mounts(dir);
    for mount in mounts.iter().rev() {
        let _ = Command::new("umount").arg("-l").arg(mount).output();
    }
    for _ in 0..50 {
        for path in cgroups(cgroup).iter().rev() {
            let _ = fs::remove_dir(path);
        }
        if cgroups(cgroup).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Processes whose command line or working directory names `dir`, but ourselves.
pub fn processes(dir: &Path) -> Vec<(i32, String)> {
    let name = dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let below = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        if (line.contains(&name) || below) && pid != std::process::id() as i32 && alive(pid) {
            found.push((pid, line));
        }
    }
    found
}

/// Mount points below `dir`, in the kernel's order.
pub fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
    points.filter(|point| point.starts_with(dir)).collect()
}

/// The cgroups of that name below any hierarchy, and those in them, parents first.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for top in std::iter::once(root.to_owned()).chain(hierarchies) {
        walk(&top.join(name.trim_start_matches('/')), &mut found);
    }
    found
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    if !dir.is_dir() {
        return;
    }
    found.push(dir.to_owned());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
}
