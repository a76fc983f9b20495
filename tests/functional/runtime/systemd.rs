//! Cgroups that systemd makes. They need a machine with systemd, such as that of `cargo xtask vm test`; elsewhere there is
//! nothing to try.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{Said, run, wait_until};
use serde_json::json;

use crate::Runtime;

crate::on_both! {
    a_scope_is_made_changed_and_ended
    annotations_are_properties
    a_scope_in_slices
    a_scope_of_version_1
    processes_are_added_to_a_scope
    a_container_with_its_own_users_owns_its_cgroup
    an_ordinary_user_has_limits
    an_ordinary_user_has_limits_without_systemds_help
    what_is_wrong_is_said
}

fn here() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The same with version 1, alone or with an empty unified hierarchy: `cargo xtask vm test --cgroups hybrid`.
fn here_with_version_1() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup/memory").is_dir()
}

/// A bundle whose container is a scope of the test's own name, and that scope's unit.
fn scope(runtime: &Runtime, script: &str, slice: &str) -> (Bundle, String) {
    let bundle = runtime.bundle(script);
    let name = runtime.place.name("scope");
    bundle.change(|config| config["linux"]["cgroupsPath"] = json!(format!("{slice}:gt:{name}")));
    (bundle, format!("gt-{name}.scope"))
}

fn call(runtime: &Runtime, args: &[&str]) -> Said {
    run(runtime.command(["--systemd-cgroup"]).args(args))
}

fn start(runtime: &Runtime, bundle: &Bundle) {
    let output = fs::File::create(runtime.place.join("output")).expect("a file");
    let mut command = runtime.command(["--systemd-cgroup", "run", "--detach", "--bundle"]);
    command
        .arg(bundle.dir())
        .arg(runtime.id())
        .stdin(std::process::Stdio::null())
        .stderr(output.try_clone().expect("the file"))
        .stdout(output);
    let status = command.status().expect("the runtime");
    assert!(status.success(), "{}", runtime.output());
}

/// Adds a process, which must not keep what we wait for the end of.
fn exec_detached(runtime: &Runtime) {
    let script = "exec sleep 1001 < /dev/null > /dev/null 2>&1";
    call(runtime, &["exec", "--detach", &runtime.id(), "sh", "-c", script]).success();
}

/// A property of a unit.
fn property(unit: &str, name: &str) -> String {
    let said = run(Command::new("systemctl").args(["show", "--value", "--property", name, unit])).success();
    said.line().to_owned()
}

fn folder(unit: &str) -> PathBuf {
    let group = property(unit, "ControlGroup");
    assert!(group.ends_with(unit), "{group:?}");
    PathBuf::from(format!("/sys/fs/cgroup{group}"))
}

fn value(folder: &Path, file: &str) -> String {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.trim().to_owned()
}

