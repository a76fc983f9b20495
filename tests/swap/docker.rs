//! What is done with the `docker` CLI on Debian's dockerd, and what must come of it, whoever the shim and the runtime are.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use gantry_testkit::cmd::{Said, run, run_with_input, wait_until};
use gantry_testkit::dockerd::Dockerd;
use gantry_testkit::image::Image;
use gantry_testkit::kernel::alive;
use gantry_testkit::place::Place;
use gantry_testkit::pty::Pty;
use gantry_testkit::skip::{no_criu, not_all_capabilities, skip};
use gantry_tests::containerd::Containerd;
use gantry_tests::limits::limits;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A private dockerd with an image of busybox.
pub(crate) struct Docker {
    dockerd: Dockerd,
    supervisor: Option<Containerd>,
    // Dropped last: it looks for what is left.
    place: Place,
}

impl Docker {
    /// One whose containers are run by `runtime`, below `shim`.
    pub(crate) fn start(shim: &Path, runtime: &Path) -> Self {
        let place = Place::new();
        let programs = place.join("bin");
        std::fs::create_dir(&programs).expect("a folder");
        symlink(shim, programs.join("containerd-shim-runc-v2")).expect("a link to the shim");
        let runtime = format!("--add-runtime=tested={}", runtime.display());
        let flags = [
            &runtime,
            "--default-runtime=tested",
            "--live-restore",
            "--experimental",
        ];
        let dockerd = Dockerd::with(&place, &flags, &[programs]);
        Self::loaded(dockerd, None, place)
    }

    /// One on our supervisor, in the place of its own containerd.
    pub(crate) fn on_supervisor(shim: &Path, runtime: &Path) -> Self {
        let place = Place::new();
        let supervisor = Containerd::ours(shim, runtime);
        let flags = [
            &format!("--add-runtime=tested={}", runtime.display()),
            "--default-runtime=tested",
            "--live-restore",
            "--experimental",
            &format!("--containerd={}", supervisor.socket().display()),
        ];
        let dockerd = Dockerd::with(&place, &flags, &[]);
        Self::loaded(dockerd, Some(supervisor), place)
    }

    fn loaded(dockerd: Dockerd, supervisor: Option<Containerd>, place: Place) -> Self {
        let archive = Image::busybox().archive("busybox:latest");
        run_with_input(&mut dockerd.command(["load", "-q"]), &archive).success();
        Self {
            dockerd,
            supervisor,
            place,
        }
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> Said {
        self.dockerd.docker(args)
    }

    fn run_command(&self, flags: &[&str], args: &[&str]) -> Command {
        let network = if flags.contains(&"--network") {
            &["run"][..]
        } else {
            &["run", "--network", "none"]
        };
        self.dockerd
            .command([network, flags, &["busybox"], args].concat())
    }

    /// `docker run --rm`, of a shell.
    #[track_caller]
    fn shell(&self, flags: &[&str], script: &str) -> Said {
        run(&mut self.run_command(&[&["--rm"], flags].concat(), &["sh", "-c", script]))
    }

    /// `docker run --detach`, of a shell; its id.
    #[track_caller]
    fn detach(&self, flags: &[&str], name: &str, script: &str) -> String {
        let flags = [&["--detach", "--name", name], flags].concat();
        let said = run(&mut self.run_command(&flags, &["sh", "-c", script])).success();
        said.line().to_owned()
    }

    #[track_caller]
    fn inspect(&self, name: &str, format: &str) -> String {
        let said = self.docker(&["inspect", "--format", format, name]).success();
        said.line().to_owned()
    }

    #[track_caller]
    fn pid(&self, name: &str) -> i32 {
        let pid = self.inspect(name, "{{.State.Pid}}").parse();
        pid.expect("a process id")
    }

    #[track_caller]
    fn wait_logs(&self, name: &str, wanted: &str) {
        wait_until(&format!("{name} to say {wanted:?}"), || {
            self.docker(&["logs", name]).success().stdout == wanted
        });
    }
}

/// Whether a process that starts another every 50 ms has the same one for longer.
pub(crate) fn stands_still(pid: i32) -> bool {
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
    let before = children();
    std::thread::sleep(std::time::Duration::from_millis(300));
    before == children()
}

/// Waits until a shell has been told of another size of its terminal: the clients listen for that some time after they show
/// what it says.
pub(crate) fn resized(pty: &mut Pty) {
    pty.send("until stty size | grep -q '40 120'; do sleep 0.1; done; echo si''zed\n");
    for _ in 0..100 {
        pty.resize(39, 120);
        pty.resize(40, 120);
        std::thread::sleep(std::time::Duration::from_millis(150));
        if pty.text().contains("sized") {
            break;
        }
    }
    pty.expect("sized");
}

/// Says that it is up, and tells of SIGTERM before it ends with 5.
pub(crate) const TOLD: &str = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done";

/// Both outputs, input, `lines` of what is long, a terminal and exit codes, of a client's `run` with flags of a command.
pub(crate) fn streams(lines: usize, run: impl Fn(&[&str], &[&str]) -> Command) {
    let script = ["sh", "-c", "echo out; echo err >&2; cat; exit 7"];
    let said = run_with_input(&mut run(&["--rm", "-i"], &script), b"in\n").code(7);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("out\nin\n", "err\n")
    );
    let many = "0123456789abcde\n".repeat(lines);
    let said = run_with_input(&mut run(&["--rm", "-i"], &["cat"]), many.as_bytes());
    assert!(said.success().stdout == many, "something was lost");

