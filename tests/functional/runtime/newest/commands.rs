//! Commands, their flags, and what they refuse.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{run, wait_until};
use serde_json::{Value, json};

use super::namespaces;
use crate::Runtime;

crate::on_ours! {
    a_created_container_ends_by_a_signal
    descriptors_of_the_caller_are_not_the_containers
    without_a_namespace_of_processes_a_kill_is_for_all
    a_frozen_cgroup_is_refused
    flags_may_stand_behind_the_id
    figures_are_shown
    processes_go_into_cgroups_below
    processes_follow_the_first_one_into_another_cgroup
    what_is_wrong_in_the_configuration_is_said
    every_command_has_help
    a_checkpoint_says_what_is_missing
    what_nobody_would_hold_is_refused
    the_log_tells_what_is_done
    features_are_those_that_are_there
}

fn a_created_container_ends_by_a_signal(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    create(runtime, &bundle);
    runtime.call(["kill", &id, "TERM"]).success();
    wait_until("it ended", || runtime.status() == "stopped");
    runtime.call(["delete", &id]).success();
}

fn descriptors_of_the_caller_are_not_the_containers(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    let mut command = Command::new("sh");
    // Without close-on-exec, as a careless caller leaves one.
    command
        .arg("-c")
        .arg("exec 7</etc/passwd; exec \"$@\"")
        .arg("sh")
        .arg(&runtime.program);
    command
        .arg("--root")
        .arg(runtime.place.join("state"))
        .args(["create", "--bundle"]);
    crate::silent(command.arg(bundle.dir()).arg(&id));
    let pid = runtime.state()["pid"].clone();
    let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its descriptors")
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|path| path.display().to_string())
        .collect();
    let allowed = |path: &String| {
        path == "/dev/null"
            || path.ends_with("exec.fifo")
            || path.starts_with("socket:")
            || path.starts_with("anon_inode:")
    };
    assert!(open.iter().all(allowed), "{open:?}");
    runtime.call(["delete", &id]).success();
}

fn without_a_namespace_of_processes_a_kill_is_for_all(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("sleep 1000 & sleep 1000 & exec sleep 1000");
    bundle.change(|config| namespaces(config).retain(|one| one["type"] != "pid"));
    runtime.detach(&bundle);
    let pids = || -> Vec<i32> {
        let said = runtime.call(["ps", "-f", "json", &id]).success();
        serde_json::from_str(&said.stdout).expect("a list")
    };
    wait_until("three processes", || pids().len() == 3);
    let all = pids();
    runtime.call(["kill", &id, "KILL"]).success();
    let gone = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    };
    wait_until("all ended", || all.iter().all(gone));
    runtime.call(["delete", &id]).success();
}

fn a_frozen_cgroup_is_refused(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    let inner = runtime.place.cgroup().trim_start_matches('/').to_owned() + "/c";
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let (folder, file, value) = match v2 {
        true => (Path::new("/sys/fs/cgroup").join(inner), "cgroup.freeze", "1"),
        false => (
            Path::new("/sys/fs/cgroup/freezer").join(inner),
            "freezer.state",
            "FROZEN",
        ),
    };
    fs::create_dir_all(&folder).expect("a cgroup");
    fs::write(folder.join(file), value).expect("freeze it");
    let said = runtime.run(&bundle);
    fs::remove_dir(&folder).expect("remove it");
    fs::remove_dir(folder.parent().expect("above")).expect("remove it");
    said.failure("container's cgroup unexpectedly frozen");
}

fn flags_may_stand_behind_the_id(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    runtime.call(["update", &id, "--pids-limit", "20"]).success();
    // But not those of the program.
    let said = runtime.call(["exec", &id, "echo", "-n", "--env", "x"]).success();
    assert_eq!(said.stdout, "--env x");
    runtime.call(["exec", "--nope", &id, "true"]).code(255);
    runtime.call(["delete", &id, "--force"]).success();
}

