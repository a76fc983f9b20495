//! Ways out of a container that were found in runtimes of the field, and must not be ways out of this one.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use gantry_testkit::cmd::run;
use serde_json::json;

use crate::container::{Container, RUNTIME};

const O_PATH: i32 = 0o10_000_000;

/// CVE-2019-5736: what `/proc/PID/exe` of a process in the container leads to could be overwritten.
#[test]
fn the_runtimes_own_file_cannot_be_written() {
    let container = Container::new("true");
    let pid = container.create();
    let exe = format!("/proc/{pid}/exe");
    let opened = gantry_sys::path::open(Path::new(&exe), O_PATH).expect("the process's program");
    let inode = |path: &str| fs::metadata(path).expect("the program").ino();
    assert_eq!(inode(&exe), inode(RUNTIME));
    assert!(
        gantry_sys::path::is_read_only(opened.as_fd()).expect("its mount"),
        "the program can be written through {exe}"
    );
    container.delete();
    container.is_gone();
}

/// The same without executing the program a second time, which would cost every start.
#[test]
fn the_program_is_executed_once() {
    let container = Container::new("true");
    let trace = container.place.join("trace");
    let dir = container.bundle.dir().display().to_string();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=execve,execveat", "-o"])
        .arg(&trace)
        .args([RUNTIME, "--root"]);
    command
        .arg(container.place.join("state"))
        .args(["run", "--bundle", &dir, &container.id()]);
    run(&mut command).success();
    let text = fs::read_to_string(trace).expect("the trace");
    let executed = text.lines().filter(|line| line.contains("execve")).count();
    assert_eq!(executed, 2, "the runtime and the container's program: {text}");
}

/// CVE-2024-21626: a working directory that is a descriptor of a folder of the host.
#[test]
fn no_descriptor_of_the_host_is_a_working_directory() {
    let outside = "outside of container mount namespace root";
    let container = Container::new("sleep 100");
    let dir = container.bundle.dir().display().to_string();
    let id = container.id();
    container
        .bundle
        .change(|config| config["process"]["cwd"] = json!("/proc/self/fd/3"));
    let run = ["run", "--preserve-fds", "1", "--bundle", &dir, &id];
    // Refused even before it is entered: it would be made if it were missing.
    container
        .call("exec 3</;", &run)
        .failure("the working directory /proc/self/fd/3");
    container.is_gone();
    // Those that the runtime itself has open while it works.
    container.bundle.args(&[
        "sh",
        "-c",
        "test -d /root && test ! -e home && ls -d /bin/busybox",
    ]);
    for number in 3..24 {
        container
            .bundle
            .change(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}")));
        let said = container.run();
        assert!(
            said.code != 0 || said.line() == "/bin/busybox",
            "{number}: {said:?}"
        );
    }
    container
        .bundle
        .args(&["sleep", "100"])
        .change(|config| config["process"]["cwd"] = json!("/"));
    container.create();
    container.call("", &["start", &id]).success();
    let exec = [
        "exec",
        "--preserve-fds",
        "1",
        "--cwd",
        "/proc/self/fd/3",
        &id,
        "pwd",
    ];
    container.call("exec 3</;", &exec).failure(outside);
    container.delete();
    container.is_gone();
}

/// Descriptors that the caller has open reach no process of the container.
#[test]
fn no_descriptor_of_the_host_is_inherited() {
    let container = Container::new("ls /proc/self/fd");
    let dir = container.bundle.dir().display().to_string();
    let run = ["run", "--bundle", &dir, &container.id()];
    let said = container.call("exec 7</ 9</etc/passwd;", &run).success();
    // The fourth is that of the folder which is listed.
    assert_eq!(
        said.stdout.split_ascii_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

/// CVE-2025-31133: `/dev/null` of the image is bound over what is to be masked, so it had better be one.
#[test]
fn a_link_is_not_taken_for_the_null_device() {
    let gadget = "/proc/sys/kernel/core_pattern";
    let container = Container::new("cat /proc/keys");
    container.with_the_images_dev();
    symlink(gadget, container.bundle.rootfs().join("dev/null")).expect("a link");
    container.run().failure("/dev/null");
    container.is_gone();
    // Bound in as a whole, where no device is made and thereby looked at.
    let dev = container.place.join("dev");
    fs::create_dir(&dev).expect("a folder");
    container.mount(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["bind"] }));
    symlink(gadget, dev.join("null")).expect("a link");
    container.run().failure("/dev/null is not the null device");
    container.is_gone();
    fs::remove_file(dev.join("null")).expect("the link");
    fs::write(dev.join("null"), "").expect("a file");
    container.run().failure("/dev/null is not the null device");
    container.is_gone();
}

/// CVE-2025-52565: the terminal is bound on `/dev/console`, which had better not be another place.
#[test]
fn the_console_is_not_led_into_proc() {
    let container = Container::new("true");
    container.with_the_images_dev();
    container.mount(
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }),
    );
    container
        .bundle
        .change(|config| config["process"]["terminal"] = json!(true));
    symlink(
        "/proc/self/attr/exec",
        container.bundle.rootfs().join("dev/console"),
    )
    .expect("a link");
    container.run().failure("/dev/console");
    container.is_gone();
}