    let mut pty = Pty::spawn(&mut run(&["--rm", "-it"], &["sh"]));
    pty.expect("# ");
    pty.send("tty\n");
    pty.expect("/dev/pts/0");
    resized(&mut pty);
    pty.send("exit 3\n");
    assert_eq!(pty.wait_exit(), 3);
}

pub(crate) fn commands(docker: &Docker) {
    streams(1 << 16, |flags, args| docker.run_command(flags, args));

    docker.detach(&["--env", "IN=it"], "main", TOLD);
    docker.wait_logs("main", "up\n");
    let flags = ["exec", "-i", "-e", "A=b", "-w", "/tmp", "-u", "1000:29", "main"];
    let args = [
        "sh",
        "-c",
        "echo $IN $A $PWD $(id -u):$(id -g); cat; echo bad >&2; exit 9",
    ];
    let mut exec = docker.dockerd.command([&flags[..], &args].concat());
    let said = run_with_input(&mut exec, b"given\n").code(9);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("it b /tmp 1000:29\ngiven\n", "bad\n")
    );
    let mut pty = Pty::spawn(&mut docker.dockerd.command(["exec", "-it", "main", "sh"]));
    pty.send("echo on $(tty)\n");
    pty.expect("on /dev/pts/");
    pty.send("exit 4\n");
    assert_eq!(pty.wait_exit(), 4);
    docker
        .docker(&["exec", "-d", "main", "touch", "/tmp/there"])
        .success();
    wait_until("what is detached to be done", || {
        docker.docker(&["exec", "main", "test", "-f", "/tmp/there"]).code == 0
    });
    let said = docker.docker(&["exec", "main", "nope"]).code(126);
    let words = "OCI runtime exec failed: exec failed: unable to start container process: ";
    assert!(said.stdout.starts_with(words), "{said:?}");
    let words = r#"exec: "nope": executable file not found in $PATH: unknown"#;
    assert!(said.stdout.trim_end().ends_with(words), "{said:?}");
    match not_all_capabilities() {
        Some(why) => skip("`docker run --privileged`, `docker exec --privileged`", &why),
        None => {
            let all = docker
                .shell(&["--privileged"], "grep CapBnd /proc/self/status")
                .success();
            let said = docker.docker(&[
                "exec",
                "--privileged",
                "main",
                "grep",
                "CapBnd",
                "/proc/self/status",
            ]);
            assert_eq!(said.success().stdout, all.stdout);
        }
    }

    let from = docker.place.join("from");
    std::fs::write(&from, "copied\n").expect("a file");
    docker
        .docker(&["cp", &from.to_string_lossy(), "main:/tmp/to"])
        .success();
    let said = docker.docker(&["exec", "main", "cat", "/tmp/to"]).success();
    assert_eq!(said.stdout, "copied\n");
    let back = docker.place.join("back");
    docker
        .docker(&["cp", "main:/tmp/to", &back.to_string_lossy()])
        .success();
    assert_eq!(std::fs::read_to_string(back).expect("the file"), "copied\n");
}

