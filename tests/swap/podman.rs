//! What is done with `podman`, and what must come of it, whoever the runtime is.

use gantry_testkit::cmd::{Said, run, run_with_input, wait_until};
use gantry_testkit::kernel::alive;
use gantry_testkit::pty::Pty;
use gantry_testkit::skip::{no_criu, skip};
use gantry_tests::limits::limits;
use gantry_tests::podman::Podman;
use serde_json::Value;

use crate::docker::{TOLD, stands_still, streams};

/// `podman run --rm`, of a shell.
#[track_caller]
fn shell(podman: &Podman, flags: &[&str], script: &str) -> Said {
    run(&mut podman.run_command(&[&["--rm"], flags].concat(), &["sh", "-c", script]))
}

/// `podman run --detach`, of a shell; its id.
#[track_caller]
fn detach(podman: &Podman, flags: &[&str], name: &str, script: &str) -> String {
    let flags = [&["--detach", "--name", name], flags].concat();
    let said = run(&mut podman.run_command(&flags, &["sh", "-c", script])).success();
    said.line().to_owned()
}

#[track_caller]
fn inspect(podman: &Podman, name: &str, format: &str) -> String {
    let said = podman.podman(["inspect", "--format", format, name]).success();
    said.line().to_owned()
}

#[track_caller]
fn pid(podman: &Podman, name: &str) -> i32 {
    let pid = inspect(podman, name, "{{.State.Pid}}").parse();
    pid.expect("a process id")
}

#[track_caller]
fn wait_logs(podman: &Podman, name: &str, wanted: &str) {
    wait_until(&format!("{name} to say {wanted:?}"), || {
        podman.podman(["logs", name]).success().stdout == wanted
    });
}

pub(crate) fn commands(podman: &Podman) {
    streams(1 << 12, |flags, args| podman.run_command(flags, args));

    detach(podman, &["--env", "IN=it"], "main", TOLD);
    wait_logs(podman, "main", "up\n");
    let flags = ["exec", "-i", "-e", "A=b", "-w", "/tmp", "-u", "1000:29", "main"];
    let args = [
        "sh",
        "-c",
        "echo $IN $A $PWD $(id -u):$(id -g); cat; echo bad >&2; exit 9",
    ];
    let mut exec = podman.command([&flags[..], &args].concat());
    let said = run_with_input(&mut exec, b"given\n").code(9);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("it b /tmp 1000:29\ngiven\n", "bad\n")
    );
    let mut pty = Pty::spawn(&mut podman.command(["exec", "-it", "main", "sh"]));
    pty.send("echo on $(tty)\n");
    pty.expect("on /dev/pts/");
    pty.send("exit 4\n");
    assert_eq!(pty.wait_exit(), 4);
    let bounding = "grep CapBnd /proc/self/status";
    let more = podman
        .podman(["exec", "--privileged", "main", "sh", "-c", bounding])
        .success();
    let less = podman.podman(["exec", "main", "sh", "-c", bounding]).success();
    let own = std::fs::read_to_string("/proc/self/status").expect("our status");
    assert!(
        own.contains(more.line()) && more.stdout != less.stdout,
        "{more:?} {less:?}"
    );
    podman
        .podman(["exec", "-d", "main", "touch", "/tmp/there"])
        .success();
    wait_until("what is detached to be done", || {
        podman.podman(["exec", "main", "test", "-f", "/tmp/there"]).code == 0
    });
    podman
        .podman(["exec", "main", "nope"])
        .code(127)
        .failure("not found in $PATH");

    let from = podman.place().join("from");
    std::fs::write(&from, "copied\n").expect("a file");
    podman
        .podman(["cp", &from.to_string_lossy(), "main:/tmp/to"])
        .success();
    let said = podman.podman(["exec", "main", "cat", "/tmp/to"]).success();
    assert_eq!(said.stdout, "copied\n");
    let back = podman.place().join("back");
    podman
        .podman(["cp", "main:/tmp/to", &back.to_string_lossy()])
        .success();
    assert_eq!(std::fs::read_to_string(back).expect("the file"), "copied\n");
}

