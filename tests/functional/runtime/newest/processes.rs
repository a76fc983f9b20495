//! Namespaces, users, hooks, and how processes are treated.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{install, run, wait_until};
use serde_json::json;

use super::{namespaces, open_the_way, set_path, with_users};
use crate::Runtime;

crate::on_ours! {
    a_user_namespace_that_is_joined_owns_the_others
    a_namespace_of_processes_that_is_joined_is_not_that_of_hooks
    clocks_are_offset_with_users_of_their_own
    the_last_value_of_a_variable_counts
    what_cannot_be_ambient_is_a_warning
    scheduling_and_memory_hold_for_added_processes
    an_ordinary_user_runs_and_adds_processes
    interfaces_are_moved_with_their_addresses
    hooks_have_the_environment_of_the_program
    hooks_that_fail_late
    what_cannot_be_announced_does_not_run
    the_null_device_is_the_containers
}

fn a_user_namespace_that_is_joined_owns_the_others(runtime: &Runtime) {
    let first = runtime.bundle("exec sleep 1000");
    with_users(&first);
    let pid = runtime.detach(&first);
    let second = Bundle::new(
        &runtime.place.join("second"),
        &format!("{}/d", runtime.place.cgroup()),
        &[
            "sh",
            "-c",
            "readlink /proc/self/ns/user; cat /proc/self/uid_map; hostname new; ls /proc/1/fd > /dev/null && echo mine",
        ],
    );
    with_users(&second);
    second.change(|config| {
        set_path(config, "user", &format!("/proc/{pid}/ns/user"));
        config["linux"]["uidMappings"] = json!([]);
        config["linux"]["gidMappings"] = json!([]);
        config["process"]["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    });
    let said = run(runtime
        .command(["run", "--bundle"])
        .arg(second.dir())
        .arg(runtime.place.name("d")))
    .success();
    let users = fs::read_link(format!("/proc/{pid}/ns/user")).expect("the namespace");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(Path::new(lines[0]), users);
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert_eq!(lines[2], "mine");
    runtime.call(["delete", "-f", &runtime.id()]).success();
}

fn a_namespace_of_processes_that_is_joined_is_not_that_of_hooks(runtime: &Runtime) {
    let first = runtime.bundle("exec sleep 1000");
    let pid = runtime.detach(&first);
    let hook = runtime.place.join("hook");
    let second = Bundle::new(
        &runtime.place.join("second"),
        &format!("{}/d", runtime.place.cgroup()),
        &["readlink", "/proc/self/ns/pid"],
    );
    second.change(|config| {
        set_path(config, "pid", &format!("/proc/{pid}/ns/pid"));
        let script = format!(
            "readlink /proc/self/ns/pid_for_children > {}; pwd >> {0}",
            hook.display()
        );
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    let said = run(runtime
        .command(["run", "--bundle"])
        .arg(second.dir())
        .arg(runtime.place.name("d")))
    .success();
    let of = |path: &str| fs::read_link(path).expect("a namespace").display().to_string();
    assert_eq!(said.line(), of(&format!("/proc/{pid}/ns/pid")));
    let text = fs::read_to_string(hook).expect("what the hook wrote");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            of("/proc/self/ns/pid").as_str(),
            second.dir().to_str().expect("a path")
        ]
    );
    runtime.call(["delete", "-f", &runtime.id()]).success();
}

fn clocks_are_offset_with_users_of_their_own(runtime: &Runtime) {
    let bundle = runtime.bundle("cat /proc/self/timens_offsets");
    bundle.change(|config| {
        namespaces(config).push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] =
            json!({ "monotonic": { "secs": 7881, "nanosecs": 27 }, "boottime": { "secs": 12 } });
    });
    let expected = "monotonic 7881 27\nboottime 12 0\n";
    let plain = |text: &str| {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
            .collect::<String>()
    };
    assert_eq!(plain(&runtime.run(&bundle).success().stdout), expected);
    with_users(&bundle);
    assert_eq!(plain(&runtime.run(&bundle).success().stdout), expected);
}

fn the_last_value_of_a_variable_counts(runtime: &Runtime) {
    let bundle = runtime.bundle("env | sort");
    bundle.change(|config| {
        config["process"]["env"] = json!(["ONE=1", "HOME=", "PATH=/bin", "ONE=2", "LINES=a\nb"]);
    });
    let said = runtime.run(&bundle).success();
    for line in ["ONE=2", "HOME=/root", "LINES=a"] {
        assert!(said.stdout.lines().any(|one| one == line), "{}", said.stdout);
    }
    assert!(!said.stdout.contains("ONE=1"));
    bundle.change(|config| config["process"]["env"] = json!(["PATH=/bin", "WRONG"]));
    runtime.run(&bundle).failure("missing '='");
}

fn what_cannot_be_ambient_is_a_warning(runtime: &Runtime) {
    let bundle = runtime.bundle("grep CapAmb /proc/self/status");
    bundle.change(|config| {
        let sets = &mut config["process"]["capabilities"];
        sets["inheritable"] = json!(["CAP_KILL"]);
        sets["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
        sets["bounding"] = json!(["CAP_KILL", "CAP_CHOWN", "CAP_WHATEVER"]);
    });
    let said = runtime.run(&bundle).success();
    assert_eq!(said.line(), "CapAmb:\t0000000000000020");
    assert!(
        said.stderr.contains("can't raise ambient capability CAP_CHOWN"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("CAP_WHATEVER"), "{}", said.stderr);
}

fn scheduling_and_memory_hold_for_added_processes(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    bundle.change(|config| {
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        config["linux"]["memoryPolicy"] =
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    });
    runtime.detach(&bundle);
    let said = |script: &str| {
        runtime
            .call(["exec", &id, "sh", "-c", script])
            .success()
            .line()
            .to_owned()
    };
    assert_eq!(said("uname -m"), "i686");
    assert_eq!(
        said("head -1 /proc/self/numa_maps | cut -d' ' -f2"),
        "bind=static:0"
    );
    assert_eq!(
        said("grep Cpus_allowed_list /proc/self/status"),
        "Cpus_allowed_list:\t0"
    );
    runtime.call(["delete", "-f", &id]).success();
    // Where we run says nothing of where the container does.
    bundle.shell("grep Cpus_allowed_list /proc/self/status");
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(&runtime.program);
    command
        .arg("--root")
        .arg(runtime.place.join("state"))
        .args(["run", "--bundle"]);
    let there = run(command.arg(bundle.dir()).arg(&id)).success();
    let here = fs::read_to_string("/proc/self/status").expect("our status");
    assert!(here.contains(there.line()), "{}", there.stdout);
}

fn an_ordinary_user_runs_and_adds_processes(runtime: &Runtime) {
    let bundle = runtime.bundle("id -u; cat /proc/self/setgroups; exec sleep 1000");
    let state = runtime.place.join("state");
    fs::create_dir(&state).expect("the state's folder");
    for path in [bundle.dir().to_owned(), bundle.rootfs(), state.clone()] {
        chown(path, Some(12345), Some(12345)).expect("give it away");
    }
    for entry in fs::read_dir(bundle.rootfs()).expect("the root").flatten() {
        chown(entry.path(), Some(12345), Some(12345)).expect("give it away");
    }
    open_the_way(&bundle);
    let program = runtime.place.join("runtime");
    // Others reach it.
    install(&runtime.program, &program);
    bundle.change(|config| {
        let own = json!([{ "containerID": 0, "hostID": 12345, "size": 1 }]);
        config["linux"]["uidMappings"] = own.clone();
        config["linux"]["gidMappings"] = own;
        config["linux"]["resources"] = json!({});
        config["linux"]["cgroupsPath"] = json!("");
        let all = namespaces(config);
        all.retain(|one| one["type"] != "network");
        all.push(json!({ "type": "user" }));
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        for mount in mounts {
            if mount["destination"] == "/sys" {
                *mount = json!({ "type": "none", "source": "/sys", "destination": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
            }
            if mount["destination"] == "/dev/pts" {
                mount["options"].as_array_mut().expect("options").retain(|option| option != "gid=5");
            }
        }
    });
    let id = runtime.id();
    let call = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=12345", "--regid=12345", "--clear-groups"])
            .arg(&program);
        command
            .arg("--root")
            .arg(&state)
            .args(args)
            .current_dir(bundle.dir());
        command
    };
    if runtime.is_ours() {
        // CVE-2019-5736: whoever is root in the container could write to a program of his own, so that it is not that file.
        chown(&program, Some(12345), Some(12345)).expect("give it away");
        let pid_file = state.join("pid");
        let mut command = call(&["create", "--pid-file", &pid_file.to_string_lossy(), &id]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().expect("the runtime").success());
        let pid = fs::read_to_string(&pid_file).expect("the pid file");
        fs::remove_file(pid_file).expect("the pid file");
        let exe = fs::read_link(format!("/proc/{pid}/exe")).expect("its program");
        assert!(exe.starts_with("/memfd:program (deleted)"), "{}", exe.display());
        run(&mut call(&["delete", "--force", &id])).success();
        chown(&program, Some(0), Some(0)).expect("take it back");
    }
    let output = fs::File::create(runtime.place.join("output")).expect("a file");
    let mut command = call(&["run", "--detach", &id]);
    command
        .stdin(Stdio::null())
        .stderr(output.try_clone().expect("the file"))
        .stdout(output);
    assert!(
        command.status().expect("the runtime").success(),
        "{}",
        runtime.output()
    );
    wait_until("it spoke", || runtime.output().lines().count() == 2);
    assert_eq!(runtime.output(), "0\ndeny\n");
    let said = run(&mut call(&[
        "exec",
        &id,
        "sh",
        "-c",
        "id -u; readlink /proc/self/ns/user",
    ]))
    .success();
    assert!(said.stdout.starts_with("0\nuser:"), "{}", said.stdout);
    if runtime.is_ours() {
        // CVE-2016-9962: who enters as an ordinary user is not to be looked into from within either.
        let trace = runtime.place.join("trace");
        let exec = call(&["exec", &id, "true"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=prctl,setns", "-o"]).arg(&trace);
        command.arg(exec.get_program()).args(exec.get_args());
        run(command.current_dir(bundle.dir())).success();
        let trace = fs::read_to_string(trace).expect("the trace");
        let lines: Vec<&str> = trace.lines().collect();
        let entered = lines
            .iter()
            .position(|line| line.contains("setns(") && line.contains("CLONE_NEWUSER"));
        let entered = entered.unwrap_or_else(|| panic!("nobody enters: {trace}"));
        let pid = lines[entered].split(' ').next().expect("its number");
        let hides =
            |line: &&str| line.starts_with(pid) && line.contains("PR_SET_DUMPABLE, SUID_DUMP_DISABLE");
        assert!(lines[..entered].iter().any(hides), "{trace}");
    }
    run(&mut call(&["kill", &id, "KILL"])).success();
    wait_until("it ended", || {
        let state = run(&mut call(&["state", &id])).success();
        state.stdout.contains("stopped")
    });
    run(&mut call(&["delete", &id])).success();
    // Where no cgroup can be made, limits are refused.
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        bundle.change(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 5 } }));
        run(&mut call(&["run", &id]))
            .failure("cannot set pids limit: container could not join or create cgroup");
    }
}

fn interfaces_are_moved_with_their_addresses(runtime: &Runtime) {
    let (name, peer) = (
        format!("gt{}a", std::process::id()),
        format!("gt{}b", std::process::id()),
    );
    let ip = |args: &[&str]| run(Command::new("ip").args(args)).success();
    ip(&["link", "add", &name, "type", "veth", "peer", "name", &peer]);
    ip(&[
        "link",
        "set",
        &name,
        "mtu",
        "1321",
        "address",
        "02:00:00:00:00:07",
    ]);
    ip(&["address", "add", "198.51.100.7/24", "dev", &name]);
    let bundle = runtime.bundle("ip address show dev inner");
    bundle.change(|config| config["linux"]["netDevices"] = json!({ name.as_str(): { "name": "inner" } }));
    let said = runtime.run(&bundle);
    // The kernel ends a pair when the namespace of one ends.
    let _ = Command::new("ip")
        .args(["link", "del", &peer])
        .stderr(Stdio::null())
        .status();
    let said = said.success();
    for part in ["mtu 1321", "02:00:00:00:00:07", "198.51.100.7/24", ",UP"] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    runtime.run(&bundle).failure("error moving network device");
}

fn hooks_have_the_environment_of_the_program(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    let script = bundle.rootfs().join("check");
    fs::write(&script, "#!/bin/sh -ue\ntest \"$ONE\" = two\ntest -n \"$HOME\"\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    bundle.change(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "ONE=two"]);
        config["hooks"] = json!({
            "startContainer": [{ "path": "/check" }],
            "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "test -x ./bin/busybox"] }],
        });
    });
    runtime.run(&bundle).success();
    bundle.change(|config| {
        config["hooks"] =
            json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "kill -SYS $$"] }] });
    });
    runtime.run(&bundle).failure("bad system call");
}

