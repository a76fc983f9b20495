//! What is done with `ctr`, and what must come of it, whoever the shim and the runtime are.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use gantry_testkit::cmd::wait_until;
use gantry_testkit::kernel::alive;
use gantry_testkit::pty::Pty;
use gantry_tests::containerd::Containerd;
use serde_json::Value;

pub(crate) fn streams_and_codes(daemon: &Containerd) {
    let script = "echo out; echo err >&2; cat; exit 7";
    let said = daemon.run(&[], "s", &["sh", "-c", script], b"in\n").code(7);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("out\nin\n", "err\n")
    );
    let said = daemon
        .run(
            &["--env", "A=b", "--cwd", "/tmp"],
            "s",
            &["sh", "-c", "echo $A $PWD; hostname"],
            b"",
        )
        .success();
    assert!(said.stdout.starts_with("b /tmp\n"), "{said:?}");
    // Much, in both directions, and nothing of it lost.
    let many = "0123456789abcde\n".repeat(1 << 16);
    let said = daemon.run(&[], "s", &["cat"], many.as_bytes()).success();
    assert!(
        said.stdout == many,
        "{} bytes of {}",
        said.stdout.len(),
        many.len()
    );
}

pub(crate) fn a_terminal(daemon: &Containerd) {
    let mut pty = Pty::spawn(&mut daemon.run_command(&["--rm", "--tty"], "t", &["sh"]));
    pty.expect("# ");
    pty.send("tty\n");
    pty.expect("/dev/pts/0");
    // `ctr` reads the size once the task is started, and listens for new ones only after that. There is no answer to either.
    let sized = |pty: &mut Pty, size: &str| {
        pty.send(&format!(
            "until stty size | grep -q '{size}'; do sleep 0.1; done; echo is ''{size}\n"
        ));
        pty.expect(&format!("is {size}"));
    };
    sized(&mut pty, "24 80");
    std::thread::sleep(std::time::Duration::from_millis(500));
    pty.resize(40, 120);
    sized(&mut pty, "40 120");
    pty.send("sleep 1000\n");
    std::thread::sleep(std::time::Duration::from_millis(200));
    pty.send("\u{3}");
    pty.send("echo after $((1+1)); exit 3\n");
    pty.expect("after 2");
    assert_eq!(pty.wait_exit(), 3);
}

pub(crate) fn a_life(daemon: &Containerd) {
    daemon.detach(
        &[],
        "l",
        &[
            "sh",
            "-c",
            "echo up; trap 'echo told; exit 5' TERM; while :; do sleep 0.1; done",
        ],
    );
    let id = daemon.id("l");
    wait_until("the container to speak", || daemon.output("l") == "up\n");
    let (pid, status) = daemon.task("l").expect("a task");
    assert!(status == "RUNNING" && alive(pid));

    let exec =
        |args: &[&str]| daemon.ctr([&["task", "exec", "--exec-id", "e", "--fifo-dir"][..], args].concat());
    let fifos = daemon.place().join("fifo").display().to_string();
    let said = exec(&[&fifos, &id, "sh", "-c", "echo inside; echo bad >&2; exit 9"]).code(9);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("inside\n", "bad\n")
    );
    exec(&[&fifos, &id, "nope"]).failure("not found in $PATH");
    let mut command = daemon.command([
        "task",
        "exec",
        "--exec-id",
        "t",
        "--tty",
        "--fifo-dir",
        &fifos,
        &id,
        "sh",
    ]);
    let mut pty = Pty::spawn(&mut command);
    pty.send("echo on $(tty)\n");
    pty.expect("on /dev/pts/");
    pty.send("exit 4\n");
    assert_eq!(pty.wait_exit(), 4);

    let listed = daemon.ctr(["task", "ps", &id]).success();
    assert!(
        listed
            .stdout
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&pid.to_string())),
        "{listed:?}"
    );
    let metrics = daemon.ctr(["task", "metrics", "--format", "json", &id]).success();
    let metrics: Value = serde_json::from_str(&metrics.stdout).expect("metrics");
    let memory = &metrics["memory"]["usage"]["usage"];
    assert!(
        memory.as_u64().is_some_and(|bytes| bytes > 0) || metrics["memory"]["usage"].as_u64() > Some(0),
        "{metrics}"
    );
    assert!(metrics["pids"]["current"].as_u64() > Some(0), "{metrics}");

    daemon.ctr(["task", "pause", &id]).success();
    daemon.wait_status("l", "PAUSED");
    daemon.ctr(["task", "resume", &id]).success();
    daemon.wait_status("l", "RUNNING");
    daemon
        .ctr(["task", "rm", &id])
        .failure("task must be stopped before deletion");
    daemon.ctr(["task", "kill", "-s", "TERM", &id]).success();
    daemon.wait_status("l", "STOPPED");
    assert_eq!(daemon.output("l"), "up\ntold\n");
    let said = daemon.ctr(["task", "rm", &id]).success();
    assert!(said.stderr.contains("non-zero exit code 5"), "{said:?}");
    assert_eq!(daemon.task("l"), None);
    daemon.ctr(["container", "rm", &id]).success();

    daemon.detach(&[], "k", &["sleep", "1000"]);
    let (pid, _) = daemon.task("k").expect("a task");
    let id = daemon.id("k");
    daemon.ctr(["task", "rm", "--force", &id]);
    assert!(!alive(pid));
    daemon.ctr(["container", "rm", &id]).success();
}

