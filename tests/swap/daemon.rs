//! What is done with `gantryd` when the supervisor below it is Debian's containerd, which knows neither our shim nor where its
//! streams are, and collects garbage.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use gantry_testkit::cmd::{Said, run, run_with_input, wait_until};
use gantry_testkit::image::{Compression, Image, Layer, write_layout};
use gantry_testkit::kernel::alive;
use gantry_testkit::pty::Pty;
use gantry_testkit::registry::Registry;
use gantry_tests::containerd::{Containerd, IMAGE};
use gantry_tests::engine::Engine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::docker::resized;

/// Both. The daemon is dropped first: its containers are removed by it.
pub(crate) struct Gantryd {
    engine: Engine,
    containerd: Containerd,
}

impl Gantryd {
    pub(crate) fn on(containerd: Containerd) -> Self {
        let flag = format!("--containerd={}", containerd.socket().display());
        let engine = Engine::with_flags(&[&flag]);
        engine.load_busybox();
        Self { engine, containerd }
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> Said {
        self.engine.docker(args)
    }

    fn run_command(&self, flags: &[&str], args: &[&str]) -> Command {
        let run = ["run", "--network", "none"];
        self.engine
            .docker_command([&run[..], flags, &["busybox"], args].concat())
    }

    #[track_caller]
    fn detach(&self, flags: &[&str], name: &str, script: &str) {
        let flags = [&["--detach", "--name", name], flags].concat();
        run(&mut self.run_command(&flags, &["sh", "-c", script])).success();
    }

    #[track_caller]
    fn inspect(&self, name: &str, format: &str) -> String {
        let said = self.docker(&["inspect", "--format", format, name]).success();
        said.line().to_owned()
    }

    fn pid(&self, name: &str) -> i32 {
        self.inspect(name, "{{.State.Pid}}")
            .parse()
            .expect("a process id")
    }

    #[track_caller]
    fn wait_logs(&self, name: &str, wanted: &str) {
        wait_until(&format!("{name} to say {wanted:?}"), || {
            self.docker(&["logs", name]).success().stdout == wanted
        });
    }

    /// Has containerd collect its garbage, which it does after each deletion.
    fn collect(&self) {
        self.containerd
            .ctr(["image", "tag", "--force", IMAGE, "collect:1"])
            .success();
        self.containerd
            .ctr(["image", "rm", "--sync", "collect:1"])
            .success();
    }
}

/// Says that it is up, and tells of SIGTERM before it ends with 5.
const TOLD: &str = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done";

pub(crate) fn streams(gantryd: &Gantryd) {
    let script = ["sh", "-c", "echo out; echo err >&2; cat; exit 7"];
    let said = run_with_input(&mut gantryd.run_command(&["--rm", "-i"], &script), b"in\n").code(7);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("out\nin\n", "err\n")
    );
    let mut pty = Pty::spawn(&mut gantryd.run_command(&["--rm", "-it"], &["sh"]));
    pty.expect("# ");
    pty.send("tty\n");
    pty.expect("/dev/pts/0");
    resized(&mut pty);
    pty.send("exit 3\n");
    assert_eq!(pty.wait_exit(), 3);

    gantryd.detach(
        &["-i"],
        "main",
        "while read line; do echo got $line; test $line != end || exit 4; done",
    );
    let exec = ["exec", "-i", "main", "sh", "-c", "cat; echo bad >&2; exit 9"];
    let said = run_with_input(&mut gantryd.engine.docker_command(exec), b"given\n").code(9);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("given\n", "bad\n"));
    let mut pty = Pty::spawn(&mut gantryd.engine.docker_command(["exec", "-it", "main", "sh"]));
    pty.send("echo on $(tty)\n");
    pty.expect("on /dev/pts/");
    pty.send("exit 4\n");
    assert_eq!(pty.wait_exit(), 4);
    gantryd.docker(&["exec", "main", "nope"]).code(127);
    // Attached while it runs, to its end: the end of the client's input is that of its attachment, as with Docker.
    let attach = gantryd.engine.docker_command(["attach", "main"]);
    let mut late = Command::new("sh");
    late.args(["-c", r#"(printf 'one\ntwo\nend\n'; sleep 2) | "$@""#, "sh"]);
    late.arg(attach.get_program()).args(attach.get_args());
    let said = run(&mut late).code(4);
    assert_eq!(said.stdout, "got one\ngot two\ngot end\n");
    gantryd.wait_logs("main", &said.stdout);
    gantryd.docker(&["rm", "-f", "main"]).success();
}

pub(crate) fn a_life(gantryd: &Gantryd) {
    gantryd.detach(&["--memory", "64m"], "main", TOLD);
    gantryd.wait_logs("main", "up\n");
    let pid = gantryd.pid("main");
    let top = gantryd.docker(&["top", "main"]).success();
    assert!(top.stdout.contains(&pid.to_string()), "{top:?}");
    let stats = gantryd.docker(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.MemUsage}} {{.PIDs}}",
        "main",
    ]);
    let stats = stats.success();
    assert!(
        stats.line().contains("iB / 64MiB") && !stats.line().starts_with("0B"),
        "{stats:?}"
    );
    gantryd.docker(&["pause", "main"]).success();
    assert_eq!(gantryd.inspect("main", "{{.State.Status}}"), "paused");
    gantryd.docker(&["unpause", "main"]).success();
    gantryd
        .docker(&["update", "--pids-limit", "33", "main"])
        .success();
    gantryd.docker(&["stop", "-t", "30", "main"]).success();
    assert_eq!(
        gantryd.inspect("main", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 5"
    );
    gantryd.wait_logs("main", "up\ntold\n");
    gantryd.docker(&["restart", "main"]).success();
    gantryd.wait_logs("main", "up\ntold\nup\n");
    gantryd.docker(&["kill", "main"]).success();
    assert_eq!(gantryd.docker(&["wait", "main"]).success().line(), "137");
    gantryd.docker(&["rm", "main"]).success();
    assert!(!alive(pid));
    run(&mut gantryd.run_command(&["--rm"], &["nope"])).code(127);
    // Each is a task of containerd's, in its own namespace for it.
    gantryd.detach(&[], "seen", "exec sleep 1000");
    let mut ctr = gantryd.containerd.command_in("moby", ["task", "ls"]);
    let said = run(&mut ctr).success();
    assert!(said.stdout.contains(&gantryd.pid("seen").to_string()), "{said:?}");
    gantryd.docker(&["rm", "-f", "seen"]).success();
    assert!(!run(&mut ctr).success().stdout.contains("RUNNING"));
}