fn a_scope_is_made_changed_and_ended(runtime: &Runtime) {
    if !here() {
        return;
    }
    let (bundle, unit) = scope(runtime, "exec sleep 1000", "");
    bundle.change(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20, "swap": 64 << 20 });
        config["linux"]["resources"]["cpu"] =
            json!({ "shares": 1024, "quota": 3333, "period": 50000, "cpus": "0" });
        config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    });
    start(runtime, &bundle);
    let folder = folder(&unit);
    assert!(folder.starts_with("/sys/fs/cgroup/system.slice"));
    assert_eq!(value(&folder, "memory.max"), (64 << 20).to_string());
    assert_eq!(value(&folder, "memory.swap.max"), "0");
    assert_eq!(value(&folder, "pids.max"), "33");
    assert_eq!(value(&folder, "cpuset.cpus"), "0");
    // Whole percents, for systemd and for the kernel, which only later versions of runc tell.
    if runtime.is_ours() {
        assert_eq!(value(&folder, "cpu.max"), "3500 50000");
    }
    for (name, expected) in [
        ("ActiveState", "active"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "33"),
        ("CPUQuotaPerSecUSec", "70ms"),
        ("AllowedCPUs", "0"),
        ("DevicePolicy", "strict"),
    ] {
        assert_eq!(property(&unit, name), expected, "{name}");
    }
    let id = runtime.id();
    call(
        runtime,
        &[
            "update",
            "--memory",
            "96M",
            "--memory-swap",
            "128M",
            "--pids-limit",
            "44",
            "--cpu-quota",
            "10000",
            &id,
        ],
    )
    .success();
    assert_eq!(value(&folder, "memory.max"), (96 << 20).to_string());
    assert_eq!(value(&folder, "memory.swap.max"), (32 << 20).to_string());
    assert_eq!(value(&folder, "cpu.max"), "10000 50000");
    assert_eq!(property(&unit, "MemoryMax"), (96 << 20).to_string());
    assert_eq!(property(&unit, "TasksMax"), "44");
    // What systemd was told survives its writing everything again.
    run(Command::new("systemctl").arg("daemon-reload")).success();
    assert_eq!(value(&folder, "pids.max"), "44");
    let device = call(
        runtime,
        &[
            "exec",
            &id,
            "sh",
            "-c",
            "mknod /f c 10 229 && cat /f; echo x > /dev/null && echo fine",
        ],
    );
    assert!(
        device.stderr.contains("not permitted") && device.stdout.contains("fine"),
        "{device:#?}"
    );
    call(runtime, &["pause", &id]).success();
    assert_eq!(runtime.status(), "paused");
    call(runtime, &["resume", &id]).success();
    call(runtime, &["delete", "--force", &id]).success();
    assert!(!folder.exists());
    assert_eq!(property(&unit, "LoadState"), "not-found");
}

