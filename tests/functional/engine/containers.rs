//! Containers: what `run` is told, what becomes of it, and every command on what runs.

use std::fs;
use std::path::Path;

use gantry_testkit::cmd::{run_with_input, wait_until};
use gantry_tests::engine::Engine;

use crate::{BOTH, Cli, engine};

/// Runs a shell script in a container that is removed, with flags.
#[track_caller]
fn sh(cli: Cli, engine: &Engine, flags: &[&str], script: &str) -> String {
    let args = [
        &["run", "--rm", "--network", "none"],
        flags,
        &["busybox", "sh", "-c", script],
    ]
    .concat();
    cli.run(engine, &args).success().stdout
}

#[test]
fn a_container_is_what_its_flags_say() {
    let engine = engine();
    let file = engine.dir().join("env");
    fs::write(&file, "# comment\nFROM_FILE=1\n\nALSO=two words\n").unwrap();
    let bound = engine.dir().join("bound");
    fs::create_dir(&bound).unwrap();
    fs::write(bound.join("f"), "from outside").unwrap();
    let bind = format!("{}:/b", bound.display());
    let read_only = format!("{}:/b:ro", bound.display());
    for cli in BOTH {
        let say = |flags: &[&str], script: &str| sh(cli, &engine, flags, script);
        assert_eq!(say(&[], "echo out; echo $0"), "out\nsh\n", "{cli:?}");
        assert_eq!(say(&["-e", "A=b c"], "echo $A"), "b c\n");
        assert_eq!(
            say(&[], "ls /.dockerenv; readlink /etc/mtab"),
            "/.dockerenv\n/proc/mounts\n"
        );
        assert_eq!(
            say(&["--env-file", file.to_str().unwrap()], "echo $FROM_FILE $ALSO"),
            "1 two words\n"
        );
        assert_eq!(say(&["-w", "/tmp"], "pwd"), "/tmp\n");
        assert_eq!(say(&["-w", "/new/folder"], "pwd"), "/new/folder\n");
        assert_eq!(say(&["-u", "daemon"], "id -u; id -g"), "1\n1\n");
        assert_eq!(say(&["-u", "12:34"], "id -u; id -g"), "12\n34\n");
        assert_eq!(say(&["-u", "daemon"], "id -G"), "1 29\n");
        assert_eq!(say(&["-h", "box"], "hostname; cat /etc/hostname"), "box\nbox\n");
        assert_eq!(say(&["-v", &bind], "cat /b/f; echo x > /b/g"), "from outside");
        assert_eq!(fs::read_to_string(bound.join("g")).unwrap(), "x\n");
        assert_eq!(say(&["-v", &read_only], "echo x > /b/h || echo no"), "no\n");
        assert_eq!(
            say(
                &["--tmpfs", "/t:size=64k"],
                "df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2"
            ),
            "64\n"
        );
        assert_eq!(say(&["--read-only"], "touch /x || echo no"), "no\n");
        assert_eq!(
            say(&["--ulimit", "nofile=64:128"], "ulimit -n; ulimit -Hn"),
            "64\n128\n"
        );
        assert_eq!(say(&["--init"], "cat /proc/1/comm"), "docker-init\n");
        assert_eq!(
            say(&["--cap-drop", "ALL"], "grep CapEff /proc/self/status"),
            "CapEff:\t0000000000000000\n"
        );
        assert_eq!(
            say(
                &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
                "grep CapBnd /proc/self/status"
            ),
            "CapBnd:\t0000000000000001\n"
        );
        assert_eq!(
            say(&[], "grep CapEff /proc/self/status"),
            "CapEff:\t00000000a80425fb\n"
        );
        assert_eq!(say(&[], "grep Seccomp: /proc/self/status"), "Seccomp:\t2\n");
        assert_eq!(
            say(
                &["--security-opt", "seccomp=unconfined"],
                "grep Seccomp: /proc/self/status"
            ),
            "Seccomp:\t0\n"
        );
        assert_eq!(
            say(
                &["--security-opt", "no-new-privileges"],
                "grep NoNewPrivs /proc/self/status"
            ),
            "NoNewPrivs:\t1\n"
        );
        assert_eq!(
            say(
                &["--privileged"],
                "grep Seccomp: /proc/self/status; test -c /dev/full && echo dev"
            ),
            "Seccomp:\t0\ndev\n"
        );
        assert_eq!(say(&[], "ls /sys/class/net"), "lo\n");
        assert_eq!(say(&[], "echo $$; ls /proc | grep -c '^[0-9]'"), "1\n3\n");
    }
    let entry = [
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "echo",
        "busybox",
        "a",
        "b",
    ];
    let host = [
        "run",
        "--rm",
        "--network",
        "host",
        "busybox",
        "ls",
        "/sys/class/net",
    ];
    for cli in BOTH {
        assert_eq!(cli.run(&engine, &entry).success().stdout, "a b\n");
        let outside: Vec<String> = fs::read_dir("/sys/class/net")
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let inside = cli.run(&engine, &host).success().stdout;
        assert_eq!(inside.lines().count(), outside.len(), "{inside}");
    }
}

