//! Pages that are fetched when they are needed, from a container that is not gone yet.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use gantry_testkit::cmd::{code, wait_until};
use serde_json::json;

use crate::case::{COUNTS, Case, unusable};

#[test]
fn pages_come_later() {
    if unusable() {
        return;
    }
    let supported = Command::new("criu")
        .args(["check", "--feature", "uffd-noncoop"])
        .output();
    if !supported.is_ok_and(|output| output.status.success()) {
        return;
    }
    let case = Case::new(COUNTS);
    case.start();
    let before = case.counted(0);
    case.dump(&["--lazy-pages", "--page-server", "here", "--leave-running"])
        .failure("Use --page-server ADDRESS:PORT to specify page server");
    case.dump(&[
        "--lazy-pages",
        "--status-fd",
        "99",
        "--page-server",
        "127.0.0.1:27277",
    ])
    .failure("invalid --status-fd argument 99");

    let (mut ready, status) = std::io::pipe().expect("a pipe");
    let number = status.as_raw_fd().to_string();
    nix::fcntl::fcntl(
        &status,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .expect("keep it open");
    let mut command = case.command(&["checkpoint", "--lazy-pages", "--page-server", "127.0.0.1:27277"]);
    command
        .args(["--status-fd", &number, "--image-path"])
        .arg(case.images());
    let mut dump = command
        .arg(case.id())
        .stdin(Stdio::null())
        .spawn()
        .expect("the runtime");
    drop(status);
    let mut byte = [1];
    // What comes after is the end: nobody else holds it.
    assert_eq!(ready.read(&mut byte).expect("the status"), 1);
    assert_eq!(byte, [0]);
    assert!(case.images().join("inventory.img").exists());

    let log = fs::File::create(case.place.join("daemon.log")).expect("a file");
    let mut daemon = Command::new("criu")
        .args([
            "lazy-pages",
            "--page-server",
            "--address",
            "127.0.0.1",
            "--port",
            "27277",
            "-D",
        ])
        .arg(case.images())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the file"))
        .stderr(log)
        .spawn()
        .expect("criu");
    wait_until("the daemon", || case.images().join("lazy-pages.socket").exists());
    let cgroup = format!("{}/d", case.place.cgroup());
    case.bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!(cgroup));
    let other = case.place.name("d");
    // criu finds its daemon in the folder where it works.
    let images = case.images().display().to_string();
    case.restore_as(&other, &["--lazy-pages", "--work-path", &images])
        .success();
    assert_eq!(code(dump.wait().expect("the end of the dump")), 0);
    assert_eq!(code(daemon.wait().expect("the end of the daemon")), 0);
    let said = case.call(&["exec", &other, "cat", "/tmp/count"]).success();
    assert!(said.line().parse::<u64>().expect("a number") >= before);
    case.call(&["delete", "--force", &other]).success();
    case.is_gone();
}
