//! The daemon and the supervisor are killed at random moments. Whatever runs must not notice, and nothing may be lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gantry_testkit::kernel::alive;
use gantry_testkit::pty::Pty;
use gantry_tests::engine::Engine;

/// How often something is killed.
const ROUNDS: usize = 21;

/// Prints a numbered line every 5 ms for ever.
const LINES: &str = "i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done";

#[derive(Clone, Copy, Debug)]
enum Victim {
    Daemon,
    Supervisor,
    Both,
}

/// A random pause; the seed is printed with every failure, as the moments are the test.
fn pause(round: usize, longest_ms: u64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    Duration::from_micros(u64::from(now).wrapping_mul(2_654_435_761 + round as u64) % (longest_ms * 1000))
}

fn pid(engine: &Engine, name: &str) -> i32 {
    let said = engine.gantry(["inspect", "-f", "{{.State.Pid}}", name]).success();
    said.line().parse().expect("a pid")
}

/// Kills, lets `meanwhile` happen, and starts again what has to be started.
fn outage(engine: &Engine, victim: Victim, meanwhile: impl FnOnce()) {
    let before = engine.supervisor();
    match victim {
        Victim::Daemon => engine.kill_daemon(),
        Victim::Supervisor => engine.kill_supervisor(),
        Victim::Both => {
            engine.kill_daemon();
            engine.kill_supervisor();
        }
    }
    meanwhile();
    if !matches!(victim, Victim::Supervisor) {
        engine.start_daemon();
    }
    if !matches!(victim, Victim::Daemon) {
        engine.wait_until(
            || engine.supervisor().is_some_and(|pid| Some(pid) != before),
            "a new supervisor",
        );
    }
}

/// Every line once, in order, from the first on. Returns how many there are.
fn check_lines(engine: &Engine, name: &str) -> usize {
    let said = engine.gantry(["logs", name]).success();
    let mut count = 0;
    for line in said.stdout.lines() {
        count += 1;
        assert_eq!(
            line,
            format!("line {count}"),
            "a line is missing or twice\n{}",
            engine.logs()
        );
    }
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    count
}