fn annotations_are_properties(runtime: &Runtime) {
    if !here() {
        return;
    }
    let (bundle, unit) = scope(runtime, "exec sleep 1000", "");
    bundle.change(|config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "uint64 7",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.After": "['basic.target']",
        });
    });
    start(runtime, &bundle);
    assert_eq!(property(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(property(&unit, "CollectMode"), "inactive-or-failed");
    assert!(property(&unit, "After").contains("basic.target"));
    call(runtime, &["delete", "--force", &runtime.id()]).success();
}

fn a_scope_in_slices(runtime: &Runtime) {
    if !here() {
        return;
    }
    let stem = format!("gt{}", std::process::id());
    let (bundle, unit) = scope(runtime, "exec sleep 1000", &format!("{stem}-a.slice"));
    bundle.change(|config| {
        config["linux"]["resources"]["unified"] = json!({ "memory.high": "33554432", "cpu.weight": "42" });
    });
    start(runtime, &bundle);
    let folder = folder(&unit);
    assert_eq!(
        folder,
        Path::new(&format!("/sys/fs/cgroup/{stem}.slice/{stem}-a.slice/{unit}"))
    );
    assert_eq!(value(&folder, "memory.high"), "33554432");
    assert_eq!(property(&unit, "CPUWeight"), "42");
    // systemd is told of one of the two, and the kernel refuses the weight of one that is idle.
    let update = ["update", "--cpu-share", "200", "--cpu-idle", "1", &runtime.id()];
    if runtime.is_ours() {
        let said = call(runtime, &update);
        let warning = "unable to apply both CPUWeight and CpuIdle to systemd, ignoring CPUWeight";
        assert!(said.stderr.contains(warning), "{said:#?}");
        assert_eq!(value(&folder, "cpu.idle"), "1");
    }
    // One that ends by itself takes its scope with it.
    let id = runtime.id();
    call(runtime, &["kill", &id, "KILL"]).success();
    wait_until("the container's end", || runtime.status() == "stopped");
    wait_until("the scope's end", || property(&unit, "ActiveState") != "active");
    call(runtime, &["delete", &id]).success();
    // The other runtime's container may be in the same slices, or have just ended them.
    let _ = run(Command::new("systemctl").args(["stop", &format!("{stem}-a.slice")]));
}

fn a_scope_of_version_1(runtime: &Runtime) {
    if !here_with_version_1() {
        return;
    }
    let (bundle, unit) = scope(runtime, "exec sleep 1000", "");
    bundle.change(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["linux"]["resources"]["cpu"] =
            json!({ "shares": 512, "quota": 5000, "period": 50000, "cpus": "0" });
        config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    });
    start(runtime, &bundle);
    let group = property(&unit, "ControlGroup");
    assert_eq!(group, format!("/system.slice/{unit}"));
    let is = |controller: &str, file: &str, expected: &str| {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/{controller}{group}"));
        assert_eq!(value(&folder, file), expected, "{file}");
    };
    is("memory", "memory.limit_in_bytes", "67108864");
    is("cpu", "cpu.shares", "512");
    is("cpu", "cpu.cfs_quota_us", "5000");
    is("cpuset", "cpuset.cpus", "0");
    is("pids", "pids.max", "33");
    assert_eq!(property(&unit, "MemoryLimit"), "67108864");
    let id = runtime.id();
    call(
        runtime,
        &[
            "update",
            "--memory",
            "96M",
            "--pids-limit",
            "44",
            "--cpu-quota",
            "10000",
            &id,
        ],
    )
    .success();
    is("memory", "memory.limit_in_bytes", "100663296");
    is("pids", "pids.max", "44");
    is("cpu", "cpu.cfs_quota_us", "10000");
    is("cpu", "cpu.cfs_period_us", "50000");
    exec_detached(runtime);
    let mut hierarchies = vec!["freezer", "systemd"];
    // Of a hybrid machine, where systemd has its own.
    hierarchies.extend(Path::new("/sys/fs/cgroup/unified").is_dir().then_some("unified"));
    for name in &hierarchies {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/{name}{group}"));
        assert_eq!(value(&folder, "cgroup.procs").lines().count(), 2, "{name}");
        let record = fs::read_to_string(runtime.place.join("state").join(&id).join("state.json"));
        let record = record.expect("the record");
        assert!(record.contains(&folder.display().to_string()), "{record}");
    }
    let script = "mknod /f c 10 229 && cat /f; echo x > /dev/null && echo fine";
    let device = call(runtime, &["exec", &id, "sh", "-c", script]);
    assert!(
        device.stderr.contains("not permitted") && device.stdout.contains("fine"),
        "{device:#?}"
    );
    call(runtime, &["pause", &id]).success();
    assert_eq!(runtime.status(), "paused");
    call(runtime, &["resume", &id]).success();
    call(runtime, &["delete", "--force", &id]).success();
    for controller in ["memory", "devices"].into_iter().chain(hierarchies) {
        assert!(
            !Path::new(&format!("/sys/fs/cgroup/{controller}{group}")).exists(),
            "{controller}"
        );
    }
    assert_eq!(property(&unit, "LoadState"), "not-found");
}

fn processes_are_added_to_a_scope(runtime: &Runtime) {
    if !here() {
        return;
    }
    let (bundle, unit) = scope(runtime, "exec sleep 1000", "");
    start(runtime, &bundle);
    let folder = folder(&unit);
    let id = runtime.id();
    exec_detached(runtime);
    assert_eq!(value(&folder, "cgroup.procs").lines().count(), 2);
    call(runtime, &["kill", &id, "KILL"]).success();
    call(runtime, &["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

fn a_container_with_its_own_users_owns_its_cgroup(runtime: &Runtime) {
    if !here() {
        return;
    }
    let script = "mkdir /sys/fs/cgroup/inner && echo $$ > /sys/fs/cgroup/inner/cgroup.procs && \
                  echo +pids > /sys/fs/cgroup/cgroup.subtree_control && cat /proc/self/cgroup && exec sleep 1000";
    let (bundle, unit) = scope(runtime, script, "");
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({ "type": "user" }));
        namespaces.retain(|one| one["type"] != "cgroup");
        namespaces.push(json!({ "type": "cgroup" }));
        for kind in ["uidMappings", "gidMappings"] {
            config["linux"][kind] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        }
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["rw"] }));
    });
    run(Command::new("chown")
        .args(["-R", "100000:100000"])
        .arg(bundle.rootfs()))
    .success();
    run(Command::new("chmod").args(["a+x"]).arg(runtime.place.dir())).success();
    start(runtime, &bundle);
    let folder = folder(&unit);
    wait_until("the container's own cgroup", || {
        runtime.output().contains("0::/inner") || runtime.status() == "stopped"
    });
    assert!(runtime.output().ends_with("0::/inner\n"), "{}", runtime.output());
    let id = runtime.id();
    // Its own cgroup passes its controllers on: there is room for processes only below.
    exec_detached(runtime);
    assert_eq!(value(&folder, "inner/cgroup.procs").lines().count(), 2);
    call(runtime, &["delete", "--force", &id]).success();
    assert!(!folder.exists());
}