/// containerd takes away what nothing refers to, whenever something is deleted.
pub(crate) fn nothing_is_collected(gantryd: &Gantryd) {
    let registry = Registry::start(gantryd.engine.dir());
    let layout = gantryd.engine.dir().join("layout");
    std::fs::create_dir(&layout).expect("a folder");
    let mut image = Image::busybox();
    for number in 0..6 {
        let mut layer = Layer::new();
        layer.file(&format!("layer{number}"), 0o644, &vec![number; 300_000]);
        image = image.layer(layer, Compression::Gzip);
    }
    write_layout(&layout, "it", &[&image]);
    registry.push(&layout, "it", "many/layers:1");
    let reference = registry.reference("many/layers:1");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                gantryd.collect();
            }
        });
        let pulled = (0..3).map(|_| {
            let said = gantryd.docker(&["pull", &reference]);
            let command = [
                "run",
                "--rm",
                "--network",
                "none",
                &reference,
                "sh",
                "-c",
                "ls / | grep -c layer",
            ];
            let ran = (said.code == 0).then(|| gantryd.docker(&command));
            let removed = gantryd.docker(&["rmi", &reference]);
            (said, ran, removed)
        });
        let pulled: Vec<_> = pulled.collect();
        done.store(true, Ordering::Relaxed);
        for (said, ran, removed) in pulled {
            said.success();
            assert_eq!(ran.expect("it ran").success().line(), "6");
            removed.success();
        }
    });
    // One that was never started, over the end of the daemon.
    gantryd
        .docker(&[
            "create",
            "--name",
            "later",
            "--network",
            "none",
            "busybox",
            "echo",
            "late",
        ])
        .success();
    gantryd.collect();
    gantryd.engine.kill_daemon();
    gantryd.engine.start_daemon();
    gantryd.collect();
    let said = gantryd.docker(&["start", "-a", "later"]).success();
    assert_eq!(said.stdout, "late\n");
    // All of the image is there too, of which the lease before was the first to know.
    let mut check = gantryd.containerd.command_in("moby", ["image", "check"]);
    let said = run(&mut check).success();
    assert!(said.stdout.contains("complete (2/2)"), "{said:?}");
    let mut leases = gantryd.containerd.command_in("moby", ["leases", "ls", "-q"]);
    assert_eq!(
        run(&mut leases).success().stdout.lines().count(),
        1,
        "one of this daemon's"
    );
}

pub(crate) fn each_of_both_dies(mut gantryd: Gantryd) {
    let script = "i=0; trap 'echo told; exit 5' TERM; while :; do i=$((i+1)); echo $i; usleep 20000; done";
    gantryd.detach(&[], "main", script);
    gantryd.detach(&[], "ended", "exec sleep 1000");
    let pids = ["main", "ended"].map(|name| gantryd.pid(name));
    let lines = |gantryd: &Gantryd| gantryd.docker(&["logs", "main"]).success().stdout.lines().count();
    gantryd.containerd.kill_daemon();
    // Our shim writes the log, whoever is gone.
    let before = lines(&gantryd);
    wait_until("the container to go on", || lines(&gantryd) > before + 3);
    // One ends while nobody is there to tell of it.
    kill(Pid::from_raw(pids[1]), Signal::SIGKILL).expect("kill it");
    wait_until("it to end", || !alive(pids[1]));
    gantryd.containerd.start_daemon();
    assert_eq!(gantryd.docker(&["wait", "ended"]).success().line(), "137");

    gantryd.docker(&["exec", "main", "true"]).success();
    gantryd.engine.kill_daemon();
    gantryd.engine.start_daemon();
    assert_eq!(gantryd.pid("main"), pids[0]);
    let mut attach = gantryd.engine.docker_command(["attach", "--no-stdin", "main"]);
    let mut attach = attach
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker attach");
    wait_until("an attached client to hear", || lines(&gantryd) > before + 20);
    gantryd.docker(&["stop", "main"]).success();
    use std::io::Read;
    let mut heard = String::new();
    let mut pipe = attach.stdout.take().expect("its output");
    pipe.read_to_string(&mut heard).expect("what it heard");
    attach.wait().expect("docker attach");
    assert!(heard.ends_with("told\n"), "{heard}");
    assert_eq!(gantryd.inspect("main", "{{.State.ExitCode}}"), "5");
    let text = gantryd.docker(&["logs", "main"]).success().stdout;
    let counted = text.lines().filter(|line| *line != "told").enumerate();
    assert!(
        counted.into_iter().all(|(at, line)| line == (at + 1).to_string()),
        "{text}"
    );
    gantryd.docker(&["rm", "-f", "main", "ended"]).success();
    assert!(!pids.into_iter().any(alive));
}
