//! What is around a restored container: its cgroups in every mode, systemd's units, namespaces of others, hooks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use gantry_testkit::cmd::{run, wait_until};
use serde_json::json;

use crate::case::{COUNTS, Case, folder, unusable};

/// With a process in a cgroup below the container's.
fn with_one_below() -> Case {
    let case = Case::new(COUNTS);
    case.bundle
        .change(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 55 }));
    let pid = case.start();
    case.counted(0);
    let below = folder(pid).join("below");
    fs::create_dir(&below).expect("a cgroup");
    // A child of the container's first process, as its maker ends.
    case.exec("sleep 1234 < /dev/null > /dev/null 2>&1 &").success();
    let mut other = None;
    wait_until("the sleeper", || {
        other = sleeper(&folder(pid));
        other.is_some()
    });
    fs::write(below.join("cgroup.procs"), other.expect("it is there")).expect("move it");
    case
}

/// The sleeping process in a cgroup.
fn sleeper(folder: &Path) -> Option<String> {
    let inside = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // Not the shell that is about to become it, nor that which made it.
    let sleeps =
        |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001234\x00");
    inside.lines().find(sleeps).map(str::to_owned)
}

/// The cgroup of the sleeping process, from the container's.
fn below(case: &Case) -> &'static str {
    let top = folder(case.pid());
    let below = top.join("below");
    match (sleeper(&top), sleeper(&below)) {
        (Some(_), _) => "",
        (_, Some(_)) => "below",
        _ => "nowhere",
    }
}

#[test]
fn cgroups_in_every_mode() {
    if unusable() {
        return;
    }
    for (mode, place) in [
        ("ignore", ""),
        ("soft", "below"),
        ("full", "below"),
        ("", "below"),
    ] {
        let case = with_one_below();
        let flags = ["--manage-cgroups-mode", mode];
        case.dump(&flags).success();
        case.is_gone();
        case.restore(&flags).success();
        assert_eq!(below(&case), place, "{mode}");
        let pid = case.pid();
        assert!(folder(pid).ends_with(format!("{}/c", case.place.cgroup().trim_start_matches('/'))));
        assert_eq!(case.limit(pid, "pids.max"), "55", "{mode}");
        assert_eq!(
            case.exec("cat /proc/self/cgroup").success().line(),
            "0::/",
            "{mode}"
        );
        case.counted(0);
        case.delete();
        case.is_gone();
    }
    // Written down without them, and asked for them.
    let case = with_one_below();
    case.dump(&["--manage-cgroups-mode", "ignore"]).success();
    case.restore(&[]).success();
    assert_eq!(below(&case), "");
    case.delete();
    // The container's own cgroup is there already, whoever wants it new.
    let case = with_one_below();
    case.dump(&[]).success();
    case.restore(&["--manage-cgroups-mode", "strict"])
        .failure("Abort restore of existing cgroups");
    case.is_gone();
    case.restore(&["--manage-cgroups-mode", "other"])
        .failure("Invalid manage-cgroups-mode value");
}

#[test]
fn a_container_that_sees_the_hosts_cgroups() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    case.bundle.change(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        all.retain(|one| one["type"] != "cgroup");
    });
    let options = || {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        mounts
            .lines()
            .find(|line| line.contains(" cgroup2 "))
            .map(str::to_owned)
    };
    let before = options();
    for mode in ["soft", "ignore"] {
        case.start();
        let count = case.counted(0);
        case.dump(&["--manage-cgroups-mode", mode]).success();
        case.restore(&["--manage-cgroups-mode", mode]).success();
        case.counted(count);
        let shown = case.exec("cat /proc/self/cgroup").success();
        assert!(shown.line().ends_with("/c"), "{shown:?}");
        case.delete();
    }
    assert_eq!(options(), before);
}

#[test]
fn a_unit_of_systemd() {
    if unusable() || !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    let case = Case::new(COUNTS).by_systemd();
    case.bundle
        .change(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 66 }));
    case.start();
    let before = case.counted(0);
    let unit = format!("gt-{}.scope", case.place.name("scope"));
    let property = |name: &str| {
        let said = run(Command::new("systemctl").args(["show", "--value", "--property", name, &unit]));
        said.success().line().to_owned()
    };
    case.dump(&[]).success();
    assert_eq!(property("ActiveState"), "inactive");
    case.restore(&[]).success();
    assert!(folder(case.pid()).ends_with(&unit));
    assert_eq!(property("ActiveState"), "active");
    assert_eq!(property("TasksMax"), "66");
    case.counted(before);
    case.delete();
    assert_eq!(property("ActiveState"), "inactive");
}

/// A network namespace of a test's own.
struct Network(String);

impl Network {
    fn new(case: &Case) -> Self {
        let name = case.place.name("net");
        run(Command::new("ip").args(["netns", "add", &name])).success();
        Self(name)
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn a_network_of_somebody_elses() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    let network = Network::new(&case);
    case.bundle.change(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        let net = all
            .iter_mut()
            .find(|one| one["type"] == "network")
            .expect("the network");
        net["path"] = json!(network.path());
    });
    case.start();
    let before = case.counted(0);
    case.dump(&[]).success();
    case.restore(&[]).success();
    case.counted(before);
    let its = fs::metadata(format!("/proc/{}/ns/net", case.pid())).expect("its network");
    assert_eq!(
        its.ino(),
        fs::metadata(network.path()).expect("the network").ino()
    );
    case.dump(&[]).success();
    drop(network);
    case.restore(&[])
        .failure("Requested network namespace /run/netns/");
    case.is_gone();
}

#[test]
fn hooks_find_it() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    let told = case.place.join("told");
    let hook = |name: &str| {
        let script = format!("echo {name} $(jq -r '.id, .status, .pid') >> {}", told.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    case.bundle.change(|config| {
        config["hooks"] = json!({
            "prestart": hook("prestart"),
            "createRuntime": hook("createRuntime"),
            "poststop": hook("poststop"),
        });
    });
    case.start();
    case.counted(0);
    case.dump(&[]).success();
    let lines = || fs::read_to_string(&told).unwrap_or_default();
    assert!(lines().contains("poststop"), "{}", lines());
    fs::remove_file(&told).expect("what was told");
    case.restore(&[]).success();
    let (id, pid) = (case.id(), case.pid());
    let expected = format!("prestart {id} creating {pid}\ncreateRuntime {id} creating {pid}\n");
    assert_eq!(lines(), expected);
    case.counted(0);
    case.dump(&[]).success();
    // One that fails keeps it from being.
    case.bundle.change(|config| {
        config["hooks"] = json!({ "prestart": [{ "path": "/bin/false" }] });
    });
    case.restore(&[]).failure("error running prestart hook #0");
    wait_until("the end of what was begun", || {
        gantry_testkit::kernel::cgroups(case.place.cgroup()).len() <= 1
    });
    case.is_gone();
}