/// An ordinary user with a systemd of his own, if this machine has one: his number.
fn ordinary_user() -> Option<String> {
    let user = run(Command::new("id").args(["-u", "tester"]));
    if !here() || user.code != 0 {
        return None;
    }
    let uid = user.line().to_owned();
    run(Command::new("systemctl").args(["start", &format!("user@{uid}.service")])).success();
    Some(uid)
}

/// A program run by him.
fn as_user(runtime: &Runtime, uid: &str, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "tester", "--", "env"]);
    command.arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}"));
    command.arg(program).args(args);
    command.current_dir(runtime.place.dir());
    command
}

/// A bundle of his.
fn bundle_of_user(runtime: &Runtime, uid: &str) -> Bundle {
    let bundle = runtime.bundle("");
    let dir = bundle.dir().display().to_string();
    fs::remove_file(bundle.dir().join("config.json")).expect("the other configuration");
    run(Command::new("chown")
        .args(["-R", "tester:tester"])
        .arg(runtime.place.dir()))
    .success();
    let spec = ["spec", "--rootless", "--bundle", &dir];
    run(&mut as_user(runtime, uid, Path::new("runc"), &spec)).success();
    bundle
}

/// The user's own systemd makes the scope, below what the system's has given to it.
fn an_ordinary_user_has_limits(runtime: &Runtime) {
    let Some(uid) = ordinary_user() else { return };
    let as_user = |program: &Path, args: &[&str]| as_user(runtime, &uid, program, args);
    let bundle = bundle_of_user(runtime, &uid);
    let dir = bundle.dir().display().to_string();
    let name = runtime.place.name("scope");
    bundle.change(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = json!(format!("user.slice:gt:{name}"));
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } });
    });
    let state = runtime.place.join("state").display().to_string();
    let id = runtime.id();
    let call = |args: &[&str]| {
        let all = [&["--root", &state, "--systemd-cgroup"], args].concat();
        as_user(&runtime.program, &all)
    };
    let mut start = call(&["run", "--detach", "--bundle", &dir, &id]);
    let output = fs::File::create(runtime.place.join("output")).expect("a file");
    start
        .stdin(std::process::Stdio::null())
        .stderr(output.try_clone().expect("the file"))
        .stdout(output);
    let status = start.status().expect("the runtime");
    assert!(status.success(), "{}", runtime.output());
    let folder = PathBuf::from(format!(
        "/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/gt-{name}.scope"
    ));
    assert_eq!(value(&folder, "memory.max"), (64 << 20).to_string());
    assert_eq!(value(&folder, "pids.max"), "20");
    run(&mut call(&["update", "--memory", "96M", &id])).success();
    assert_eq!(value(&folder, "memory.max"), (96 << 20).to_string());
    let script = "exec sleep 1001 < /dev/null > /dev/null 2>&1";
    run(&mut call(&["exec", "--detach", &id, "sh", "-c", script])).success();
    if runtime.is_ours() {
        // Only later versions of runc ask systemd to move what is executed.
        assert_eq!(value(&folder, "cgroup.procs").lines().count(), 2);
    }
    run(&mut call(&["pause", &id])).success();
    run(&mut call(&["resume", &id])).success();
    run(&mut call(&["delete", "--force", &id])).success();
    assert!(!folder.exists());
    // A limit that nobody can keep is refused in so many words.
    bundle.change(|config| {
        config["linux"]
            .as_object_mut()
            .expect("an object")
            .remove("cgroupsPath");
    });
    let refused = as_user(
        &runtime.program,
        &["--root", &state, "run", "--bundle", &dir, &id],
    );
    run(&mut { refused }).failure(
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: mkdir ",
    );
    // Without a limit it does without a cgroup, and sees none of the host's.
    bundle.change(|config| {
        config["linux"]
            .as_object_mut()
            .expect("an object")
            .remove("resources");
        config["process"]["args"] = json!(["sh", "-c", "ls /sys/fs/cgroup | grep slice; echo fine"]);
    });
    let mut without = as_user(
        &runtime.program,
        &["--root", &state, "run", "--bundle", &dir, &id],
    );
    assert_eq!(run(&mut without).success().stdout, "fine\n");
}

