//! A machine with cgroups of version 1 and a unified hierarchy beside them: the container is in that one too. Elsewhere there
//! is nothing to try.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{run, wait_until};
use gantry_testkit::kernel::alive;
use serde_json::json;

use crate::Runtime;

crate::on_both! {
    every_process_is_in_the_unified_hierarchy
    what_is_added_goes_below_where_it_is_told
    who_has_users_of_its_own_is_there_too
    who_left_the_unified_hierarchy_is_ended_too
    a_frozen_container_ends
    what_fails_leaves_no_cgroup
}

/// The container's folder in the unified hierarchy of a hybrid machine.
fn unified(runtime: &Runtime) -> Option<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup/unified");
    let here = mount.join("cgroup.controllers").exists();
    here.then(|| {
        mount
            .join(runtime.place.cgroup().trim_start_matches('/'))
            .join("c")
    })
}

/// A bundle that sees the cgroups as the host does.
fn bundle(runtime: &Runtime, script: &str) -> Bundle {
    let bundle = runtime.bundle(script);
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "cgroup");
    });
    bundle
}

/// Who is in a cgroup.
fn pids(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).expect("its processes");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

/// The lines of `/proc/PID/cgroup` of those hierarchies that the runtime knows: Debian's runc is older than `misc`.
fn known<'a>(runtime: &Runtime, text: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = runtime.is_ours();
    text.lines().filter(move |line| ours || !line.contains(":misc:"))
}

fn every_process_is_in_the_unified_hierarchy(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let id = runtime.id();
    let pid = runtime.detach(&bundle(runtime, "exec sleep 1000"));
    let expected = format!("{}/c", runtime.place.cgroup());
    let everywhere = |text: &str| {
        assert!(text.lines().any(|line| line.starts_with("0::")), "{text}");
        for line in known(runtime, text) {
            assert!(line.ends_with(&expected), "{text}");
        }
    };
    everywhere(&fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups"));
    everywhere(
        &runtime
            .call(["exec", &id, "cat", "/proc/self/cgroup"])
            .success()
            .stdout,
    );
    let root = ["exec", "--cgroup", "/", &id, "cat", "/proc/self/cgroup"];
    everywhere(&runtime.call(root).success().stdout);
    let record = fs::read_to_string(runtime.place.join("state").join(&id).join("state.json"));
    let record = record.expect("the record");
    assert!(record.contains(&folder.display().to_string()), "{record}");
    runtime.call(["pause", &id]).success();
    runtime.call(["resume", &id]).success();
    runtime.call(["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

fn what_is_added_goes_below_where_it_is_told(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let id = runtime.id();
    let pid = runtime.detach(&bundle(runtime, "exec sleep 1000"));
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let below = |line: &str| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let mount = match names.trim_start_matches("name=") {
            "" => "unified",
            name => name,
        };
        Some(
            Path::new("/sys/fs/cgroup")
                .join(mount)
                .join(path.trim_start_matches('/'))
                .join("below"),
        )
    };
    let folders: Vec<PathBuf> = known(runtime, &lines).filter_map(below).collect();
    for folder in &folders {
        fs::create_dir(folder).expect("a cgroup");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(text) = fs::read_to_string(folder.with_file_name(file)) {
                fs::write(folder.join(file), text).expect("the parent's");
            }
        }
    }
    let here = |args: &[&str]| {
        let all = [&["exec"], args, &[&id, "cat", "/proc/self/cgroup"]].concat();
        runtime.call(all).success().stdout
    };
    let all = here(&["--cgroup", "below"]);
    assert!(
        known(runtime, &all).all(|line| line.ends_with("/c/below")),
        "{all}"
    );
    // By controllers: those that are not named, and the unified hierarchy has no name, stay where the container is.
    let some = here(&["--cgroup", "memory:below"]);
    let (named, others): (Vec<&str>, Vec<&str>) =
        known(runtime, &some).partition(|line| line.contains(":memory:"));
    assert!(
        named.iter().all(|line| line.ends_with("/c/below")) && named.len() == 1,
        "{some}"
    );
    assert!(others.iter().all(|line| line.ends_with("/c")), "{some}");
    assert!(others.iter().any(|line| line.starts_with("0::")), "{some}");
    if runtime.is_ours() {
        fs::remove_dir(folder.join("below")).expect("remove it");
        runtime
            .call(["exec", "--cgroup", "below", &id, "true"])
            .code(255)
            .failure("no such file or directory");
    }
    runtime.call(["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

/// Made by a process in between, which enters namespaces first.
fn who_has_users_of_its_own_is_there_too(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let id = runtime.id();
    let bundle = bundle(runtime, "exec sleep 1000");
    crate::newest::with_users(&bundle);
    if runtime.is_ours() {
        bundle.change(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.push(json!({ "type": "time" }));
        });
    }
    let pid = runtime.detach(&bundle);
    assert_eq!(pids(&folder), [pid]);
    let said = runtime.call(["exec", &id, "cat", "/proc/self/cgroup"]).success();
    assert!(
        known(runtime, &said.stdout).all(|line| line.ends_with("/c")),
        "{}",
        said.stdout
    );
    runtime.call(["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

/// Those that somebody took out of one hierarchy are found in the others.
fn who_left_the_unified_hierarchy_is_ended_too(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let id = runtime.id();
    let bundle = bundle(runtime, "sleep 1000 & sleep 1000 & exec sleep 1000");
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "pid");
    });
    let pid = runtime.detach(&bundle);
    wait_until("three processes", || pids(&folder).len() == 3);
    let all = pids(&folder);
    let moved = all.iter().find(|one| **one != pid).expect("another");
    fs::write(folder.with_file_name("cgroup.procs"), moved.to_string()).expect("move it");
    assert_eq!(pids(&folder).len(), 2);
    runtime.call(["kill", "--all", &id, "KILL"]).success();
    // runc's own way ends those that are left in the unified hierarchy.
    let ended: Vec<&i32> = all
        .iter()
        .filter(|one| runtime.is_ours() || *one != moved)
        .collect();
    wait_until("they ended", || ended.iter().all(|one| !alive(**one)));
    // By its number, which may be nobody's any more.
    let _ = run(Command::new("kill").arg("-9").arg(moved.to_string()));
    runtime.call(["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

/// Who is frozen hears nothing until it goes on.
fn a_frozen_container_ends(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let id = runtime.id();
    let bundle = bundle(runtime, "sleep 1000 & exec sleep 1000");
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "pid");
    });
    runtime.detach(&bundle);
    wait_until("two processes", || pids(&folder).len() == 2);
    let all = pids(&folder);
    runtime.call(["pause", &id]).success();
    if runtime.is_ours() {
        runtime.call(["kill", "--all", &id, "KILL"]).success();
        wait_until("they ended", || all.iter().all(|one| !alive(*one)));
    } else {
        runtime.call(["resume", &id]).success();
    }
    runtime.call(["delete", "--force", &id]).success();
    assert!(all.iter().all(|one| !alive(*one)));
    assert!(!folder.exists());
}

fn what_fails_leaves_no_cgroup(runtime: &Runtime) {
    let Some(folder) = unified(runtime) else { return };
    let bundle = bundle(runtime, "true");
    bundle.change(|config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    });
    assert_ne!(runtime.run(&bundle).code, 0);
    assert!(!folder.exists());
    // A namespace that is none: the process is not even born.
    bundle.change(|config| {
        config["hooks"] = json!({});
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "pid");
        namespaces.push(json!({ "type": "pid", "path": "/proc/self/ns/net" }));
    });
    assert_ne!(runtime.run(&bundle).code, 0);
    assert!(!folder.exists());
}
