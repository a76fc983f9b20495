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