/// In cgroups that were handed to the user, who makes one there by himself.
fn an_ordinary_user_has_limits_without_systemds_help(runtime: &Runtime) {
    let Some(uid) = ordinary_user() else { return };
    let bundle = bundle_of_user(runtime, &uid);
    let dir = bundle.dir().display().to_string();
    let handed = format!("/user.slice/user-{uid}.slice/user@{uid}.service");
    let name = runtime.place.name("own");
    let folder = PathBuf::from(format!("/sys/fs/cgroup{handed}/{name}/c"));
    bundle.change(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = json!(format!("{handed}/{name}/c"));
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } });
    });
    let state = runtime.place.join("state").display().to_string();
    let id = runtime.id();
    let program = runtime.program.display().to_string();
    // Who is to move a process must own what is above both places.
    let call = |args: &[&str]| {
        let scope = ["--user", "--scope", "--quiet", &program, "--root", &state];
        as_user(runtime, &uid, Path::new("systemd-run"), &[&scope, args].concat())
    };
    let output = fs::File::create(runtime.place.join("output")).expect("a file");
    let mut start = call(&["run", "--detach", "--bundle", &dir, &id]);
    start
        .stdin(std::process::Stdio::null())
        .stderr(output.try_clone().expect("the file"))
        .stdout(output);
    assert!(
        start.status().expect("the runtime").success(),
        "{}",
        runtime.output()
    );
    assert_eq!(value(&folder, "memory.max"), (64 << 20).to_string());
    assert_eq!(value(&folder, "pids.max"), "20");
    run(&mut call(&[
        "update",
        "--memory",
        "96M",
        "--pids-limit",
        "30",
        &id,
    ]))
    .success();
    assert_eq!(value(&folder, "memory.max"), (96 << 20).to_string());
    assert_eq!(value(&folder, "pids.max"), "30");
    let script = "exec sleep 1001 < /dev/null > /dev/null 2>&1";
    run(&mut call(&["exec", "--detach", &id, "sh", "-c", script])).success();
    assert_eq!(value(&folder, "cgroup.procs").lines().count(), 2);
    run(&mut call(&["pause", &id])).success();
    assert_eq!(value(&folder, "cgroup.freeze"), "1");
    run(&mut call(&["resume", &id])).success();
    run(&mut call(&["delete", "--force", &id])).success();
    assert!(!folder.exists());
    fs::remove_dir(folder.parent().expect("above")).expect("remove it");
}

fn what_is_wrong_is_said(runtime: &Runtime) {
    if !here() {
        return;
    }
    let (bundle, _) = scope(runtime, "true", "");
    let dir = bundle.dir().display().to_string();
    let id = runtime.id();
    for (path, annotation, error) in [
        (
            "/a/b",
            "'x'",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
        ),
        ("a--b.slice:x:y", "'inactive'", "invalid slice name: a--b.slice"),
        (
            ":gt:wrong",
            "nothing",
            "annotation org.systemd.property.CollectMode=nothing value parse error",
        ),
        (
            ":gt:wrong",
            "'nothing'",
            "unable to start unit \"gt-wrong.scope\" (properties [",
        ),
    ] {
        bundle.change(|config| {
            config["linux"]["cgroupsPath"] = json!(path);
            config["annotations"] = json!({ "org.systemd.property.CollectMode": annotation });
        });
        call(runtime, &["run", "--bundle", &dir, &id]).failure(error);
        assert_eq!(property("gt-wrong.scope", "LoadState"), "not-found");
    }
}
