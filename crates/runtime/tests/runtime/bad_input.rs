//! What is wrong is refused with one sentence, and nothing is left of it: each field of `config.json` of a wrong type or
//! without meaning, by us and by Debian's runc; records that were half written; ids that two want; images full of links.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use gantry_testkit::cmd::{Said, run};
use serde_json::{Value, json};

use crate::container::Container;

/// A container whose configuration has every field that is read.
fn full() -> Container {
    let container = Container::new("true");
    let cgroup = container.bundle.config()["linux"]["cgroupsPath"].clone();
    container.bundle.change(|config| {
        let process = &mut config["process"];
        process["capabilities"]["inheritable"] = process["capabilities"]["ambient"].clone();
        process["consoleSize"] = json!({ "height": 20, "width": 80 });
        process["user"] = json!({ "uid": 0, "gid": 0, "umask": 18, "additionalGids": [1] });
        process["oomScoreAdj"] = json!(100);
        process["apparmorProfile"] = json!("");
        process["selinuxLabel"] = json!("");
        process["noNewPrivileges"] = json!(true);
        config["domainname"] = json!("domain");
        config["annotations"] = json!({ "a": "b" });
        let hook = json!([{ "path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5 }]);
        config["hooks"] = json!({ "prestart": hook, "createRuntime": hook, "poststop": hook });
        let linux = &mut config["linux"];
        linux["cgroupsPath"] = cgroup;
        linux["devices"] = json!([{ "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0 }]);
        linux["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        linux["rootfsPropagation"] = json!("private");
        linux["mountLabel"] = json!("");
        linux["resources"] = json!({
            "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" }],
            "memory": { "limit": 100_000_000, "reservation": 90_000_000, "disableOOMKiller": false },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0" },
            "pids": { "limit": 100 },
        });
        linux["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "flags": [], "listenerPath": "", "listenerMetadata": "",
            "syscalls": [{ "names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                "args": [{ "index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ" }] }],
        });
    });
    container
}

/// Every place in a document, as a JSON pointer; of lists the first place only, for the others are like it.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                all.push(place.clone());
                places(field, &place, all);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                all.push(format!("{at}/0"));
                places(first, &format!("{at}/0"), all);
            }
        }
        _ => {}
    }
}

/// One sentence, of which nothing is left.
#[track_caller]
fn is_refused(container: &Container, said: &Said, what: &str) {
    assert_ne!(said.code, 0, "{what} was taken");
    let line = said.stderr.trim_end();
    assert!(
        line.contains(" level=error msg=\"") && line.len() > 60 && line.lines().count() == 1,
        "{what}: {said:#?}"
    );
    assert!(!line.contains("panicked"), "{what}: {said:#?}");
    container.is_gone();
}

fn by_runc(container: &Container) -> Said {
    let mut command = Command::new("runc");
    command
        .arg("--root")
        .arg(container.place.join("runc"))
        .args(["run", "--bundle"]);
    let said = run(command.arg(container.bundle.dir()).arg(container.id()));
    let mut command = Command::new("runc");
    command
        .arg("--root")
        .arg(container.place.join("runc"))
        .args(["delete", "--force"]);
    run(command.arg(container.id()));
    said
}

/// A value of another type than this one.
fn of_another_type(value: &Value) -> Value {
    match value {
        Value::String(_) => json!(42),
        Value::Number(_) | Value::Bool(_) => json!("x"),
        Value::Array(_) => json!({ "x": 1 }),
        _ => json!("x"),
    }
}

#[test]
fn every_field_of_another_type() {
    let container = full();
    container.run().success();
    let good = container.bundle.config();
    let mut all = Vec::new();
    places(&good, "", &mut all);
    assert!(all.len() > 120, "{}", all.len());
    for place in all {
        container.bundle.change(|config| {
            *config = good.clone();
            let field = config.pointer_mut(&place).expect("a field");
            *field = of_another_type(field);
        });
        is_refused(&container, &container.run(), &place);
    }
}

/// What Go writes for a list or a map that is not there, and takes for anything.
#[test]
fn every_field_null() {
    let container = full();
    let good = container.bundle.config();
    let mut all = Vec::new();
    places(&good, "", &mut all);
    let mut wrong = Vec::new();
    let structures = |place: &&String| {
        let value = good.pointer(place).expect("a field");
        (value.is_array() || value.is_object()) && !place.ends_with("/0")
    };
    for place in all.iter().filter(structures) {
        container.bundle.change(|config| {
            *config = good.clone();
            *config.pointer_mut(place).expect("a field") = Value::Null;
        });
        let ours = container.run();
        if ours.code != 0 {
            is_refused(&container, &ours, place);
            let theirs = by_runc(&container);
            if theirs.code == 0 {
                wrong.push(format!("{place}: {}", ours.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_has_no_meaning() {
    let container = full();
    let good = container.bundle.config();
    for (place, value, says) in [
        ("/ociVersion", json!(""), "spec version"),
        ("/ociVersion", json!("2.0.0"), "2.0.0"),
        ("/ociVersion", json!("x"), "spec version"),
        ("/root/path", json!(""), "executable file not found"),
        ("/root/path", json!("nowhere"), "invalid rootfs"),
        ("/root/path", json!("config.json"), "not a directory"),
        ("/process/args", json!([]), "args must not be empty"),
        (
            "/process/args",
            json!(["nowhere"]),
            "\"nowhere\": executable file not found in $PATH",
        ),
        ("/process/args", json!(["/etc"]), "\"/etc\": "),
        (
            "/process/args",
            json!(["/etc/passwd"]),
            "\"/etc/passwd\": permission denied",
        ),
        ("/process/cwd", json!(""), "Cwd property must not be empty"),
        ("/process/cwd", json!("relative"), "Cwd must be an absolute path"),
        ("/process/cwd", json!("/etc/passwd"), "not a directory"),
        ("/process/user/uid", json!(-1), "-1"),
        ("/process/user/uid", json!(4_294_967_296_u64), "4294967296"),
        ("/process/user/gid", json!(1.5), "1.5"),
        ("/process/rlimits/0/type", json!("RLIMIT_X"), "RLIMIT_X"),
        (
            "/process/rlimits/0/soft",
            json!(99_999_999),
            "error setting rlimit",
        ),
        ("/process/rlimits/0/soft", json!(-1), "-1"),
        ("/process/oomScoreAdj", json!(1001), "oom_score_adj"),
        ("/process/oomScoreAdj", json!(-1001), "oom_score_adj"),
        (
            "/process/apparmorProfile",
            json!("no-such-profile"),
            "unable to apply apparmor profile",
        ),
        ("/mounts/0/type", json!("nosuchfs"), "/proc"),
        ("/mounts/0/destination", json!(""), "mount"),
        ("/mounts/1/options", json!(["size=x"]), "invalid argument"),
        ("/linux/namespaces/0/type", json!("x"), "x"),
        (
            "/linux/namespaces/0/path",
            json!("/nowhere"),
            "/nowhere: no such file or directory",
        ),
        ("/linux/namespaces/0/path", json!("/etc/passwd"), ""),
        (
            "/linux/namespaces",
            json!([{ "type": "pid" }]),
            "unable to set hostname without a private UTS namespace",
        ),
        ("/linux/devices/0/path", json!(""), "invalid device"),
        ("/linux/devices/0/type", json!("x"), "invalid device type \"x\""),
        ("/linux/devices/0/major", json!(-5), "invalid device"),
        (
            "/linux/sysctl",
            json!({ "kernel.panic": "1" }),
            "sysctl \"kernel.panic\" is not in a separate kernel namespace",
        ),
        (
            "/linux/sysctl",
            json!({ "net.nowhere": "1" }),
            "sys/net/nowhere: no such file or directory",
        ),
        (
            "/linux/sysctl",
            json!({ "net.ipv4.ip_forward": "x" }),
            "ip_forward",
        ),
        ("/linux/rootfsPropagation", json!("x"), "is not supported"),
        ("/linux/resources/memory/limit", json!(1), "memory limit"),
        ("/linux/resources/memory/limit", json!("1g"), ""),
        ("/linux/resources/cpu/cpus", json!("9999"), "cpuset.cpus"),
        ("/linux/resources/cpu/cpus", json!("x"), "cpuset.cpus"),
        ("/linux/resources/cpu/quota", json!(1), "cpu"),
        ("/linux/resources/cpu/period", json!(1), "cpu"),
        ("/linux/resources/devices/0/type", json!("x"), "device"),
        ("/linux/seccomp/defaultAction", json!("x"), "x"),
        (
            "/linux/seccomp/architectures",
            json!(["x"]),
            "string x is not a valid arch for seccomp",
        ),
        ("/linux/seccomp/syscalls/0/args/0/index", json!(6), "arguments"),
        ("/hooks/prestart/0/path", json!("/nowhere"), "/nowhere"),
        ("/hooks/prestart/0/path", json!("relative"), "relative"),
        ("/hooks/prestart/0/path", json!("/bin/false"), "exit status 1"),
        ("/process/env", json!(["A\u{0}B=c"]), "nul"),
        (
            "/mounts/0",
            json!({ "destination": "/x", "type": "bind", "source": "/nowhere", "options": ["bind"] }),
            "/nowhere",
        ),
        (
            "/mounts/0",
            json!({ "destination": "/proc/self/x", "type": "tmpfs", "source": "tmpfs" }),
            "/proc",
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "mount" }, { "type": "mount" }, { "type": "uts" }, { "type": "network" }]),
            "duplicated ns",
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "mount" }, { "type": "uts" }, { "type": "network" }, { "type": "user" }]),
            "ser namespaces enabled",
        ),
    ] {
        container.bundle.change(|config| {
            *config = good.clone();
            let (folder, name) = place.rsplit_once('/').expect("a place");
            match config.pointer_mut(folder).expect("a folder") {
                Value::Array(items) => items[name.parse::<usize>().expect("a number")] = value.clone(),
                fields => fields[name] = value.clone(),
            }
        });
        let (ours, theirs) = (container.run(), by_runc(&container));
        let what = format!("{place} {value}");
        is_refused(&container, &ours, &what);
        // Where Debian's runc refuses it too the words are there as well, but for what each language's JSON says.
        let said = |said: &Said| said.stderr.replace("\\\"", "\"").contains(says);
        assert!(said(&ours), "{what}: {ours:#?}");
        let alike = theirs.code == 0 || said(&theirs) || DIFFERENT.contains(&place);
        assert!(alike, "{what}: {ours:#?} {theirs:#?}");
    }
}

/// Where runc's error tells of something else: of what it did next, or of the end of its own first process.
const DIFFERENT: &[&str] = &[
    "/process/oomScoreAdj",
    "/process/env",
    "/mounts/0",
    "/mounts/0/destination",
    "/root/path",
];

/// Two that want the same id at once: one gets it, the other is told so, and takes nothing of the first one's away.
#[test]
fn an_id_is_given_once() {
    let container = Container::new("exec sleep 100");
    let dir = container.bundle.dir().display().to_string();
    for _ in 0..10 {
        let create = || {
            let mut command = container.command("", &["create", "--bundle", &dir, &container.id()]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().expect("the runtime")
        };
        let started: Vec<_> = (0..4).map(|_| create()).collect();
        let ended = started
            .into_iter()
            .map(|mut child| child.wait().expect("its end").success());
        assert_eq!(ended.filter(|success| *success).count(), 1);
        let again = container.call("", &["create", "--bundle", &dir, &container.id()]);
        again.failure("container with given ID already exists");
        container.call("", &["start", &container.id()]).success();
        assert_eq!(
            container
                .call("", &["exec", &container.id(), "echo", "x"])
                .success()
                .line(),
            "x"
        );
        container.delete();
        container.is_gone();
    }
}

/// Several that delete at once, while others enter: everything goes away, and nobody says anything but that it is gone.
#[test]
fn what_is_deleted_by_several() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    for round in 0..8 {
        container.create();
        if round % 2 == 0 {
            container.call("", &["start", &id]).success();
        }
        let spawn = |words: &[&str]| {
            let mut command = container.command("", words);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            command.spawn().expect("the runtime")
        };
        let entering: Vec<_> = (0..3).map(|_| spawn(&["exec", &id, "true"])).collect();
        let deleting: Vec<_> = (0..3).map(|_| spawn(&["delete", "--force", &id])).collect();
        for child in deleting {
            let ended = child.wait_with_output().expect("its end");
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{round}: {said}");
        }
        for child in entering {
            let ended = child.wait_with_output().expect("its end");
            assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"));
        }
        container.is_gone();
    }
}

/// Records that nobody finished writing, or somebody else wrote over: one error, and `delete --force` clears them away.
#[test]
fn half_written_records() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    let folder = container.place.join("state").join(&id);
    container.create();
    let whole = fs::read_to_string(folder.join("state.json")).expect("the record");
    container.delete();
    let broken: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("cut", whole[..whole.len() / 2].to_owned()),
        ("no JSON", "\u{0}\u{0}".to_owned()),
        ("another document", "[]".to_owned()),
        (
            "a later version",
            whole.replacen("\"version\":1", "\"version\":99", 1),
        ),
        (
            "no configuration",
            whole.replacen("\"config\":", "\"config\":7,\"x\":", 1),
        ),
    ];
    for (what, text) in broken {
        let pid = container.create();
        fs::write(folder.join("state.json"), &text).expect("a record");
        // As a `create` leaves it that was killed while it wrote.
        fs::write(folder.join("state.json.123"), "{").expect("a file");
        for words in [
            &["state", &id][..],
            &["start", &id],
            &["kill", &id, "KILL"],
            &["exec", &id, "true"],
            &["pause", &id],
            &["ps", &id],
            &["delete", &id],
        ] {
            let said = container.call("", words);
            let line = said.stderr.trim_end();
            assert!(
                [1, 255].contains(&said.code) && line.lines().count() == 1 && line.len() > 20,
                "{what}: {said:#?}"
            );
            assert!(!line.contains("panicked"), "{what}: {said:#?}");
        }
        // The others are listed all the same.
        container.call("", &["list"]).success();
        let dir = container.bundle.dir().display().to_string();
        container
            .call("", &["create", "--bundle", &dir, &id])
            .failure("already exists");
        container.call("", &["delete", "--force", &id]).success();
        container.is_gone();
        assert!(!gantry_testkit::kernel::alive(pid), "{what}");
    }
    container.create();
    container.delete();
}

