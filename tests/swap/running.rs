//! What `ctr` does with a running container beside the script of `ctr`, and who may speak to it at all.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use gantry_testkit::cmd::{Said, run, wait_until};
use gantry_testkit::pty::Pty;
use gantry_tests::containerd::Containerd;

fn exec(daemon: &Containerd, id: &str, args: &[&str]) -> Said {
    let fifos = daemon.place().join("fifo").display().to_string();
    let flags = ["task", "exec", "--exec-id", "e", "--fifo-dir", &fifos, id];
    daemon.ctr([&flags[..], args].concat())
}

/// Its streams are FIFOs, which the first `ctr` has left.
pub(crate) fn attach(daemon: &Containerd) {
    let script = "until test -f /go; do sleep 0.05; done; echo heard; exit 3";
    let args = ["sh", "-c", script];
    run(&mut daemon.run_command(&["--detach"], "a", &args)).success();
    let id = daemon.id("a");
    let mut command = daemon.command(["task", "attach", &id]);
    let attached = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let attached = attached.expect("ctr task attach");
    // There is no word of an attachment; what is said meanwhile waits in the FIFO.
    std::thread::sleep(std::time::Duration::from_millis(300));
    exec(daemon, &id, &["touch", "/go"]).success();
    let said = attached.wait_with_output().expect("what it heard");
    assert_eq!(
        (String::from_utf8_lossy(&said.stdout).as_ref(), said.status.code()),
        ("heard\n", Some(3))
    );
    // It takes its task away with it.
    assert_eq!(daemon.task("a"), None);
    daemon.ctr(["container", "rm", &id]).success();
}

pub(crate) fn attach_to_a_terminal(daemon: &Containerd) {
    // `ctr` asks for a terminal of its own even when it leaves at once.
    let mut begun = Pty::spawn(&mut daemon.run_command(&["--detach", "--tty"], "t", &["sh"]));
    assert_eq!(begun.wait_exit(), 0);
    let id = daemon.id("t");
    let mut pty = Pty::spawn(&mut daemon.command(["task", "attach", &id]));
    pty.send("echo on $(tty)\n");
    pty.expect("on /dev/pts/0");
    pty.send("exit 4\n");
    assert_eq!(pty.wait_exit(), 4);
    daemon.ctr(["container", "rm", &id]).success();
}

/// A process of an exec is told apart from those it started, and from others.
pub(crate) fn the_list_of_processes_names_execs(daemon: &Containerd) {
    daemon.detach(&[], "p", &["sleep", "1000"]);
    let id = daemon.id("p");
    let fifos = daemon.place().join("fifo").display().to_string();
    let flags = [
        "task",
        "exec",
        "--detach",
        "--exec-id",
        "named",
        "--fifo-dir",
        &fifos,
        &id,
    ];
    daemon.ctr([&flags[..], &["sleep", "999"]].concat()).success();
    let said = daemon.ctr(["task", "ps", &id]).success();
    let named: Vec<&str> = said
        .stdout
        .lines()
        .filter(|line| line.contains("named"))
        .collect();
    assert!(named.len() == 1 && said.stdout.lines().count() == 3, "{said:?}");
    daemon
        .ctr(["task", "kill", "--exec-id", "named", "-s", "KILL", &id])
        .success();
    wait_until("the exec to be gone", || {
        daemon.ctr(["task", "ps", &id]).success().stdout.lines().count() == 2
    });
    daemon.ctr(["task", "rm", "--force", &id]);
    daemon.ctr(["container", "rm", &id]).success();
}

/// A service manager may start it with a umask of 0. Whoever may write to one of its sockets or files is root.
pub(crate) fn it_is_roots_alone_under_a_umask_of_0(start: fn() -> Containerd) {
    // Of this thread and what it starts, and of no other test's.
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("a umask of its own");
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        let daemon = start();
        daemon.detach(&[], "u", &["sleep", "1000"]);
        let mut sockets = 0;
        let mut open = Vec::new();
        look(&daemon.place().join("state"), &mut sockets, &mut open);
        look(&daemon.place().join("root"), &mut 0, &mut open);
        open.extend(
            mode(&daemon.socket())
                .filter(|mode| mode & 0o077 != 0)
                .map(|_| daemon.socket()),
        );
        assert!(sockets >= 2, "the shim's two sockets are there: {sockets}");
        assert!(open.is_empty(), "open to others: {open:?}");
        let id = daemon.id("u");
        daemon.ctr(["task", "rm", "--force", &id]);
        daemon.ctr(["container", "rm", &id]).success();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn mode(path: &Path) -> impl Iterator<Item = u32> {
    let found = std::fs::symlink_metadata(path);
    found
        .ok()
        .map(|found| found.permissions().mode() & 0o777)
        .into_iter()
}

/// Sockets that others may use, and files and folders that they may write. The containers' own are theirs.
fn look(dir: &Path, sockets: &mut usize, open: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(found) = entry.path().symlink_metadata() else {
            continue;
        };
        let kind = found.file_type();
        let mode = found.permissions().mode();
        *sockets += usize::from(kind.is_socket());
        let limit = if kind.is_socket() { 0o077 } else { 0o022 };
        if !kind.is_symlink() && mode & limit != 0 {
            open.push(entry.path());
        }
        if kind.is_dir() && !matches!(entry.file_name().to_str(), Some("rootfs" | "fs" | "work")) {
            look(&entry.path(), sockets, open);
        }
    }
}
