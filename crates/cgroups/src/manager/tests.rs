//! Cgroups of the machine that runs the tests: really made, filled and removed.

use super::*;
use crate::files::read;
use crate::{Entrance, FreezerState};
use gantry_oci::runtime::LinuxResources;
use gantry_sys::process::Pid;
use std::fs;
use std::os::fd::AsRawFd;

fn manager(name: &str) -> Manager {
    Manager::new(
        Some(&format!("/gantry-unit-{}/{name}", std::process::id())),
        "unused",
    )
    .unwrap()
}

/// Removes the cgroup and all that is empty above it.
fn clean(manager: &Manager) {
    manager.destroy().unwrap();
    for folder in manager.folders.iter().chain(&manager.beside) {
        let mut above = folder.ancestors().skip(1);
        while above.next().is_some_and(|folder| fs::remove_dir(folder).is_ok()) {}
    }
}

#[test]
fn paths_follow_the_rules() {
    let own = |layout: &Layout| {
        let own = layout.hierarchies[0].own.as_path();
        let from = match layout.version {
            Version::V1 => own,
            Version::V2 => own.parent().unwrap_or(own),
        };
        layout.hierarchies[0].mount.join(from)
    };
    let layout = Layout::detect().unwrap();
    let relative = Manager::in_layout(layout.clone(), Some("a/b"), "id").unwrap();
    assert_eq!(relative.folders[0], own(&layout).join("a/b"));
    let absent = Manager::in_layout(layout.clone(), None, "id").unwrap();
    assert_eq!(absent.folders[0], own(&layout).join("id"));
    let absolute = Manager::in_layout(layout.clone(), Some("/a"), "id").unwrap();
    assert_eq!(absolute.folders[0], layout.hierarchies[0].mount.join("a"));
    assert!(matches!(
        Manager::in_layout(layout, Some("/a/../../b"), "id"),
        Err(Error::Path { .. })
    ));
}

/// A creator that was killed leaves a cpuset without processors above the one that is made next.
#[test]
fn a_cpuset_left_empty_above_is_filled() {
    let manager = manager("left/c");
    let Some(folder) = manager.folder("cpuset").map(Path::to_owned) else {
        return;
    };
    if manager.version() == Version::V2 {
        return;
    }
    let left = folder.parent().unwrap();
    fs::create_dir_all(left).unwrap();
    manager.create().unwrap();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        assert_eq!(read(&folder.join(file)).unwrap(), read(&left.join(file)).unwrap());
    }
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let added = manager.add(child.id() as Pid);
    child.kill().unwrap();
    child.wait().unwrap();
    clean(&manager);
    added.unwrap();
}