pub(crate) fn a_life(podman: &Podman) {
    let id = detach(podman, &["--pids-limit", "33"], "main", TOLD);
    wait_logs(podman, "main", "up\n");
    let first = pid(podman, "main");
    assert!(alive(first));
    let top = podman.podman(["top", "main", "hpid", "comm"]).success();
    let first_line = top
        .stdout
        .lines()
        .nth(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        first_line,
        Some(vec![first.to_string().as_str(), "sh"]),
        "{top:?}"
    );
    let stats = podman
        .podman(["stats", "--no-stream", "--format", "json", "main"])
        .success();
    let stats: Value = serde_json::from_str(&stats.stdout).expect("stats");
    let text = |field: &str| stats[0][field].as_str().unwrap_or_default().to_owned();
    assert!(text("pids").parse::<u32>().is_ok_and(|pids| pids > 0), "{stats}");
    let memory = text("mem_usage");
    assert!(!memory.starts_with("0B") && memory.contains("B / "), "{stats}");

    podman.podman(["pause", "main"]).success();
    assert_eq!(inspect(podman, "main", "{{.State.Status}}"), "paused");
    assert!(stands_still(first), "it goes on");
    podman
        .podman(["exec", "main", "true"])
        .failure("can only create exec sessions on running containers");
    podman.podman(["unpause", "main"]).success();
    assert_eq!(inspect(podman, "main", "{{.State.Status}}"), "running");

    let update = ["update", "--memory", "64m", "--cpus", "0.5", "main"];
    podman.podman(update).success();
    let expected = ((64 << 20).to_string(), "500".to_owned(), "33".to_owned());
    assert_eq!(limits(podman.place().cgroup(), &id), expected);

    podman.podman(["stop", "-t", "30", "main"]).success();
    assert_eq!(
        inspect(podman, "main", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 5"
    );
    wait_logs(podman, "main", "up\ntold\n");
    assert!(!alive(first));
    podman.podman(["restart", "main"]).success();
    wait_logs(podman, "main", "up\ntold\nup\n");
    podman.podman(["restart", "-t", "30", "main"]).success();
    wait_logs(podman, "main", "up\ntold\nup\ntold\nup\n");
    podman.podman(["kill", "-s", "TERM", "main"]).success();
    assert_eq!(podman.podman(["wait", "main"]).success().line(), "5");
    podman.podman(["start", "main"]).success();
    podman.podman(["kill", "main"]).success();
    assert_eq!(podman.podman(["wait", "main"]).success().line(), "137");
    podman.podman(["rm", "main"]).success();

    // Deaf to SIGTERM, it is killed after the time it is given.
    detach(podman, &[], "deaf", "trap '' TERM; while :; do sleep 0.05; done");
    podman.podman(["stop", "-t", "1", "deaf"]).success();
    assert_eq!(inspect(podman, "deaf", "{{.State.ExitCode}}"), "137");
    podman.podman(["start", "deaf"]).success();
    let last = pid(podman, "deaf");
    podman.podman(["rm", "-f", "-t", "0", "deaf"]).success();
    assert!(!alive(last));
    assert_eq!(podman.podman(["ps", "-aq"]).success().stdout, "");
}

pub(crate) fn settings(podman: &Podman) {
    let id = detach(
        podman,
        &["--memory", "64m", "--cpus", "0.25", "--pids-limit", "21"],
        "limited",
        "exec sleep 1000",
    );
    let expected = ((64 << 20).to_string(), "250".to_owned(), "21".to_owned());
    assert_eq!(limits(podman.place().cgroup(), &id), expected);
    let shared = shell(
        podman,
        &["--network", "container:limited"],
        "readlink /proc/self/ns/net",
    );
    let theirs = podman
        .podman(["exec", "limited", "readlink", "/proc/self/ns/net"])
        .success();
    assert_eq!(shared.success().stdout, theirs.stdout);
    let host = std::fs::read_link("/proc/self/ns/net").expect("our namespace");
    let said = shell(podman, &["--network", "host"], "readlink /proc/self/ns/net").success();
    assert_eq!(said.line(), host.to_string_lossy());
    let said = shell(podman, &["--memory", "20m"], "tail -c 90000000 /dev/zero | wc -c");
    assert_eq!(said.success().line(), "0", "it gets no more than its memory");

    let folder = podman.place().join("volume");
    std::fs::create_dir(&folder).expect("a folder");
    let (folder, read_only) = (
        format!("{}:/vol", folder.display()),
        format!("{}:/ro:ro", folder.display()),
    );
    let said = shell(
        podman,
        &[
            "-v",
            &folder,
            "-v",
            &read_only,
            "--tmpfs",
            "/scratch:size=1m",
            "-v",
            "/anonymous",
            "--read-only",
        ],
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
    let said = shell(podman, &["--cap-drop", "all", "--cap-add", "net_raw"], status).success();
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
    let said = shell(podman, &flags, status).success();
    assert_eq!(said.line(), format!("{only}NoNewPrivs:1Seccomp:0"));
    let profile = podman.place().join("seccomp.json");
    let rule = r#"{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}"#;
    let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    std::fs::write(&profile, text).expect("a profile");
    let profile = format!("seccomp={}", profile.display());
    shell(
        podman,
        &["--security-opt", &profile],
        "touch /tmp/yes && mkdir /tmp/no",
    )
    .code(1)
    .failure("Operation not permitted");
    let said = shell(podman, &["--privileged"], status).success();
    assert!(said.stdout.ends_with("NoNewPrivs:0Seccomp:0"), "{said:?}");

    let flags = [
        "--user",
        "1000:29",
        "--group-add",
        "7",
        "--workdir",
        "/tmp",
        "--hostname",
        "box",
    ];
    let said = shell(podman, &flags, "id -u; id -g; id -G; pwd; hostname").success();
    assert_eq!(said.stdout, "1000\n29\n29 7\n/tmp\nbox\n");
    let flags = [
        "--ulimit",
        "nofile=500:900",
        "--ulimit",
        "nproc=900:900",
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
    let said = shell(podman, &flags, script).success();
    assert_eq!(said.stdout, "500\n900\n100\n1\n10240\n1:3\n", "{said:?}");
    let said = shell(podman, &["--init"], "cat /proc/1/comm").success();
    assert_eq!(said.line(), "podman-init");
    let said = shell(podman, &["--cgroupns", "private"], "cat /proc/self/cgroup").success();
    assert!(said.stdout.lines().all(|line| line.ends_with(":/")), "{said:?}");
}

pub(crate) fn pods(podman: &Podman) {
    let create = [
        "pod",
        "create",
        "--name",
        "pod",
        "--network",
        "none",
        "--hostname",
        "podded",
    ];
    let infra = [
        "--infra-command",
        "/bin/sleep 1000",
        "--cgroup-parent",
        podman.place().cgroup(),
    ];
    podman.podman([&create[..], &infra].concat()).success();
    let look = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts; hostname";
    // Podman itself gives those in a pod the pod's cgroup.
    let run_in_pod = |flags: &[&str], script: &str| {
        let all = ["run", "--pod", "pod"];
        let args = [gantry_tests::podman::IMAGE, "sh", "-c", script];
        podman.podman([&all[..], flags, &args].concat()).success()
    };
    let said = run_in_pod(&["--rm"], look);
    let again = run_in_pod(&["--rm"], look);
    assert_eq!(said.stdout, again.stdout);
    assert!(said.stdout.ends_with("\npodded\n"), "{said:?}");
    run_in_pod(&["-d", "--name", "member"], TOLD);
    let member = pid(podman, "member");
    let listed = podman
        .podman(["pod", "ps", "--format", "{{.Status}} {{.NumberOfContainers}}"])
        .success();
    assert_eq!(listed.line(), "Running 2");
    podman.podman(["pod", "pause", "pod"]).success();
    assert!(stands_still(member), "it goes on");
    podman.podman(["pod", "unpause", "pod"]).success();
    podman.podman(["pod", "stop", "-t", "1", "pod"]).success();
    assert_eq!(inspect(podman, "member", "{{.State.ExitCode}}"), "5");
    podman.podman(["pod", "start", "pod"]).success();
    let member = pid(podman, "member");
    podman.podman(["pod", "rm", "-f", "-t", "0", "pod"]).success();
    assert!(!alive(member));
}

pub(crate) fn refusals(podman: &Podman) {
    let fails = |args: &[&str], code: i32, what: [&str; 2]| {
        let said = run(&mut podman.run_command(&["--rm"], args)).code(code);
        let said = said.failure(what[0]);
        assert!(said.stderr.contains(what[1]), "{said:?}");
    };
    let missing = "OCI runtime attempted to invoke a command that was not found";
    fails(&["nope"], 127, ["executable file", missing]);
    fails(&["nope"], 127, ["not found in $PATH", missing]);
    fails(
        &["/etc/passwd"],
        126,
        ["ermission denied", "OCI permission denied"],
    );
    assert_eq!(podman.podman(["ps", "-aq"]).success().stdout, "");

    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    detach(podman, &[], "main", script);
    let lines = || podman.podman(["logs", "main"]).success().stdout.lines().count();
    let goes_on = |most: usize| wait_until("it to go on", || lines() > most);
    goes_on(3);
    if let Some(why) = no_criu() {
        // It is told, and nothing came of it for the container.
        let said = podman.podman(["container", "checkpoint", "main"]);
        assert!(said.code != 0 && !said.stderr.is_empty(), "{said:?}");
        goes_on(lines());
        podman.podman(["exec", "main", "true"]).success();
        skip("`podman container checkpoint` and `restore`", &why);
    } else {
        podman.podman(["container", "checkpoint", "main"]).success();
        assert_eq!(inspect(podman, "main", "{{.State.Status}}"), "exited");
        let before = lines();
        podman.podman(["container", "restore", "main"]).success();
        goes_on(before);
    }
    let text = podman.podman(["logs", "main"]).success().stdout;
    let counted = text
        .lines()
        .enumerate()
        .all(|(at, line)| line == (at + 1).to_string());
    assert!(counted, "it did not go on where it was: {text}");
}
