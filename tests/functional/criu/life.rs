//! A container's life goes on: what it was doing, what it had, and what callers may do with it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use gantry_testkit::cmd::{run, wait_until};
use serde_json::json;

use crate::case::{COUNTS, Case, folder, unusable};

#[test]
fn it_goes_on_where_it_was() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    let shared = case.place.join("shared");
    fs::create_dir(&shared).expect("a folder");
    fs::write(shared.join("file"), "shared").expect("a file");
    std::os::unix::fs::symlink("/real/data", case.bundle.rootfs().join("data")).expect("a link");
    case.mount(json!({
        "type": "bind", "source": shared, "destination": "/data", "options": ["bind"],
    }));
    case.bundle.change(|config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 77 });
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["hostname"] = json!("restored");
        config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"]);
    });
    let host = host_mounts();
    case.start();
    case.exec("echo kept > /tmp/kept").success();
    let before = case.counted(0);
    case.dump(&[]).success();
    case.is_gone();
    let descriptors = fs::metadata(case.images().join("descriptors.json")).expect("the descriptors");
    assert_eq!(descriptors.mode() & 0o77, 0);
    assert!(case.work().join("dump.log").exists());

    case.restore(&[]).success();
    let pid = case.pid();
    assert_eq!(case.status(), "running");
    case.counted(before);
    assert_eq!(case.call(&["list", "--quiet"]).success().line(), case.id());
    assert_eq!(
        case.exec("cat /tmp/kept /data/file; hostname").success().line(),
        "kept\nsharedrestored"
    );
    // Its namespaces: the processes, the cgroup, the network with its own interface.
    assert_eq!(case.exec("cat /proc/self/cgroup").success().line(), "0::/");
    assert_eq!(case.exec("cat /sys/class/net/lo/flags").success().line(), "0x9");
    // What was masked is.
    assert_eq!(
        case.exec("head -c 1 /proc/kcore | wc -c; ls /sys/firmware | wc -l")
            .success()
            .line(),
        "0\n0"
    );
    for (file, value) in [("pids.max", "77"), ("memory.max", "67108864")] {
        assert_eq!(case.limit(pid, file), value, "{file}");
    }
    assert!(folder(pid).ends_with(format!("{}/c", case.place.cgroup().trim_start_matches('/'))));
    case.call(&["update", "--pids-limit", "88", case.id()]).success();
    assert_eq!(case.limit(pid, "pids.max"), "88");
    case.call(&["pause", case.id()]).success();
    assert_eq!(case.status(), "paused");
    case.call(&["resume", case.id()]).success();
    let before = case.counted(0);
    // Once more, and from where it is paused.
    case.call(&["pause", case.id()]).success();
    case.dump(&[]).success();
    case.restore(&[]).success();
    wait_until("a container that can be executed in", || {
        case.status() == "running"
    });
    case.counted(before);
    case.call(&["kill", case.id(), "KILL"]).success();
    wait_until("its end", || case.status() == "stopped");
    case.call(&["delete", case.id()]).success();
    case.is_gone();
    assert_eq!(host_mounts(), host);
}

/// The host's mounts with their options. Whatever else is going on mounts nothing of this kind.
fn host_mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let kinds = ["cgroup2", "sysfs", "proc", "ext4", "devpts"];
    let wanted = |line: &&str| kinds.iter().any(|kind| line.contains(&format!(" - {kind} ")));
    text.lines().filter(wanted).map(str::to_owned).collect()
}

#[test]
fn it_is_left_running() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    let pid = case.start();
    case.counted(0);
    case.dump(&["--leave-running"]).success();
    assert_eq!(case.status(), "running");
    let later = case.counted(case.counted(0));
    case.dump(&["--leave-running"]).success();
    assert_eq!(case.pid(), pid);
    case.counted(later);
    assert!(
        !case
            .place
            .join("state")
            .join(case.id())
            .join("criu-yard")
            .exists()
    );
    case.delete();
    case.restore(&[]).success();
    case.counted(later);
    case.delete();
    case.is_gone();
}

#[test]
fn its_memory_was_written_down_before() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    case.start();
    case.counted(0);
    let said = case.dump(&["--parent-path", "/parent"]);
    said.failure("--parent-path must be relative");
    case.dump(&["--parent-path", "../parent"])
        .failure("invalid --parent-path");
    let parent = case.place.join("parent").display().to_string();
    case.call(&["checkpoint", "--pre-dump", "--image-path", &parent, case.id()])
        .success();
    assert_eq!(case.status(), "running");
    let before = case.counted(0);
    case.dump(&["--parent-path", "../parent"]).success();
    assert!(case.images().join("parent").is_symlink());
    case.restore(&[]).success();
    case.counted(before);
    case.delete();
}