fn check_terminal(engine: &Engine, name: &str, round: usize) {
    let mut pty = Pty::spawn(&mut engine.command(["attach", name]));
    pty.send(&format!("echo round $((1000+{round}))\n"));
    pty.expect(&format!("round {}", 1000 + round));
    // Ctrl-P Ctrl-Q leaves the container as it is.
    pty.send("\u{10}\u{11}");
    pty.wait_exit();
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[test]
fn containers_survive_the_death_of_daemon_and_supervisor() {
    let engine = Engine::start();
    engine.load_busybox();
    let sync = engine.dir().join("sync");
    fs::create_dir(&sync).expect("a folder");
    let volume = format!("{}:/sync", sync.display());
    let run = |args: &[&str]| {
        engine
            .gantry([&["run", "--network", "none"][..], args].concat())
            .success()
    };
    run(&["-d", "--name", "lines", "busybox", "sh", "-c", LINES]);
    run(&["-dit", "--name", "terminal", "busybox", "sh"]);
    let pids = (pid(&engine, "lines"), pid(&engine, "terminal"));

    let mut seen = 0;
    for round in 0..ROUNDS {
        let victim = [Victim::Daemon, Victim::Supervisor, Victim::Both][round % 3];
        let go = sync.join(format!("go{round}"));
        let waiter = format!("exits{round}");
        let script = format!("while [ ! -e /sync/go{round} ]; do usleep 1000; done; exit 42");
        run(&[
            "-d", "--name", &waiter, "-v", &volume, "busybox", "sh", "-c", &script,
        ]);
        let exits = pid(&engine, &waiter);
        // A client that is in the middle of something when it happens: it may fail, but leaves nothing half-made.
        let mut busy = engine.command([
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            &format!("busy{round}"),
            "busybox",
            "sleep",
            "1000",
        ]);
        let busy = busy
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut busy = busy.expect("run gantry");
        std::thread::sleep(pause(round, 120));

        let begun = SystemTime::now();
        outage(&engine, victim, || {
            fs::write(&go, "").expect("tell the container to exit");
            engine.wait_until(|| !alive(exits), "the container to exit");
            std::thread::sleep(pause(round, 60));
        });
        let ended = SystemTime::now();
        let _ = busy.wait();

        assert_eq!(
            (pid(&engine, "lines"), pid(&engine, "terminal")),
            pids,
            "round {round} {victim:?}"
        );
        assert!(alive(pids.0) && alive(pids.1), "round {round} {victim:?}");
        assert_eq!(
            engine.gantry(["wait", &waiter]).success().line(),
            "42",
            "round {round} {victim:?}\n{}",
            engine.logs()
        );
        let state = engine.gantry([
            "inspect",
            "-f",
            "{{.State.ExitCode}} {{.State.Status}} {{.State.FinishedAt}}",
            &waiter,
        ]);
        let state = state.success();
        let fields: Vec<&str> = state.line().split(' ').collect();
        assert_eq!(fields[..2], ["42", "exited"], "round {round} {victim:?}");
        let finished = at(fields[2]);
        assert!(
            finished >= seconds(begun) - 0.01 && finished <= seconds(ended) + 0.01,
            "round {round} {victim:?}: finished at {finished}, killed between {} and {}",
            seconds(begun),
            seconds(ended)
        );
        let lines = check_lines(&engine, "lines");
        assert!(
            lines > seen,
            "round {round} {victim:?}: {lines} lines after {seen}"
        );
        seen = lines;
        check_terminal(&engine, "terminal", round);
        engine.gantry(["rm", &waiter]).success();
        let left = engine
            .gantry(["ps", "-aq", "--filter", &format!("name=^/busy{round}$")])
            .success();
        if !left.line().is_empty() {
            engine.gantry(["rm", "-f", left.line()]).success();
        }
    }
    engine.gantry(["stop", "-t", "1", "lines", "terminal"]).success();
    check_lines(&engine, "lines");
    engine.gantry(["rm", "lines", "terminal"]).success();
}

/// Seconds since the epoch of RFC 3339 in UTC, read by `date`.
fn at(text: &str) -> f64 {
    let output = Command::new("date")
        .args(["--date", text, "+%s.%N"])
        .output()
        .expect("date");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a time")
}

/// An attached client and a follower of the log live on when the supervisor dies: their bytes do not pass through it.
#[test]
fn attached_clients_and_followers_outlive_the_supervisor() {
    let engine = Engine::start();
    engine.load_busybox();
    engine
        .gantry([
            "run",
            "-dit",
            "--network",
            "none",
            "--name",
            "term",
            "busybox",
            "sh",
        ])
        .success();
    let mut pty = Pty::spawn(&mut engine.command(["attach", "term"]));
    pty.send("echo one $((1+1))\n");
    pty.expect("one 2");
    engine.kill_supervisor();
    pty.send("echo two $((2+2))\n");
    pty.expect("two 4");
    engine.wait_until(|| engine.supervisor().is_some(), "a new supervisor");
    pty.send("exit 7\n");
    assert_eq!(pty.wait_exit(), 7);
    assert_eq!(engine.gantry(["wait", "term"]).success().line(), "7");
}

/// `--rm` is a promise of the engine, not of the client: kept after an outage too.
#[test]
fn a_container_with_rm_that_exits_during_an_outage_is_removed() {
    let engine = Engine::start();
    engine.load_busybox();
    let sync = engine.dir().join("sync");
    fs::create_dir(&sync).expect("a folder");
    let volume = format!("{}:/sync", sync.display());
    let script = "while [ ! -e /sync/go ]; do usleep 1000; done";
    engine
        .gantry([
            "run",
            "-d",
            "--rm",
            "--name",
            "gone",
            "--network",
            "none",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .success();
    let init = pid(&engine, "gone");
    outage(&engine, Victim::Both, || {
        fs::write(Path::new(&sync).join("go"), "").expect("tell the container to exit");
        engine.wait_until(|| !alive(init), "the container to exit");
    });
    engine.wait_until(
        || engine.gantry(["ps", "-aq"]).success().line().is_empty(),
        "the container to be removed",
    );
}