pub(crate) fn a_life(docker: &Docker) {
    let health = ["--health-cmd", "true", "--health-interval", "1s"];
    let id = docker.detach(&health, "main", TOLD);
    docker.wait_logs("main", "up\n");
    let pid = docker.pid("main");
    assert!(alive(pid));
    let top = docker.docker(&["top", "main"]).success();
    assert!(
        top.stdout
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(&pid.to_string())),
        "{top:?}"
    );
    let stats = docker
        .docker(&["stats", "--no-stream", "--format", "json", "main"])
        .success();
    let stats: Value = serde_json::from_str(stats.line()).expect("stats");
    let text = |field: &str| stats[field].as_str().unwrap_or_default().to_owned();
    assert!(text("PIDs").parse::<u32>().is_ok_and(|pids| pids > 0), "{stats}");
    let memory = text("MemUsage");
    assert!(!memory.starts_with("0B") && memory.contains("iB / "), "{stats}");

    docker.docker(&["pause", "main"]).success();
    assert_eq!(docker.inspect("main", "{{.State.Status}}"), "paused");
    assert!(stands_still(pid), "it goes on");
    docker
        .docker(&["exec", "main", "true"])
        .failure("is paused, unpause the container before exec");
    docker.docker(&["unpause", "main"]).success();
    assert_eq!(docker.inspect("main", "{{.State.Status}}"), "running");
    wait_until("it to be well", || {
        docker.inspect("main", "{{.State.Health.Status}}") == "healthy"
    });

    let update = [
        "update",
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "33",
        "main",
    ];
    docker.docker(&update).success();
    let expected = ((64 << 20).to_string(), "500".to_owned(), "33".to_owned());
    assert_eq!(limits(docker.place.cgroup(), &id), expected);

    docker.docker(&["stop", "-t", "30", "main"]).success();
    assert_eq!(
        docker.inspect("main", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 5"
    );
    docker.wait_logs("main", "up\ntold\n");
    assert!(!alive(pid));
    docker.docker(&["restart", "main"]).success();
    docker.wait_logs("main", "up\ntold\nup\n");
    assert_eq!(
        limits(docker.place.cgroup(), &id),
        expected,
        "kept over the restart"
    );
    docker.docker(&["restart", "-t", "30", "main"]).success();
    docker.wait_logs("main", "up\ntold\nup\ntold\nup\n");
    docker.docker(&["kill", "-s", "TERM", "main"]).success();
    assert_eq!(docker.docker(&["wait", "main"]).success().line(), "5");
    docker.docker(&["start", "main"]).success();
    docker.docker(&["kill", "main"]).success();
    assert_eq!(docker.docker(&["wait", "main"]).success().line(), "137");
    docker.docker(&["rm", "main"]).success();

    // Deaf to SIGTERM, it is killed after the time it is given.
    docker.detach(&[], "deaf", "trap '' TERM; while :; do sleep 0.05; done");
    docker.docker(&["stop", "-t", "1", "deaf"]).success();
    assert_eq!(docker.inspect("deaf", "{{.State.ExitCode}}"), "137");
    docker.docker(&["start", "deaf"]).success();
    let pid = docker.pid("deaf");
    docker.docker(&["rm", "-f", "deaf"]).success();
    assert!(!alive(pid));
    assert_eq!(docker.docker(&["ps", "-aq"]).success().stdout, "");
}