#[test]
fn a_process_is_limited_frozen_killed_and_its_cgroup_removed() {
    let manager = manager("life");
    manager.create().unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    manager.add(child.id() as Pid).unwrap();
    assert_eq!(manager.pids().unwrap(), [child.id() as Pid]);
    assert_eq!(
        Manager::restore(&manager.paths(), None).unwrap().folders,
        manager.folders
    );
    let json = r#"{"memory":{"limit":67108864},"pids":{"limit":10},"cpu":{"shares":512,"quota":20000,"period":100000}}"#;
    let mut limits: LinuxResources = serde_json::from_str(json).unwrap();
    manager.set(&limits).unwrap();
    if manager.version() == Version::V1 {
        let text =
            fs::read_to_string(manager.folder("memory").unwrap().join("memory.limit_in_bytes")).unwrap();
        assert_eq!(text.trim(), "67108864");
        // Growing both at once needs the other order.
        limits.memory = serde_json::from_str(r#"{"limit":134217728,"swap":134217728}"#).unwrap();
        manager.set(&limits).unwrap();
        limits.memory = serde_json::from_str(r#"{"limit":268435456,"swap":268435456}"#).unwrap();
        manager.set(&limits).unwrap();
    }
    manager.freeze().unwrap();
    assert_eq!(manager.freezer_state().unwrap(), Some(FreezerState::Frozen));
    manager.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    clean(&manager);
    assert!(!manager.exists());
    manager.destroy().unwrap();
}

/// Runs `script` in a shell that has entered the cgroup by itself.
fn inside(entrance: &Entrance, script: &str) -> std::process::Output {
    // The kernel takes the opener's word: whoever holds the doors can push a process through them by their numbers.
    let mut shell = std::process::Command::new("sh");
    let doors: Vec<String> = entrance
        .doors
        .iter()
        .map(|door| format!("echo 0 > /proc/{}/fd/{};", std::process::id(), door.as_raw_fd()))
        .collect();
    shell
        .args(["-c", &format!("{} {script}", doors.concat())])
        .output()
        .unwrap()
}

#[test]
fn a_process_enters_by_itself() {
    let manager = manager("door");
    manager.create().unwrap();
    let said = inside(&manager.entrance().unwrap(), "cat /proc/self/cgroup");
    let said = String::from_utf8(said.stdout).unwrap();
    let expected = format!("/gantry-unit-{}/door", std::process::id());
    for line in said.lines() {
        assert!(line.ends_with(&expected), "{line}");
    }
    assert!(said.lines().count() >= manager.folders.len(), "{said}");
    clean(&manager);
}

#[test]
fn a_kill_for_want_of_memory_is_heard_of() {
    let manager = manager("oom");
    manager.create().unwrap();
    let Some(mut watch) = manager.watch_oom().unwrap() else {
        return clean(&manager);
    };
    assert_eq!(watch.take(), crate::Oom::Nothing);
    let json = r#"{"memory":{"limit":8388608,"swap":8388608}}"#;
    manager.set(&serde_json::from_str(json).unwrap()).unwrap();
    // `tail` keeps what it is to print.
    let said = inside(
        &manager.entrance().unwrap(),
        "head -c 50000000 /dev/zero | tail -c 40000000 | wc -c",
    );
    assert_eq!(said.stdout, b"0\n");
    assert_eq!(watch.take(), crate::Oom::Killed);
    assert_eq!(manager.stats().memory.oom_kills, 1);
    clean(&manager);
    assert_eq!(watch.take(), crate::Oom::Gone);
}

#[test]
fn what_is_below_goes_with_it() {
    let manager = manager("deep");
    manager.create().unwrap();
    let below: Vec<PathBuf> = manager
        .folders
        .iter()
        .map(|folder| folder.join("inner/most"))
        .collect();
    for folder in &below {
        fs::create_dir_all(folder).unwrap();
        crate::files::read(&folder.join("cgroup.procs")).unwrap();
    }
    assert!(manager.add_below("../x", 1).is_err());
    manager.destroy().unwrap();
    assert!(below.iter().all(|folder| !folder.exists()));
    clean(&manager);
}

#[test]
fn a_limit_without_a_controller_is_named() {
    let manager = manager("none");
    let limits: LinuxResources = serde_json::from_str(r#"{"network":{"classID":7}}"#).unwrap();
    let error = manager.set(&limits);
    if manager.version() == Version::V1 && manager.folder("net_cls").is_none() {
        assert!(matches!(error, Err(Error::NoController { .. })));
    }
}

/// Version 2's own files are there on every machine that has its hierarchy, with controllers or without.
#[test]
fn version_2_does_the_same() {
    let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let Some(mount) = mount
        .into_iter()
        .find(|mount| mount.join("cgroup.controllers").exists())
    else {
        return;
    };
    let hierarchies = vec![crate::Hierarchy {
        controllers: Vec::new(),
        mount,
        own: PathBuf::new(),
    }];
    let layout = Layout {
        version: Version::V2,
        hierarchies,
        beside: None,
    };
    let path = format!("/gantry-unit-{}-v2/c", std::process::id());
    let manager = Manager::in_layout(layout, Some(&path), "unused").unwrap();
    manager.create().unwrap();
    assert!(manager.entrance().unwrap().birthplace().is_some());
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    manager.add(child.id() as Pid).unwrap();
    assert_eq!(manager.pids().unwrap(), [child.id() as Pid]);
    let said = inside(&manager.entrance().unwrap(), "grep ^0: /proc/self/cgroup");
    assert_eq!(
        String::from_utf8(said.stdout).unwrap().trim(),
        format!("0::{path}")
    );
    manager.freeze().unwrap();
    assert_eq!(manager.freezer_state().unwrap(), Some(FreezerState::Frozen));
    manager.thaw().unwrap();
    assert_eq!(manager.freezer_state().unwrap(), Some(FreezerState::Thawed));
    let available = fs::read_to_string(manager.folders[0].join("cgroup.controllers")).unwrap();
    let limits: LinuxResources = serde_json::from_str(r#"{"memory":{"limit":67108864}}"#).unwrap();
    match available.split_whitespace().any(|name| name == "memory") {
        true => manager.set(&limits).unwrap(),
        false => assert!(matches!(manager.set(&limits), Err(Error::NoController { .. }))),
    }
    manager.freeze().unwrap();
    manager.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    clean(&manager);
    assert!(!manager.exists());
}

/// A unit of the same name that systemd refused to make again is somebody else's, with all that is in it.
#[test]
fn a_unit_that_was_not_started_is_not_stopped() {
    let manager = manager("unit/c");
    manager.create().unwrap();
    let mut other = manager.clone();
    let wanted = Wanted::new(Some("system.slice:x:y"), "y", &BTreeMap::new(), false).unwrap();
    other.unit = Some(wanted.unit.clone());
    other.wanted = Some(wanted);
    assert!(!other.is_ours());
    other.destroy().unwrap();
    assert!(manager.exists());
    other.started.store(true, Ordering::Relaxed);
    assert!(other.is_ours());
    clean(&manager);
}

/// With version 1 a relative path is another one in each hierarchy.
#[test]
fn a_note_has_the_path_of_each_hierarchy() {
    let mut layout = Layout::detect().unwrap();
    for (at, hierarchy) in layout.hierarchies.iter_mut().enumerate() {
        hierarchy.own = PathBuf::from(format!("own {at}/x"));
    }
    let relative = Manager::in_layout(layout.clone(), Some("a:b"), "id").unwrap();
    let recalled = Manager::recall(&relative.note()).unwrap();
    assert_eq!(recalled.folders, relative.folders);
    assert_eq!(recalled.layout.hierarchies.len(), layout.hierarchies.len());
}
