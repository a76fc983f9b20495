//! Two commands on one container at once: each has its turn.

use std::fs;
use std::process::Stdio;

use gantry_testkit::cmd::wait_until;
use serde_json::json;

use crate::container::Container;

/// A hook that says in a file that it ran, and then does something.
fn hook(container: &Container, script: &str) -> serde_json::Value {
    let log = container.place.join("hooked").display().to_string();
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo ran >>{log}; {script}")] }])
}

/// A `delete` does not take away what a `create` is just making.
#[test]
fn a_delete_waits_for_a_create() {
    let container = Container::new("exec sleep 100");
    let hook = hook(&container, "sleep 0.7");
    container
        .bundle
        .change(|config| config["hooks"] = json!({ "createRuntime": hook }));
    let dir = container.bundle.dir().display().to_string();
    let id = container.id();
    let mut create = container.command("", &["create", "--bundle", &dir, &id]);
    create
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut create = create.spawn().expect("the runtime");
    wait_until("the hook", || container.place.join("hooked").exists());
    container.call("", &["delete", &id]).success();
    assert!(create.wait().expect("the runtime").success());
    container.is_gone();
}

/// A failing poststart hook ends the container, once.
#[test]
fn poststop_hooks_run_once() {
    let container = Container::new("exec sleep 100");
    let hook = hook(&container, "true");
    container.bundle.change(|config| {
        config["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }], "poststop": hook });
    });
    assert_ne!(container.run().code, 0);
    let ran = fs::read_to_string(container.place.join("hooked")).expect("the hook's file");
    assert_eq!(ran.lines().count(), 1);
    container.is_gone();
}

/// Paused before it was started: it is resumed, and starts.
#[test]
fn a_created_container_is_paused_and_resumed() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    container.create();
    container.call("", &["pause", &id]).success();
    assert!(
        container
            .call("", &["state", &id])
            .success()
            .stdout
            .contains("\"paused\"")
    );
    container
        .call("", &["start", &id])
        .failure("cannot start a container in the paused state");
    container.call("", &["resume", &id]).success();
    container.call("", &["start", &id]).success();
    container.delete();
    container.is_gone();
}

/// Without a cgroup to find it by, and without a namespace of process ids, the first process is signalled itself.
#[test]
fn a_container_that_is_in_no_cgroup_is_killed() {
    let container = Container::new("exec sleep 100");
    container.bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "pid");
    });
    let id = container.id();
    let pid = container.create();
    container.call("", &["start", &id]).success();
    for folder in gantry_testkit::kernel::cgroups(container.place.cgroup()) {
        if folder.ends_with("c") {
            let above = folder.parent().expect("a cgroup above").join("cgroup.procs");
            fs::write(above, pid.to_string()).expect("the process is moved");
        }
    }
    container.call("", &["kill", &id, "KILL"]).success();
    wait_until("the end of the process", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    container.delete();
    container.is_gone();
}

/// What a create leaves behind that fails late goes with it, also with the host's process ids.
#[test]
fn a_create_that_fails_leaves_no_process() {
    let container = Container::new("exec sleep 100");
    let procs = gantry_testkit::kernel::cgroups(container.place.cgroup());
    assert!(procs.is_empty(), "{procs:?}");
    // The hook puts a process of its own into the cgroup, and fails.
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); sleep 100 </dev/null >/dev/null 2>&1 & other=$!; \
        while IFS=: read -r _ names path; do for at in /sys/fs/cgroup/$names /sys/fs/cgroup; do \
        test -e $at$path/cgroup.procs && test $path != / && echo $other >$at$path/cgroup.procs; done; done </proc/$pid/cgroup; exit 1";
    let hook = hook(&container, script);
    container
        .bundle
        .change(|config| config["hooks"] = json!({ "createRuntime": hook }));
    assert_ne!(container.run().code, 0);
    container.is_gone();
    let left = gantry_testkit::kernel::cgroups(container.place.cgroup());
    assert!(!left.iter().any(|folder| folder.ends_with("c")), "{left:?}");
}