pub(crate) fn settings(docker: &Docker) {
    let id = docker.detach(
        &["--memory", "64m", "--cpus", "0.25", "--pids-limit", "21"],
        "limited",
        "exec sleep 1000",
    );
    let expected = ((64 << 20).to_string(), "250".to_owned(), "21".to_owned());
    assert_eq!(limits(docker.place.cgroup(), &id), expected);
    let shared = docker.shell(
        &["--network", "container:limited"],
        "readlink /proc/self/ns/net; hostname",
    );
    let theirs = docker
        .docker(&["exec", "limited", "readlink", "/proc/self/ns/net"])
        .success();
    let name = docker.docker(&["exec", "limited", "hostname"]).success();
    assert_eq!(shared.success().stdout, theirs.stdout.clone() + &name.stdout);
    let shared = docker.shell(
        &["--pid", "container:limited"],
        "cat /proc/1/cmdline | tr '\\0' ' '",
    );
    assert_eq!(shared.success().line(), "sleep 1000");
    let host = std::fs::read_link("/proc/self/ns/net").expect("our namespace");
    let said = docker
        .shell(&["--network", "host"], "readlink /proc/self/ns/net")
        .success();
    assert_eq!(said.line(), host.to_string_lossy());
    assert_ne!(said.stdout, theirs.stdout);

    let said = docker.shell(&["--memory", "20m"], "tail -c 90000000 /dev/zero | wc -c");
    assert_eq!(said.success().line(), "0", "it gets no more than its memory");

    let folder = docker.place.join("volume");
    std::fs::create_dir(&folder).expect("a folder");
    let (folder, read_only) = (
        format!("{}:/vol", folder.display()),
        format!("{}:/ro:ro", folder.display()),
    );
    let said = docker.shell(
        &["-v", &folder, "-v", &read_only, "--tmpfs", "/scratch:size=1m", "-v", "/anonymous", "--read-only"],
        "echo kept >/vol/file; cat /ro/file; touch /ro/no; touch /no; touch /anonymous/yes /scratch/yes; df -k /scratch | tail -n 1",
    );
    let said = said.success();
    assert_eq!(
        said.stderr.matches("Read-only file system").count(),
        2,
        "{said:?}"
    );
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        matches!(lines[..], ["kept", size] if size.contains(" 1024 ")),
        "{said:?}"
    );

    let status = "grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\n\\t'";
    let said = docker
        .shell(&["--cap-drop", "all", "--cap-add", "net_raw"], status)
        .success();
    let only = "CapEff:0000000000002000CapBnd:0000000000002000";
    assert_eq!(said.line(), format!("{only}NoNewPrivs:0Seccomp:2"));
    let flags = [
        "--cap-drop",
        "all",
        "--cap-add",
        "net_raw",
        "--security-opt",
        "seccomp=unconfined",
    ];
    let flags = [&flags[..], &["--security-opt", "no-new-privileges"]].concat();
    let said = docker.shell(&flags, status).success();
    assert_eq!(said.line(), format!("{only}NoNewPrivs:1Seccomp:0"));
    let profile = docker.place.join("seccomp.json");
    let rule = r#"{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}"#;
    let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    std::fs::write(&profile, text).expect("a profile");
    let profile = format!("seccomp={}", profile.display());
    docker
        .shell(&["--security-opt", &profile], "touch /tmp/yes && mkdir /tmp/no")
        .code(1)
        .failure("Operation not permitted");

    let flags = [
        "--user",
        "1000:29",
        "--group-add",
        "7",
        "--workdir",
        "/new",
        "--hostname",
        "box",
    ];
    let said = docker
        .shell(&flags, "id -u; id -g; id -G; pwd; hostname")
        .success();
    assert_eq!(said.stdout, "1000\n29\n29 7\n/new\nbox\n");
    let flags = [
        "--ulimit",
        "nofile=500:900",
        "--shm-size",
        "10m",
        "--oom-score-adj",
        "100",
    ];
    let flags = [
        &flags[..],
        &[
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--device",
            "/dev/null:/dev/another:rw",
        ],
    ]
    .concat();
    let script = "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; \
                  df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; echo x >/dev/another; stat -c %t:%T /dev/another";
    let said = docker.shell(&flags, script).success();
    assert_eq!(said.stdout, "500\n900\n100\n1\n10240\n1:3\n", "{said:?}");
    let said = docker.shell(&["--init"], "cat /proc/1/comm").success();
    assert_eq!(said.line(), "docker-init");
    let said = docker
        .shell(&["--cgroupns", "private"], "cat /proc/self/cgroup")
        .success();
    assert!(said.stdout.lines().all(|line| line.ends_with(":/")), "{said:?}");
    docker.docker(&["volume", "prune", "-af"]);
}