#[test]
fn another_id_and_another_cgroup() {
    if unusable() {
        return;
    }
    let case = Case::new(COUNTS);
    case.start();
    let before = case.counted(0);
    case.dump(&["--leave-running"]).success();
    let cgroup = format!("{}/d", case.place.cgroup());
    case.bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!(cgroup));
    let other = case.place.name("d");
    case.restore_as(&other, &[]).success();
    assert!(folder(case.pid()).ends_with(cgroup.trim_start_matches('/')));
    let said = case
        .call(&["exec", &other, "cat", "/tmp/count", "/proc/self/cgroup"])
        .success();
    let (count, group) = said.line().split_once('\n').expect("two lines");
    assert!(count.parse::<u64>().expect("a number") >= before);
    assert_eq!(group, "0::/");
    // Once more under an id that is taken.
    case.restore_as(&other, &[]).failure("already exists");
    case.call(&["delete", "--force", &other]).success();
    assert_eq!(case.status(), "running");
    case.delete();
}

#[test]
fn what_it_opened_goes_on() {
    if unusable() {
        return;
    }
    let case = Case::new(
        "sleep 1000 | nc -l -p 77 > /tmp/heard & \n\
         counts() { i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done; } \n\
         while :; do counts | nc 127.0.0.1 77; sleep 0.1; done & \n\
         flock /tmp/lock sleep 1000",
    );
    case.install("flock");
    case.start();
    let heard = || {
        let said = case.exec("tail -n 1 /tmp/heard").success();
        said.line().parse::<u64>().unwrap_or(0)
    };
    wait_until("a connection", || heard() > 2);
    wait_until("a lock", || case.exec("flock -n /tmp/lock true").code == 1);
    // Neither is taken along unless it is asked for; the container goes on.
    case.dump(&[]).failure("criu failed: type DUMP");
    case.dump(&["--file-locks"]).failure("dump.log");
    case.dump(&["--tcp-established"])
        .failure("criu failed: type DUMP");
    assert_eq!(case.status(), "running");
    let before = heard();
    case.dump(&[
        "--tcp-established",
        "--file-locks",
        "--tcp-skip-in-flight",
        "--link-remap",
    ])
    .success();
    case.restore(&["--tcp-established", "--file-locks", "--empty-ns", "network"])
        .success();
    wait_until("more over the connection", || heard() > before + 2);
    assert_eq!(case.exec("flock -n /tmp/lock true").code, 1);
    case.delete();
    case.restore(&["--empty-ns", "pid"])
        .failure("namespace \"pid\" is not supported");
}

#[test]
fn a_socket_of_the_host() {
    if unusable() {
        return;
    }
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixDatagram;
    let case = Case::new("while :; do echo here >&3; sleep 0.05; done");
    // Sockets are looked for in its network.
    case.bundle.change(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        all.retain(|one| one["type"] != "network");
    });
    let sockets = case.place.join("sockets");
    fs::create_dir(&sockets).expect("a folder");
    case.mount(json!({
        "type": "bind", "source": sockets, "destination": sockets, "options": ["bind"],
    }));
    let server = UnixDatagram::bind(sockets.join("server")).expect("a socket");
    server
        .set_read_timeout(Some(gantry_testkit::cmd::PATIENCE))
        .expect("a limit");
    let client = UnixDatagram::unbound().expect("a socket");
    client.connect(sockets.join("server")).expect("a connection");
    let hears = || assert_eq!(server.recv(&mut [0; 16]).expect("a message"), 5);
    // By the number 3, as the container knows it.
    let number = client.as_fd().as_raw_fd();
    let mut command = Command::new("bash");
    let script = format!("exec 3<&{number}; exec \"$0\" \"$@\" < /dev/null > /dev/null 2>&1");
    command.args(["-c", &script]);
    let inner = case.command(&["run", "--preserve-fds", "1", "--detach", "--bundle"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.arg(case.bundle.dir()).arg(case.id());
    nix::fcntl::fcntl(
        &client,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .expect("keep it open");
    run(&mut command).success();
    hears();
    drop(client);
    case.dump(&[]).failure("criu failed: type DUMP");
    case.dump(&["--ext-unix-sk"]).success();
    server.set_nonblocking(true).expect("to see what is there");
    while server.recv(&mut [0; 16]).is_ok() {}
    server.set_nonblocking(false).expect("to wait");
    case.restore(&["--ext-unix-sk"]).success();
    hears();
    case.delete();
}
