//! What the newest runc does, and Debian's not or not all of it: found by runc's own suite, each by the name of its fault.

mod commands;
mod mounts;
mod processes;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use gantry_testkit::bundle::Bundle;
use serde_json::{Value, json};

/// A bundle whose first process has users of its own, from 100000 on.
pub(crate) fn with_users(bundle: &Bundle) {
    let root = 100_000;
    bundle.change(|config| {
        let map = json!([{ "containerID": 0, "hostID": root, "size": 65536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        namespaces(config).push(json!({ "type": "user" }));
    });
    // The mapped root makes places to mount on.
    chown(bundle.rootfs(), Some(root), Some(root)).expect("give the root away");
    for entry in fs::read_dir(bundle.rootfs()).expect("the root").flatten() {
        chown(entry.path(), Some(root), Some(root)).expect("give it away");
    }
    open_the_way(bundle);
}

/// Lets others pass through the folders above the bundle.
fn open_the_way(bundle: &Bundle) {
    for folder in [bundle.dir(), bundle.dir().parent().expect("a place")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("open the way");
    }
}

fn namespaces(config: &mut Value) -> &mut Vec<Value> {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces")
}

fn set_path(config: &mut Value, kind: &str, path: &str) {
    for one in namespaces(config).iter_mut().filter(|one| one["type"] == kind) {
        one["path"] = json!(path);
    }
}

fn add_mount(bundle: &Bundle, source: &Path, destination: &str, options: &[&str]) {
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(
            json!({ "type": "bind", "source": source, "destination": destination, "options": options }),
        );
    });
}