/// CVE-2025-52881, CVE-2019-19921: a link in the image leads a mount over files that the runtime writes to.
#[test]
fn no_mount_is_led_into_proc() {
    let container = Container::new("true");
    let rootfs = container.bundle.rootfs();
    let plain = container.bundle.config();
    let source = container.place.join("file");
    fs::write(&source, "nothing").expect("a file");
    symlink("/proc/sys/kernel", rootfs.join("folder")).expect("a link");
    symlink("../proc/self/attr/exec", rootfs.join("file")).expect("a link");
    for one in [
        json!({ "destination": "/folder", "type": "tmpfs", "source": "tmpfs" }),
        json!({ "destination": "/folder", "type": "cgroup", "source": "cgroup" }),
        json!({ "destination": "/folder/random", "type": "tmpfs", "source": "tmpfs" }),
        json!({ "destination": "/file", "type": "bind", "source": source, "options": ["bind"] }),
        json!({ "destination": "/proc/sys/../sys", "type": "tmpfs", "source": "tmpfs" }),
    ] {
        container.bundle.change(|config| *config = plain.clone());
        container.mount(one);
        container.run().failure("inside /proc");
        container.is_gone();
    }
    // A folder of the host's /proc elsewhere is not that of the container.
    container.bundle.change(|config| *config = plain.clone());
    container.mount(
        json!({ "destination": "/proc/meminfo", "type": "bind", "source": source, "options": ["bind"] }),
    );
    container.bundle.args(&["cat", "/proc/meminfo"]);
    assert_eq!(container.run().success().line(), "nothing");
}

/// A parameter of the kernel is written where it is, not to what was put in its place.
#[test]
fn parameters_are_written_to_proc_alone() {
    let container = Container::new("cat /proc/sys/net/ipv4/ip_forward");
    container
        .bundle
        .change(|config| config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" }));
    assert_eq!(container.run().success().line(), "1");
    container.bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/proc");
    });
    let fake = container.bundle.rootfs().join("proc/sys/net/ipv4");
    fs::create_dir_all(&fake).expect("a folder");
    fs::write(fake.join("ip_forward"), "0").expect("a file");
    container.run().failure("proc");
    assert_eq!(
        fs::read_to_string(fake.join("ip_forward")).expect("the file"),
        "0"
    );
    container.is_gone();
}

/// The name of a parameter of the container's own does not lead to one of the host's.
#[test]
fn no_parameter_leads_to_another_one() {
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the pattern");
    let before = pattern();
    let container = Container::new("true");
    for name in [
        "net/../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "fs.mqueue.//.//.kernel.core_pattern",
        "fs/mqueue/../../kernel/core_pattern",
    ] {
        container
            .bundle
            // What is there already: should it be written, nothing is lost.
            .change(|config| config["linux"]["sysctl"] = json!({ name: before.trim_end() }));
        container.run().failure("is not in a separate kernel namespace");
        container.is_gone();
    }
    assert_eq!(pattern(), before);
}

/// A hook that says more than a pipe holds ends nevertheless, and what it said explains its failure.
#[test]
fn hooks_may_be_talkative() {
    let container = Container::new("true");
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 20 }]);
    container.bundle.change(|config| {
        config["hooks"] = json!({ "createRuntime": hook("/bin/busybox head -c 1000000 /dev/zero") });
    });
    container.run().success();
    container
        .bundle
        .change(|config| config["hooks"] = json!({ "prestart": hook("echo here; echo there >&2; exit 3") }));
    container
        .run()
        .failure("error running prestart hook #0: exit status 3, stdout: here, stderr: there");
    container.is_gone();
}

/// The same for a device, which in a user namespace is the host's, bound.
#[test]
fn no_device_is_led_into_proc() {
    let container = Container::new("true");
    container.with_the_images_dev();
    container.bundle.change(|config| {
        let all = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        config["linux"]["uidMappings"] = all.clone();
        config["linux"]["gidMappings"] = all;
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({ "type": "user" }));
    });
    let link = container.bundle.rootfs().join("dev/zero");
    symlink("/proc/self/attr/exec", link).expect("a link");
    container
        .run()
        .failure("cannot be bound because it is inside /proc");
    container.is_gone();
}

/// A hook that does not read a state that is longer than a pipe takes is waited for no longer than it says.
#[test]
fn hooks_need_not_listen() {
    let container = Container::new("true");
    container.bundle.change(|config| {
        config["annotations"] = json!({ "long": "x".repeat(200_000) });
        let hook = json!({ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 });
        config["hooks"] = json!({ "createRuntime": [hook] });
    });
    let begun = std::time::Instant::now();
    container.run().failure("did not end within 1 s");
    assert!(begun.elapsed().as_secs() < 20);
    // Who listens hears all of it.
    let said = container.place.join("said");
    let script = format!("cat >{}", said.display());
    container.bundle.change(|config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    container.run().success();
    assert!(fs::metadata(said).expect("what it heard").len() > 200_000);
    container.is_gone();
}

/// Without systemd there is nobody to ask for a scope.
#[test]
fn a_machine_without_systemd_says_so() {
    if std::path::Path::new("/run/systemd/system").is_dir() {
        return;
    }
    let container = Container::new("true");
    container
        .bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!("-.slice:gantry:x"));
    let dir = container.bundle.dir().display().to_string();
    container
        .call(
            "",
            &["--systemd-cgroup", "run", "--bundle", &dir, &container.id()],
        )
        .failure("systemd not running on this host, cannot use systemd cgroups manager");
    container.is_gone();
}
