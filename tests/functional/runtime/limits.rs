//! Limits of the container's cgroup, set, changed, and really kept by the kernel.

use std::fs;
use std::path::Path;

use gantry_testkit::kernel::cgroups;
use serde_json::json;

use crate::Runtime;

crate::on_both! {
    limits_are_set_and_changed
    memory_is_limited
    processes_are_limited
}

/// The value of a file of the container's cgroup: the name for version 1, and that for version 2.
fn value(runtime: &Runtime, v1: &str, v2: &str) -> String {
    let all = cgroups(&format!("{}/c", runtime.place.cgroup()));
    let name = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        v2
    } else {
        v1
    };
    let file = all.iter().map(|dir| dir.join(name)).find(|file| file.exists());
    let file = file.unwrap_or_else(|| panic!("no {name} in {all:?}"));
    fs::read_to_string(file).expect("a value").trim().to_owned()
}

fn limits_are_set_and_changed(runtime: &Runtime) {
    let bundle = runtime.bundle("exec sleep 1000");
    bundle.change(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20, "reservation": 32 << 20 });
        config["linux"]["resources"]["cpu"] =
            json!({ "shares": 512, "quota": 20000, "period": 50000, "cpus": "0" });
        config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    });
    runtime.detach(&bundle);
    let id = runtime.id();
    assert_eq!(
        value(runtime, "memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    assert_eq!(
        value(runtime, "memory.soft_limit_in_bytes", "memory.low"),
        (32 << 20).to_string()
    );
    assert_eq!(value(runtime, "pids.max", "pids.max"), "33");
    assert_eq!(value(runtime, "cpuset.cpus", "cpuset.cpus"), "0");
    if value(runtime, "cgroup.procs", "cgroup.procs").is_empty() {
        panic!("no process in the cgroup");
    }
    runtime
        .call([
            "update",
            "--memory",
            "100M",
            "--pids-limit",
            "44",
            "--cpu-quota",
            "30000",
            &id,
        ])
        .success();
    assert_eq!(
        value(runtime, "memory.limit_in_bytes", "memory.max"),
        (100 << 20).to_string()
    );
    assert_eq!(value(runtime, "pids.max", "pids.max"), "44");
    assert_eq!(
        value(runtime, "memory.soft_limit_in_bytes", "memory.low"),
        (32 << 20).to_string()
    );
    let file = runtime.place.join("resources.json");
    fs::write(
        &file,
        r#"{"memory":{"limit":268435456,"swap":268435456},"cpu":{"shares":256}}"#,
    )
    .expect("a file");
    runtime
        .call(["update", "--resources", &file.to_string_lossy(), &id])
        .success();
    assert_eq!(
        value(runtime, "memory.limit_in_bytes", "memory.max"),
        (256 << 20).to_string()
    );
    runtime.call(["delete", "-f", &id]).success();
}

fn memory_is_limited(runtime: &Runtime) {
    let bundle = runtime.bundle("(tail -c 90000000 /dev/zero | wc -c) 2>/dev/null; echo after");
    bundle.change(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 20 << 20, "swap": 20 << 20 })
    });
    // `tail` keeps what it is to print, and is killed for it.
    let said = runtime.run(&bundle).success();
    assert_eq!(said.stdout, "0\nafter\n");
}

fn processes_are_limited(runtime: &Runtime) {
    let bundle = runtime.bundle("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done");
    bundle.change(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 4 }));
    let said = runtime.run(&bundle);
    assert!(said.stderr.contains("can't fork"), "{said:#?}");
}