#[test]
fn limits_are_those_of_the_cgroup() {
    let engine = engine();
    let id = Cli::Gantry
        .run(
            &engine,
            &[
                "run",
                "-d",
                "--network",
                "none",
                "-m",
                "64m",
                "--cpus",
                "0.5",
                "--pids-limit",
                "50",
                "busybox",
                "sleep",
                "1000",
            ],
        )
        .success()
        .line()
        .to_owned();
    let find = |controller: &str, file: &str| {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let unified = !own.lines().any(|line| line.contains(":memory:"));
        let top = Path::new("/sys/fs/cgroup").join(if unified { "" } else { controller });
        fs::read_to_string(
            top.join(engine.cgroup().trim_start_matches('/'))
                .join(&id)
                .join(file),
        )
        .unwrap_or_default()
    };
    let first = |texts: [String; 2]| {
        texts
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    let memory = first([find("memory", "memory.limit_in_bytes"), find("", "memory.max")]);
    assert_eq!(memory.trim(), "67108864");
    assert_eq!(find("pids", "pids.max").trim(), "50");
    let cpu = first([find("cpu", "cpu.cfs_quota_us"), find("", "cpu.max")]);
    assert!(cpu.trim() == "50000" || cpu.trim() == "50000 100000", "{cpu}");
}

#[test]
fn exit_codes_are_the_users() {
    let engine = engine();
    for cli in BOTH {
        let run = |args: &[&str]| cli.run(&engine, &[&["run", "--rm", "--network", "none"], args].concat());
        run(&["busybox", "sh", "-c", "exit 42"]).code(42);
        run(&["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).code(137);
        let said = run(&["busybox", "nope"]).code(127);
        assert!(
            said.stderr
                .contains("exec: \"nope\": executable file not found in $PATH"),
            "{said:#?}"
        );
        let said = run(&["busybox", "/etc/passwd"]).code(126);
        assert!(said.stderr.contains("permission denied"), "{said:#?}");
        run(&["--no-such-flag", "busybox"]).code(125);
        run(&["-e", "A=1", "--memory", "1k", "busybox", "true"]).code(125);
        run(&["-d", "--name", "there", "busybox", "sleep", "1000"]).success();
        let exec = |args: &[&str]| cli.run(&engine, &[&["exec"], args].concat());
        exec(&["there", "sh", "-c", "exit 42"]).code(42);
        exec(&["there", "nope"]).code(127);
        exec(&["there", "/etc/passwd"]).code(126);
        let said = exec(&["-u", "nosuch", "there", "true"]).code(126);
        assert!(
            said.stdout
                .contains("unable to find user nosuch: no matching entries in passwd file"),
            "{said:#?}"
        );
        engine.gantry(["rm", "-f", "there"]).success();
    }
    assert_eq!(engine.gantry(["ps", "-aq"]).success().stdout, "");
}

#[test]
fn a_container_lives_through_every_command() {
    let engine = engine();
    for cli in BOTH {
        let run = |args: &[&str]| cli.run(&engine, args);
        let id = run(&[
            "create",
            "--name",
            "one",
            "--network",
            "none",
            "-l",
            "kind=test",
            "busybox",
            "sleep",
            "1000",
        ])
        .success();
        let id = id.line().to_owned();
        assert_eq!(id.len(), 64);
        assert_eq!(
            run(&["inspect", "-f", "{{.State.Status}}", "one"])
                .success()
                .line(),
            "created"
        );
        assert_eq!(run(&["start", "one"]).success().line(), "one");
        assert_eq!(
            run(&["ps", "-q", "--no-trunc", "--filter", "label=kind=test"])
                .success()
                .line(),
            id
        );
        let said = run(&["create", "--name", "one", "busybox"]).failure("is already in use by container");
        assert!(said.stderr.contains(&id), "{said:#?}");
        run(&["rename", "one", "two"]).success();
        assert_eq!(
            run(&["exec", "two", "echo", "inside"]).success().stdout,
            "inside\n"
        );
        run(&["exec", "two", "sh", "-c", "exit 9"]).code(9);
        run(&["exec", "two", "nope"]).code(127);
        assert_eq!(
            run(&[
                "exec",
                "-u",
                "daemon",
                "-w",
                "/tmp",
                "-e",
                "A=1",
                "two",
                "sh",
                "-c",
                "id -u; pwd; echo $A"
            ])
            .success()
            .stdout,
            "1\n/tmp\n1\n"
        );
        run(&["rm", "two"]).failure("stop the container before removing or force remove");
        assert_eq!(run(&["stop", "-t", "1", "two"]).success().line(), "two");
        assert_eq!(run(&["wait", "two"]).success().line(), "137");
        assert_eq!(
            run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "two"])
                .success()
                .line(),
            "exited 137"
        );
        run(&["start", "two"]).success();
        run(&["kill", "-s", "KILL", "two"]).success();
        run(&["kill", "two"]).failure("is not running");
        assert_eq!(run(&["rm", "two"]).success().line(), "two");
        run(&["inspect", "two"]).failure("No such");
    }
}

#[test]
fn logs_are_whole_and_in_order() {
    let engine = engine();
    // Two streams have no order between them but that of their times: the pause is for `--tail`, which counts both.
    let script = "echo a; echo b >&2; sleep 0.2; printf no-end; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done";
    engine
        .gantry([
            "run",
            "--name",
            "logged",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .success();
    for cli in BOTH {
        let said = cli.run(&engine, &["logs", "logged"]).success();
        assert!(
            said.stdout.starts_with("a\nno-endline 1\nline 2\n"),
            "{}",
            said.stdout
        );
        assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (301, "b\n"));
        assert_eq!(
            cli.run(&engine, &["logs", "--tail", "2", "logged"])
                .success()
                .stdout,
            "line 299\nline 300\n"
        );
        let stamped = cli
            .run(&engine, &["logs", "-t", "--tail", "1", "logged"])
            .success();
        assert!(
            stamped.stdout.starts_with("20") && stamped.stdout.contains("Z line 300"),
            "{}",
            stamped.stdout
        );
        assert_eq!(
            cli.run(&engine, &["logs", "-f", "logged"])
                .success()
                .stdout
                .lines()
                .count(),
            301
        );
    }
}

#[test]
fn input_is_given_and_its_end_is_heard() {
    let engine = engine();
    for cli in BOTH {
        let args = [
            "run",
            "-i",
            "--rm",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "cat; echo end",
        ];
        let big = "x".repeat(300_000);
        let said = run_with_input(&mut cli.command(&engine, &args), big.as_bytes()).success();
        assert_eq!(said.stdout, format!("{big}end\n"), "{cli:?}");
        engine
            .gantry([
                "run",
                "-d",
                "--name",
                "input",
                "--network",
                "none",
                "busybox",
                "sleep",
                "1000",
            ])
            .success();
        let said = run_with_input(
            &mut cli.command(&engine, &["exec", "-i", "input", "cat"]),
            b"to exec",
        )
        .success();
        assert_eq!(said.stdout, "to exec");
        engine.gantry(["rm", "-f", "input"]).success();
    }
}

#[test]
fn a_stopped_container_keeps_its_files_and_a_stop_signal_is_heard() {
    let engine = engine();
    let script = "trap 'echo got usr1; exit 3' USR1; echo $$ > /kept; while :; do sleep 0.05; done";
    engine
        .gantry([
            "run",
            "-d",
            "--name",
            "stopped",
            "--stop-signal",
            "USR1",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .success();
    wait_until("the script to run", || {
        engine.gantry(["exec", "stopped", "test", "-e", "/kept"]).code == 0
    });
    engine.gantry(["stop", "stopped"]).success();
    assert_eq!(engine.gantry(["wait", "stopped"]).success().line(), "3");
    assert!(
        engine
            .gantry(["logs", "stopped"])
            .success()
            .stdout
            .contains("got usr1")
    );
    engine.gantry(["start", "stopped"]).success();
    assert_eq!(
        engine
            .gantry(["exec", "stopped", "cat", "/kept"])
            .success()
            .line(),
        "1"
    );
}

#[test]
fn old_and_grouped_forms_are_the_same_commands() {
    let engine = engine();
    for cli in BOTH {
        let say = |args: &[&str]| cli.run(&engine, args).success().stdout;
        say(&[
            "container",
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "there",
            "busybox",
            "sleep",
            "1000",
        ]);
        for (old, grouped) in [
            (
                &["ps", "--format", "{{.Names}} {{.Image}}"][..],
                &["container", "ls", "--format", "{{.Names}} {{.Image}}"][..],
            ),
            (&["images", "-q"], &["image", "ls", "-q"]),
            (&["inspect", "there"], &["container", "inspect", "there"]),
            (&["logs", "there"], &["container", "logs", "there"]),
            (
                &["info", "--format", "{{.ContainersRunning}} {{.Driver}}"],
                &["system", "info", "--format", "{{.ContainersRunning}} {{.Driver}}"],
            ),
        ] {
            assert_eq!(say(old), say(grouped), "{cli:?} {old:?}");
        }
        assert_eq!(
            say(&["ps", "--format", "{{.Names}} {{.Image}}"]),
            "there busybox\n"
        );
        assert_eq!(
            say(&["info", "--format", "{{.ContainersRunning}} {{.Driver}}"]),
            "1 overlayfs\n"
        );
        say(&["container", "rm", "-f", "there"]);
    }
}