/// What is not there is not there for any command, and `delete --force` has nothing to say of it.
#[test]
fn containers_that_are_gone() {
    let container = Container::new("true");
    let id = container.id();
    for words in [
        &["state", &id][..],
        &["start", &id],
        &["kill", &id],
        &["kill", &id, "9"],
        &["exec", &id, "true"],
        &["pause", &id],
        &["resume", &id],
        &["ps", &id],
        &["delete", &id],
        &["update", "--pids-limit", "3", &id],
    ] {
        container.call("", words).failure("container does not exist");
    }
    container.call("", &["delete", "--force", &id]).success();
    container.create();
    container.call("", &["start", &id]).success();
    gantry_testkit::cmd::wait_until("its end", || {
        container
            .call("", &["state", &id])
            .success()
            .stdout
            .contains("\"stopped\"")
    });
    container
        .call("", &["kill", &id, "TERM"])
        .failure("container not running");
    container
        .call("", &["start", &id])
        .failure("cannot start a container that has stopped");
    container
        .call("", &["exec", &id, "true"])
        .failure("cannot exec in a stopped container");
    container.call("", &["delete", &id]).success();
    container.is_gone();
}

/// An image whose every folder is a link to another, or to itself, or to nothing.
#[test]
fn images_full_of_links() {
    for target in [".", "loop", "/nowhere", "..", "../../../..", "/proc/self/fd", "/"] {
        let container = Container::new("true");
        let rootfs = container.bundle.rootfs();
        symlink("loop", rootfs.join("loop")).expect("a link");
        for name in ["dev", "etc", "sys", "tmp", "proc", "var", "root"] {
            let _ = fs::remove_dir_all(rootfs.join(name));
            symlink(target, rootfs.join(name)).expect("a link");
        }
        let before = fs::read_dir("/").expect("/").count();
        let said = container.run();
        is_refused(&container, &said, target);
        assert_eq!(fs::read_dir("/").expect("/").count(), before);
        // Without the kernel's own file systems, which want a folder.
        container.bundle.change(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|one| one["type"] != "proc" && one["type"] != "sysfs" && one["type"] != "cgroup");
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
        let said = container.run();
        assert!(!said.stderr.contains("panicked"), "{said:#?}");
        assert_eq!(fs::read_dir("/").expect("/").count(), before);
        container.is_gone();
    }
}