fn figures_are_shown(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    let said = runtime.call(["events", "--stats", &id]).success();
    let start = format!("{{\"type\":\"stats\",\"id\":\"{id}\",\"data\":{{");
    assert!(said.stdout.starts_with(&start), "{}", said.stdout);
    let value: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(value["data"]["pids"]["current"], 1);
    // Followed until the end.
    let log = runtime.place.join("events");
    let mut follow = runtime.command(["events", "--interval", "50ms", &id]);
    let mut follow = follow
        .stdout(fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the runtime");
    wait_until("a line", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains('\n'))
    });
    runtime.call(["delete", "-f", &id]).success();
    assert!(follow.wait().expect("its end").success());
    runtime
        .call(["events", "--interval", "0s", &id])
        .failure("must be greater than 0");
}

fn processes_go_into_cgroups_below(runtime: &Runtime) {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return;
    }
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    let inner = runtime.place.cgroup().trim_start_matches('/').to_owned() + "/c/below";
    fs::create_dir(Path::new("/sys/fs/cgroup/memory").join(&inner)).expect("a cgroup");
    let said = runtime
        .call([
            "exec",
            "--cgroup",
            "memory:below",
            &id,
            "cat",
            "/proc/self/cgroup",
        ])
        .success();
    let of = |controller: &str| {
        said.stdout
            .lines()
            .find(|line| line.contains(controller))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(of(":memory:").ends_with("/c/below"), "{}", said.stdout);
    assert!(of(":pids:").ends_with("/c"), "{}", said.stdout);
    for (path, why) in [
        ("..", "bad sub cgroup path"),
        ("memory:none", "no such file or directory"),
        ("nothing:/", "unknown controller"),
    ] {
        runtime
            .call(["exec", "--cgroup", path, &id, "true"])
            .code(255)
            .failure(why);
    }
    runtime.call(["delete", "-f", &id]).success();
}

fn what_is_wrong_in_the_configuration_is_said(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    let base = bundle.config();
    for (change, why) in [
        (json!({ "process": { "args": [] } }), "args must not be empty"),
        (
            json!({ "process": { "cwd": "" } }),
            "Cwd property must not be empty",
        ),
        (
            json!({ "process": { "scheduler": { "policy": "SCHED_NONE" } } }),
            "invalid scheduler policy",
        ),
        (
            json!({ "process": { "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 8 } } }),
            "invalid ioPriority.Priority",
        ),
        (
            json!({ "linux": { "memoryPolicy": { "mode": "MPOL_BIND" } } }),
            "at least one node",
        ),
        (
            json!({ "linux": { "personality": { "domain": "UNIX" } } }),
            "personality",
        ),
        (
            json!({ "linux": { "sysctl": { "kernel.panic": "1" } } }),
            "not in a separate kernel namespace",
        ),
        (
            json!({ "linux": { "timeOffsets": { "monotonic": { "secs": 1 } } } }),
            "time namespace",
        ),
        (
            json!({ "linux": { "intelRdt": { "closID": "x" } } }),
            "Intel RDT is not enabled",
        ),
        (
            json!({ "linux": { "netDevices": { "a:b": { "name": "" } } } }),
            "invalid network device name",
        ),
        (
            json!({ "linux": { "rootfsPropagation": "sideways" } }),
            "rootfsPropagation=sideways is not supported",
        ),
    ] {
        bundle.change(|config| {
            config.clone_from(&base);
            merge(config, &change);
        });
        let said = runtime.run(&bundle);
        said.failure(why);
        runtime.call(["state", &runtime.id()]).failure("does not exist");
    }
}

fn every_command_has_help(runtime: &Runtime) {
    for command in [
        "checkpoint",
        "create",
        "delete",
        "events",
        "exec",
        "features",
        "kill",
        "list",
        "pause",
        "ps",
        "restore",
        "resume",
        "run",
        "spec",
        "start",
        "state",
        "update",
    ] {
        for flag in ["-h", "--help"] {
            let said = runtime.call([command, flag]).success();
            assert!(
                said.stdout.starts_with("NAME:\n   gantry-runtime "),
                "{}",
                said.stdout
            );
        }
    }
    runtime
        .call(["nothing", "-h"])
        .failure("No help topic for 'nothing'");
}

fn the_log_tells_what_is_done(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    let log = runtime.place.join("log");
    let mut command = runtime.command(["--debug", "--log-format", "json", "--log"]);
    let said = run(command
        .arg(&log)
        .args(["run", "--bundle"])
        .arg(bundle.dir())
        .arg(runtime.id()))
    .success();
    assert_eq!(said.stderr, "");
    let text = fs::read_to_string(&log).expect("the log");
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["level"], "debug");
    }
    assert!(text.lines().count() > 2, "{text}");
    let mut command = runtime.command(["--log", "/nowhere/log", "list"]);
    run(&mut command).failure("failed to open the log");
}

fn features_are_those_that_are_there(runtime: &Runtime) {
    let said = runtime.call(["features"]).success();
    let features: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let linux = &features["linux"];
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(linux["netDevices"]["enabled"], true);
    assert_eq!(linux["memoryPolicy"]["modes"].as_array().map(Vec::len), Some(7));
    assert_eq!(linux["namespaces"].as_array().map(Vec::len), Some(8));
}

fn create(runtime: &Runtime, bundle: &Bundle) {
    let mut command = runtime.command(["create", "--bundle"]);
    command.arg(bundle.dir()).arg(runtime.id());
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("the runtime").success());
}