fn hooks_that_fail_late(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    let failing = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "test -n \"$GANTRY_TEST\" && exit 3"] }]);
    let with = |kind: &str| {
        bundle.change(|config| {
            config["hooks"] = json!({});
            config["hooks"][kind] = failing.clone();
        });
        let mut command = runtime.command(["create", "--bundle"]);
        crate::silent(command.arg(bundle.dir()).arg(&id));
    };
    // What has no environment has that of the runtime.
    let call = |args: &[&str]| run(runtime.command(args).env("GANTRY_TEST", "1"));
    // It fails the start, and the container's life is over.
    with("poststart");
    call(&["start", &id]).failure("exit status 3");
    runtime.call(["state", &id]).failure("does not exist");
    // It is told of, and keeps nothing from being removed.
    with("poststop");
    let said = call(&["delete", &id]).success();
    assert!(
        said.stderr.contains("level=warning") && said.stderr.contains("exit status 3"),
        "{}",
        said.stderr
    );
    runtime.call(["state", &id]).failure("does not exist");
}

fn the_null_device_is_the_containers(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    let mut command = runtime.command(["run", "--detach", "--bundle"]);
    crate::silent(command.arg(bundle.dir()).arg(&id));
    let pid = runtime.call(["state", &id]).success();
    let pid = serde_json::from_str::<serde_json::Value>(&pid.stdout).expect("the state")["pid"].clone();
    let mount = |number: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).expect("the descriptor");
        let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        line.expect("its mount").trim().to_owned()
    };
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("its mounts");
    for number in 0..3 {
        let its = mount(number) + " ";
        assert!(
            mounts.lines().any(|line| line.starts_with(&its)),
            "{number}: {its} of\n{mounts}"
        );
    }
    runtime.call(["delete", "-f", &id]).success();
}

/// Nobody would know of it: neither by a number nor by a descriptor.
fn what_cannot_be_announced_does_not_run(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    let nowhere = runtime.place.join("none/pid");
    let mut exec = runtime.command(["exec", "--detach", "--pid-file"]);
    run(exec.arg(&nowhere).args([&id, "sleep", "1001"])).failure("no such file or directory");
    let said = runtime.call(["ps", "-f", "json", &id]).success();
    let pids: Vec<i32> = serde_json::from_str(&said.stdout).expect("the numbers");
    assert_eq!(pids.len(), 1, "{pids:?}");
    runtime.call(["delete", "-f", &id]).success();
}
