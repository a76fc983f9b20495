//! `run -it` and `attach` on a terminal, against an engine that is not there.

mod fake;

use std::process::Command;
use std::time::Duration;

use fake::Fake;
use fake::engine::{Behaviour, ID, engine};
use gantry_testkit::pty::Pty;

fn tty() -> Fake {
    engine(Behaviour {
        tty: true,
        status: 3,
        ..Behaviour::default()
    })
}

/// Runs our program from a shell that shows the code and compares the terminal before and after.
fn start(fake: &Fake, args: &str) -> Pty {
    let program = env!("CARGO_BIN_EXE_gantry");
    let script = format!(
        "before=$(stty -g); {program} {args}; code=$?; test \"$before\" = \"$(stty -g)\" && echo same=$code || echo changed=$code"
    );
    let mut command = Command::new("sh");
    fake.surround(&mut command);
    command.arg("-c").arg(script);
    Pty::spawn(&mut command)
}

fn wait_for(what: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn pid_of(fake: &Fake) -> nix::unistd::Pid {
    // The shell's child has this engine in its environment and our program as its name.
    let host = format!("DOCKER_HOST={}", fake.host());
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let path = entry.path();
        let is_ours = std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "gantry");
        let environ = std::fs::read(path.join("environ")).unwrap_or_default();
        if is_ours && String::from_utf8_lossy(&environ).contains(&host) {
            let name = entry.file_name();
            return nix::unistd::Pid::from_raw(name.to_string_lossy().parse().expect("pid"));
        }
    }
    panic!("the program does not run");
}

#[test]
fn typing_is_raw_and_the_terminal_is_given_back() {
    let fake = tty();
    let mut pty = start(&fake, "run -it busybox");
    pty.expect("ready");
    pty.send("a\r");
    pty.expect("<a\\r>");
    pty.send("\x03");
    pty.expect("<\\u{3}>");
    pty.send("q");
    pty.expect("<q>");
    pty.expect("same=3");
    let create = fake.last("/containers/create").expect("create");
    assert!(create.body.contains("\"ConsoleSize\":[24,80]"), "{}", create.body);
}

#[test]
fn the_size_follows() {
    let fake = tty();
    let mut pty = start(&fake, "run -it busybox");
    pty.expect("ready");
    let resize = format!("/containers/{ID}/resize");
    let size = || fake.last(&resize).map(|r| r.query).unwrap_or_default();
    assert!(wait_for(|| size() == "h=24&w=80"), "{}", size());
    pty.resize(50, 132);
    assert!(wait_for(|| size() == "h=50&w=132"), "{}", size());
    pty.send("q");
    pty.expect("same=3");
}

#[test]
fn keys_detach() {
    let fake = tty();
    let mut pty = start(&fake, "run -it busybox");
    pty.expect("ready");
    pty.send("\x10");
    pty.send("\x11");
    pty.expect("same=0");
    assert!(!pty.text().contains("\\u{10}"));

    let fake = tty();
    let mut pty = start(&fake, "run -it --detach-keys ctrl-x,y busybox");
    pty.expect("ready");
    pty.send("\x10\x11\x18z");
    pty.expect("<\\u{10}\\u{11}\\u{18}z>");
    pty.send("\x18y");
    pty.expect("same=0");

    let fake = tty();
    let mut pty = start(&fake, "attach c");
    pty.expect("ready");
    pty.send("\x10\x11");
    pty.expect("read escape sequence");
    pty.expect("same=1");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let fake = tty();
    let mut pty = start(&fake, "run -it --sig-proxy=false busybox");
    pty.expect("ready");
    pty.send("x");
    pty.expect("<x>");
    nix::sys::signal::kill(pid_of(&fake), nix::sys::signal::Signal::SIGTERM).expect("kill");
    pty.expect("same=143");
}

#[test]
fn an_engine_that_dies_gives_the_terminal_back() {
    let fake = tty();
    let mut pty = start(&fake, "attach c");
    pty.expect("ready");
    pty.send("q");
    pty.expect("same=3");
}