pub(crate) fn refusals(docker: &Docker) {
    let fails = |flags: &[&str], args: &[&str], code: i32, what: &str| {
        let said = run(&mut docker.run_command(&[&["--rm"], flags].concat(), args)).code(code);
        let said = said.failure(what);
        let start = "failed to create shim task: OCI runtime create failed: ";
        assert!(said.stderr.contains(start), "{said:?}");
        assert!(
            said.stderr
                .contains(" create failed: unable to start container process: "),
            "{said:?}"
        );
    };
    fails(
        &[],
        &["nope"],
        127,
        r#"exec: "nope": executable file not found in $PATH: unknown"#,
    );
    fails(
        &[],
        &["/etc/passwd"],
        126,
        r#"exec: "/etc/passwd": permission denied: unknown"#,
    );
    let no = docker.place.join("no");
    let no = format!("{}:/etc/passwd", no.display());
    fails(&["-v", &no], &["true"], 125, r#"rootfs at "/etc/passwd""#);
    fails(
        &["-v", &no],
        &["true"],
        125,
        "Are you trying to mount a directory onto a file",
    );
    assert_eq!(docker.docker(&["ps", "-aq"]).success().stdout, "");

    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    docker.detach(&[], "main", script);
    let said = |most: usize| {
        wait_until("it to go on", || {
            docker.docker(&["logs", "main"]).success().stdout.lines().count() > most
        });
    };
    said(3);
    if let Some(why) = no_criu() {
        // It is told, and nothing came of it for the container.
        docker
            .docker(&["checkpoint", "create", "main", "first"])
            .failure("Cannot checkpoint container main");
        let before = docker.docker(&["logs", "main"]).success().stdout.lines().count();
        said(before);
        docker.docker(&["exec", "main", "true"]).success();
        skip("`docker checkpoint create`, `docker start --checkpoint`", &why);
    } else {
        docker
            .docker(&["checkpoint", "create", "main", "first"])
            .success();
        assert_eq!(docker.inspect("main", "{{.State.Status}}"), "exited");
        let before = docker.docker(&["logs", "main"]).success().stdout.lines().count();
        docker
            .docker(&["start", "--checkpoint", "first", "main"])
            .success();
        said(before);
    }
    let text = docker.docker(&["logs", "main"]).success().stdout;
    let counted = text
        .lines()
        .enumerate()
        .all(|(at, line)| line == (at + 1).to_string());
    assert!(counted, "it did not go on where it was: {text}");
}

pub(crate) fn the_daemon_dies(mut docker: Docker) {
    let script = "i=0; trap 'echo told; exit 5' TERM; while :; do i=$((i+1)); echo $i; usleep 20000; done";
    docker.detach(&[], "main", script);
    let seen = docker.place.join("seen");
    std::fs::create_dir(&seen).expect("a folder");
    let volume = format!("{}:/seen", seen.display());
    let touching = "while :; do touch /seen/it; usleep 10000; done";
    docker.detach(&["-v", &volume], "other", touching);
    docker.detach(&[], "ended", "exec sleep 1000");
    let pids = ["main", "other", "ended"].map(|name| docker.pid(name));
    docker.dockerd.kill_daemon();
    let mark = seen.join("it");
    let _ = std::fs::remove_file(&mark);
    wait_until("the container to go on", || mark.exists());
    // One ends while there is no daemon.
    kill(Pid::from_raw(pids[2]), Signal::SIGKILL).expect("kill it");
    docker.dockerd.start_daemon();
    assert_eq!([docker.pid("main"), docker.pid("other")], pids[..2]);
    assert_eq!(
        docker.inspect("ended", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 137"
    );
    let said = docker.docker(&["exec", "main", "echo", "inside"]).success();
    assert_eq!(said.stdout, "inside\n");
    let lines = || docker.docker(&["logs", "main"]).success().stdout.lines().count();
    let before = lines();
    wait_until("what it says to come", || lines() > before);
    docker.docker(&["pause", "main"]).success();
    docker.docker(&["unpause", "main"]).success();
    docker.docker(&["stop", "main"]).success();
    assert_eq!(docker.inspect("main", "{{.State.ExitCode}}"), "5");
    docker.docker(&["rm", "main"]).success();
    docker.docker(&["rm", "-f", "other"]).success();
    assert!(!pids.into_iter().any(alive));
}

/// Each has its own words and its own end, whoever else comes and goes.
pub(crate) fn many_at_once(docker: &Docker) {
    docker.detach(&[], "main", "exec sleep 1000");
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let script = format!("echo {number}; exit {number}");
                let said = docker.shell(&[], &script).code(number);
                assert_eq!(said.stdout, format!("{number}\n"));
                let said = docker.docker(&["exec", "main", "sh", "-c", &script]).code(number);
                assert_eq!(said.stdout, format!("{number}\n"));
            });
        }
    });
    docker.docker(&["rm", "-f", "main"]).success();
    assert_eq!(docker.docker(&["ps", "-aq"]).success().stdout, "");
}

