//! `restore`, with a program in criu's place that does what a test needs of it: the real one does not run on every kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use gantry_testkit::cmd::{Said, install, run};

use crate::container::Container;

/// What is asked of criu is at descriptor `$2`: a message, in which texts are as they are. The answer names a process.
const FAKE: &str = r#"#!/bin/bash
line=$2
asked=$(dd bs=65536 count=1 <&$line 2>/dev/null | tr -c '[:print:]' '\n')
root=$(grep -o '/.*criu-root' <<<"$asked" | head -n 1)
answer() {
    local pid=$1 bytes= length=2
    while [ $pid -ge 128 ]; do
        bytes+=$(printf '\\x%02x' $((pid & 127 | 128)))
        pid=$((pid >> 7)) length=$((length + 1))
    done
    printf "\x08\x02\x10\x01\x22\x0$length\x08$bytes\\x$(printf %02x $pid)" >&$line
}
"#;

impl Container {
    /// A restore whose criu is a script.
    fn restore(&self, criu: &str, flags: &[&str]) -> Command {
        let bin = self.place.join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        let script = format!("{FAKE}{criu}\n");
        let path = bin.join("criu");
        let text = bin.join("criu.text");
        fs::write(&text, script).expect("a script");
        install(&text, &path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        let dir = self.bundle.dir().display().to_string();
        let images = self.place.join("images").display().to_string();
        fs::create_dir_all(&images).expect("a folder");
        fs::write(self.place.join("images/descriptors.json"), "[]").expect("the descriptors");
        let id = self.id();
        let mut words = vec!["restore", "--detach", "--bundle", &dir, "--image-path", &images];
        words.extend(flags);
        words.push(&id);
        let before = format!("PATH={}:$PATH; export PATH;", bin.display());
        let mut command = self.command(&before, &words);
        command.stdin(Stdio::null());
        command
    }

    fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.bundle.rootfs())
            .expect("the root file system")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Makes the container's process, which must not hold our pipes.
const MAKES: &str = "test -e \"$root/bin/sh\" || exit 7\n\
                     sleep 100 </dev/null >/dev/null 2>&1 &\nanswer $!";

fn no_mount_is_left(container: &Container) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let place = container.place.dir().display().to_string();
    assert!(!mounts.contains(&place), "{mounts}");
}

#[test]
fn a_failure_after_criu_keeps_the_root_file_system() {
    let container = Container::new("true");
    let said = run(&mut container.restore(MAKES, &[]));
    said.success();
    container.delete();
    let before = container.listing();
    let said: Said = run(&mut container.restore(MAKES, &["--pid-file", "/no/such/dir/pid"]));
    said.failure("/no/such/dir/pid");
    assert_eq!(container.listing(), before);
    container.is_gone();
    no_mount_is_left(&container);
}

#[test]
fn a_restore_that_was_killed_keeps_the_root_file_system() {
    let container = Container::new("true");
    // The places of mounts are made in it.
    run(&mut container.restore("exit 3", &[])).failure("criu failed: unexpected EOF");
    let before = container.listing();
    let status = container
        .restore("kill -9 $PPID; sleep 100", &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.expect("the runtime").code(), None);
    no_mount_is_left(&container);
    container.delete();
    assert_eq!(container.listing(), before);
    container.is_gone();
}

/// Nobody would ever send it.
#[test]
fn a_socket_for_no_terminal_is_refused() {
    let container = Container::new("true");
    run(&mut container.restore(MAKES, &["--console-socket", "/no/such/socket"]))
        .failure("cannot use console socket if runc will not detach or allocate tty");
    container.is_gone();
}

/// It is in the cgroup, under its limits, as if it had been made there; not where criu would put it.
#[test]
fn its_limits_hold() {
    let container = Container::new("true");
    container.bundle.change(|config| {
        config["linux"]["resources"]["pids"] = serde_json::json!({ "limit": 77 });
    });
    run(&mut container.restore(MAKES, &[])).success();
    let folders = gantry_testkit::kernel::cgroups(container.place.cgroup());
    let limits: Vec<_> = folders
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("pids.max")).ok())
        .collect();
    assert!(limits.contains(&"77\n".to_owned()), "{limits:?}");
    let inside = folders
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok());
    assert!(inside.into_iter().any(|pids| !pids.is_empty()));
    container.delete();
    container.is_gone();
}

/// criu sees the container's cgroup, and mounts where nobody else sees it.
#[test]
fn criu_is_by_itself() {
    let container = Container::new("true");
    let out = container.place.join("out").display().to_string();
    let sees = format!(
        "cat /proc/self/cgroup > {out}\nreadlink /proc/self/ns/mnt >> {out}\n\
         mount -t tmpfs tmpfs {}\n{MAKES}",
        container.place.join("images").display()
    );
    run(&mut container.restore(&sees, &[])).success();
    let said = fs::read_to_string(&out).expect("what it saw");
    assert!(said.contains(container.place.cgroup()), "{said}");
    let own = fs::read_link("/proc/self/ns/mnt").expect("our namespace");
    assert!(!said.contains(&own.display().to_string()), "{said}");
    no_mount_is_left(&container);
    container.delete();
    container.is_gone();
}