pub(crate) fn what_cannot_be_run(daemon: &Containerd) {
    let said = daemon.run(&[], "n", &["nope"], b"");
    assert!(said.code != 0 && said.stderr.contains("nope"), "{said:?}");
    assert!(
        said.stderr.contains("executable file") && said.stderr.contains("not found in $PATH"),
        "{said:?}"
    );
    assert_eq!(daemon.task("n"), None);
    daemon.run(&[], "n", &["true"], b"").success();
}

/// `ctr events`, from the moment on that it listens.
struct Heard {
    listener: Child,
    log: PathBuf,
}

impl Heard {
    fn begin(daemon: &Containerd) -> Self {
        let log = daemon.place().join("events");
        let file = std::fs::File::create(&log).expect("a file");
        let listener = daemon
            .command(["events"])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .expect("ctr events");
        let heard = Self { listener, log };
        // It listens as soon as it hears of something: of a label, again and again.
        wait_until("the events to come", || {
            daemon.ctr(["namespace", "label", "test", "tick=1"]).success();
            !heard.text().is_empty()
        });
        heard
    }

    /// What it said until now.
    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

pub(crate) fn events_in_order(daemon: &Containerd) {
    let heard = Heard::begin(daemon);
    daemon.run(&[], "v", &["sh", "-c", "exit 3"], b"").code(3);
    wait_until("the last event", || heard.text().contains("/containers/delete"));
    let text = heard.text();
    let id = daemon.id("v");
    let topics = text.lines().filter(|line| line.contains(&id)).filter_map(|line| {
        line.split_whitespace()
            .find(|word| word.starts_with("/tasks/"))
            .map(str::to_owned)
    });
    assert_eq!(
        topics.collect::<Vec<_>>(),
        ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"],
        "{text}"
    );
    let exit = text
        .lines()
        .find(|line| line.contains("/tasks/exit"))
        .expect("an exit");
    assert!(exit.contains("\"exit_status\":3"), "{exit}");
}

pub(crate) fn the_daemon_dies(mut daemon: Containerd) {
    let script = "i=0; while :; do i=$((i+1)); echo $i; usleep 2000; done";
    daemon.detach(&[], "d", &["sh", "-c", script]);
    let before = daemon.task("d").expect("a task");
    daemon.kill_daemon();
    let said = daemon.output("d").lines().count();
    wait_until("the container to go on", || {
        daemon.output("d").lines().count() > said + 5
    });
    daemon.start_daemon();
    assert_eq!(daemon.task("d"), Some(before.clone()));
    let id = daemon.id("d");
    let fifos = daemon.place().join("fifo").display().to_string();
    let said = daemon
        .ctr([
            "task",
            "exec",
            "--exec-id",
            "e",
            "--fifo-dir",
            &fifos,
            &id,
            "echo",
            "inside",
        ])
        .success();
    assert_eq!(said.stdout, "inside\n");
    daemon.ctr(["task", "kill", "-s", "KILL", &id]).success();
    daemon.wait_status("d", "STOPPED");
    let said = daemon.ctr(["task", "rm", &id]).success();
    assert!(said.stderr.contains("non-zero exit code 137"), "{said:?}");
    daemon.ctr(["container", "rm", &id]).success();
    assert!(!alive(before.0));
    let text = daemon.output("d");
    assert!(
        text.lines()
            .enumerate()
            .all(|(at, line)| line == (at + 1).to_string()),
        "a line is missing or twice"
    );
}

pub(crate) fn memory_runs_out(daemon: &Containerd) {
    // `tail` keeps what it is to print. It alone takes memory: another that asked meanwhile, for a page of a pipe, would
    // have the kernel kill a second one. The pause is for containerd's shim, which ends without telling what it has just
    // heard.
    let script = "tail -c 90000000 /dev/zero | wc -c; sleep 1";
    let heard = Heard::begin(daemon);
    let limit = (20 << 20).to_string();
    let said = daemon
        .run(&["--memory-limit", &limit], "m", &["sh", "-c", script], b"")
        .success();
    assert_eq!(said.stdout, "0\n", "{said:?}");
    wait_until("the end", || heard.text().contains("/containers/delete"));
    assert!(heard.text().contains("/tasks/oom"), "{}", heard.text());
}