/// Only with ours: dockerd ends its containers with a containerd of its own.
pub(crate) fn the_supervisor_dies(mut docker: Docker) {
    let script = "i=0; trap 'echo told; exit 5' TERM; while :; do i=$((i+1)); echo $i; usleep 20000; done";
    docker.detach(&[], "main", script);
    docker.detach(&[], "ended", "exec sleep 1000");
    let script = "touch /tmp/begun; sleep 2; echo done; exit 6";
    let mut exec = docker.dockerd.command(["exec", "main", "sh", "-c", script]);
    let exec = exec
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("docker exec");
    wait_until("the exec to run", || {
        docker.docker(&["exec", "main", "test", "-f", "/tmp/begun"]).code == 0
    });
    let pids = ["main", "ended"].map(|name| docker.pid(name));
    let lines = |docker: &Docker| docker.docker(&["logs", "main"]).success().stdout.lines().count();
    let supervisor = docker.supervisor.as_mut().expect("a supervisor");
    supervisor.kill_daemon();
    // dockerd holds what the containers say.
    let before = lines(&docker);
    wait_until("the container to go on", || lines(&docker) > before + 3);
    kill(Pid::from_raw(pids[1]), Signal::SIGKILL).expect("kill it");
    wait_until("it to end", || !alive(pids[1]));
    docker.supervisor.as_mut().expect("a supervisor").start_daemon();
    // What ended meanwhile is told: the container, and the exec to who waits for it.
    assert_eq!(docker.docker(&["wait", "ended"]).success().line(), "137");
    let said = exec.wait_with_output().expect("docker exec");
    assert_eq!(
        (said.status.code(), String::from_utf8_lossy(&said.stdout).as_ref()),
        (Some(6), "done\n")
    );
    assert_eq!(docker.pid("main"), pids[0]);
    let said = docker.docker(&["exec", "main", "echo", "inside"]).success();
    assert_eq!(said.stdout, "inside\n");
    docker.docker(&["pause", "main"]).success();
    docker.docker(&["unpause", "main"]).success();
    docker.docker(&["stop", "main"]).success();
    assert_eq!(docker.inspect("main", "{{.State.ExitCode}}"), "5");
    docker.docker(&["start", "ended"]).success();
    docker.docker(&["rm", "-f", "main", "ended"]).success();
    assert!(!pids.into_iter().any(alive));
}