fn merge(into: &mut Value, from: &Value) {
    match from.as_object() {
        Some(pairs) => pairs
            .iter()
            .for_each(|(name, value)| merge(&mut into[name], value)),
        None => into.clone_from(from),
    }
}

fn a_checkpoint_says_what_is_missing(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    create(runtime, &bundle);
    runtime
        .call(["checkpoint", &id])
        .failure("Container cannot be checkpointed in created state");
    runtime.call(["start", &id]).success();
    let images = runtime.place.join("images");
    let call = |args: &[&str]| {
        let mut command = runtime.command(["checkpoint", "--image-path"]);
        command.arg(&images).args(args).arg(&id);
        // Nothing that is on this machine can be found.
        command.env("PATH", runtime.place.dir());
        run(&mut command)
    };
    call(&[]).failure("CRIU version check failed: exec: \"criu\": executable file not found in $PATH");
    call(&["--parent-path", "/absolute"]).failure("--parent-path must be relative");
    call(&["--parent-path", "none"]).failure("invalid --parent-path");
    call(&["--page-server", "here"]).failure("Use --page-server ADDRESS:PORT");
    call(&["--manage-cgroups-mode", "gently"]).failure("Invalid manage-cgroups-mode value");
    call(&["--empty-ns", "pid"]).failure("is not supported");
    runtime.call(["delete", "-f", &id]).success();
    let mut command = runtime.command(["restore", "--image-path"]);
    command.arg(&images).arg("--bundle").arg(bundle.dir()).arg(&id);
    command.env("PATH", runtime.place.dir());
    run(&mut command).failure("CRIU version check failed");
    runtime.call(["state", &id]).failure("does not exist");
}

fn what_nobody_would_hold_is_refused(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("true");
    let call = |args: &[&str]| run(runtime.command(args).current_dir(bundle.dir()));
    call(&["run", "--preserve-fds", "7", &id]).failure("unable to stat preserved-fd");
    call(&["run", "--console-socket", "/none", &id]).failure("cannot use console socket");
    bundle.change(|config| config["process"]["terminal"] = json!(true));
    for command in ["create", "run"] {
        let mut args = vec![command];
        args.extend((command == "run").then_some("--detach"));
        args.push(&id);
        call(&args).failure("cannot allocate tty if runc will detach without setting console socket");
    }
    runtime.call(["state", &id]).failure("does not exist");
}

fn processes_follow_the_first_one_into_another_cgroup(runtime: &Runtime) {
    let root = Path::new("/sys/fs/cgroup");
    if !root.join("cgroup.controllers").exists() {
        return;
    }
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    bundle.change(|config| namespaces(config).retain(|one| one["type"] != "cgroup"));
    let pid = runtime.detach(&bundle);
    let above = root.join(runtime.place.cgroup().trim_start_matches('/'));
    let moved = above.join("moved");
    fs::create_dir(&moved).expect("a cgroup");
    fs::write(moved.join("cgroup.procs"), pid.to_string()).expect("move it");
    fs::remove_dir(above.join("c")).expect("remove the one that it was in");
    let said = runtime.call(["exec", &id, "cat", "/proc/self/cgroup"]).success();
    assert!(said.line().ends_with("/moved"), "{}", said.stdout);
    runtime.call(["delete", "-f", &id]).success();
    wait_until("nobody is in it", || fs::remove_dir(&moved).is_ok());
    let _ = fs::remove_dir(above);
}
