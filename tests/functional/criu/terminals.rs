//! Terminals and standard streams of restored containers, and those whose caller stays with them.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use gantry_testkit::cmd::{code, wait_until};
use gantry_testkit::pty::Pty;
use serde_json::json;

use crate::case::{COUNTS, Case, unusable};

/// A shell on a terminal of its own.
fn shell() -> Case {
    let case = Case::new("");
    case.bundle.args(&["sh"]).change(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["env"] = json!(["PATH=/bin", "PS1=ready> "]);
    });
    case
}

/// What asks for a terminal to be sent: flag and socket.
fn socket(case: &Case) -> (String, UnixListener) {
    let path = case.place.join("console");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    (path.display().to_string(), listener)
}

#[test]
fn a_terminal_is_sent_to_its_socket() {
    if unusable() {
        return;
    }
    let case = shell();
    let (path, listener) = socket(&case);
    let bundle = case.bundle.dir().display().to_string();
    case.call(&[
        "run",
        "--detach",
        "--console-socket",
        &path,
        "--bundle",
        &bundle,
        case.id(),
    ])
    .success();
    let mut terminal = Pty::accept(&listener);
    terminal.send("a=kept; tty\n");
    terminal.expect("/dev/");
    for _ in 0..2 {
        case.dump(&[]).success();
        drop(terminal);
        let (path, listener) = socket(&case);
        case.restore(&["--console-socket", &path]).success();
        terminal = Pty::accept(&listener);
        terminal.send("echo $a-$((6 * 7))\n");
        terminal.expect("kept-42");
        // It is the console too.
        terminal.send("echo to-console > /dev/console\n");
        terminal.expect("> /dev/console");
        terminal.expect("to-console");
    }
    case.dump(&[]).success();
    // Nobody would hold it, and a container without one sends none.
    case.restore(&[])
        .failure("cannot allocate tty if runc will detach without setting console socket");
    case.restore(&["--console-socket", "/no/such/socket"])
        .failure("/no/such/socket");
    case.is_gone();
}

#[test]
fn a_terminal_of_who_stays() {
    if unusable() {
        return;
    }
    let case = shell();
    let bundle = case.bundle.dir().display().to_string();
    let mut first = Pty::spawn(&mut case.command(&["run", "--bundle", &bundle, case.id()]));
    first.expect("ready> ");
    first.send("a=kept\n");
    first.expect("ready> ");
    case.dump(&[]).success();
    first.wait_exit();
    let images = case.images().display().to_string();
    let words = ["restore", "--image-path", &images, "--bundle", &bundle, case.id()];
    let mut second = Pty::spawn(&mut case.command(&words));
    wait_until("the container", || case.call(&["state", case.id()]).code == 0);
    second.send("echo $a-$((6 * 7))\n");
    second.expect("kept-42");
    second.send("exit 9\n");
    assert_eq!(second.wait_exit(), 9);
    case.is_gone();
}

#[test]
fn a_terminal_that_is_the_callers() {
    if unusable() {
        return;
    }
    let case = Case::new("while read line; do echo got $line; done; exit 8");
    let bundle = case.bundle.dir().display().to_string();
    let mut first = Pty::spawn(&mut case.command(&["run", "--bundle", &bundle, case.id()]));
    first.send("one\n");
    first.expect("got one");
    case.dump(&[]).failure("criu failed: type DUMP");
    case.dump(&["--shell-job"]).success();
    first.wait_exit();
    let images = case.images().display().to_string();
    let words = [
        "restore",
        "--shell-job",
        "--image-path",
        &images,
        "--bundle",
        &bundle,
        case.id(),
    ];
    let mut second = Pty::spawn(&mut case.command(&words));
    second.send("two\n");
    second.expect("got two");
    second.send("\u{4}");
    assert_eq!(second.wait_exit(), 8);
    case.is_gone();
}

#[test]
fn pipes_and_the_exit_code_are_the_callers() {
    if unusable() {
        return;
    }
    let case = Case::new("while read line; do echo got $line; done; exit 7");
    let bundle = case.bundle.dir().display().to_string();
    let pipes = |command: &mut std::process::Command| {
        let piped = Stdio::piped;
        let spawned = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        spawned.expect("the runtime")
    };
    let mut first = pipes(&mut case.command(&["run", "--bundle", &bundle, case.id()]));
    let running = || case.call(&["state", case.id()]).stdout.contains("running");
    wait_until("the container", running);
    case.dump(&[]).success();
    assert_eq!(code(first.wait().expect("its end")), 137);
    let images = case.images().display().to_string();
    let words = ["restore", "--image-path", &images, "--bundle", &bundle, case.id()];
    let mut second = pipes(&mut case.command(&words));
    wait_until("the container", running);
    let input = second.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut &input, b"hello\n").expect("write");
    drop(input);
    let output = second.wait_with_output().expect("its end");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "got hello\n",
        "{output:?}"
    );
    assert_eq!(code(output.status), 7, "{output:?}");
    case.is_gone();
}

#[test]
fn signals_reach_it_and_its_end_is_heard() {
    if unusable() {
        return;
    }
    let case = Case::new(&format!("trap 'exit 6' TERM; {COUNTS}"));
    case.start();
    let before = case.counted(0);
    case.dump(&[]).success();
    let bundle = case.bundle.dir().display().to_string();
    let images = case.images().display().to_string();
    let words = ["restore", "--image-path", &images, "--bundle", &bundle, case.id()];
    let mut child = case
        .command(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the runtime");
    wait_until("the container", || case.call(&["state", case.id()]).code == 0);
    case.counted(before);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("a signal");
    assert_eq!(code(child.wait().expect("its end")), 6);
    case.is_gone();
}
