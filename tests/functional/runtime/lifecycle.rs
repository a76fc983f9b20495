//! From `create` to `delete`, and what may be done to a container in between.

use std::fs;
use std::process::{Command, Stdio};

use gantry_testkit::cmd::{run, run_with_input, wait_until};
use gantry_testkit::kernel::alive;
use gantry_testkit::pty::Pty;
use serde_json::json;

use crate::Runtime;

crate::on_both! {
    a_command_runs_and_its_code_is_the_runtimes
    input_is_given_and_output_is_taken
    the_stages_of_a_life
    a_container_is_entered
    a_process_file_is_run
    a_process_that_says_little_is_confined_like_the_container
    a_container_is_paused
    a_terminal_is_driven
    a_console_is_sent
    descriptors_are_kept
    hooks_hear_the_state
    many_are_listed
    a_killed_runtime_leaves_nothing_that_cannot_be_deleted
}

fn a_command_runs_and_its_code_is_the_runtimes(runtime: &Runtime) {
    let bundle = runtime.bundle("echo hello; echo wrong >&2; exit 5");
    let said = runtime.run(&bundle).code(5);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("hello\n", "wrong\n")
    );
    bundle.shell("kill -9 $$");
    // The first process of a process namespace does not hear signals of its own.
    runtime.run(&bundle).code(0);
    bundle.shell("sleep 100 & kill -9 $!; wait $!");
    runtime.run(&bundle).code(137);
    runtime.call(["state", &runtime.id()]).failure("does not exist");
}

fn input_is_given_and_output_is_taken(runtime: &Runtime) {
    let bundle = runtime.bundle("tr a-z A-Z");
    let mut command = runtime.command(["run", "-b"]);
    let said = run_with_input(command.arg(bundle.dir()).arg(runtime.id()), b"shout\n").success();
    assert_eq!(said.line(), "SHOUT");
}

fn the_stages_of_a_life(runtime: &Runtime) {
    let bundle = runtime.bundle("echo started; exec sleep 1000");
    let id = runtime.id();
    let pid_file = runtime.place.join("pid");
    let output = fs::File::create(runtime.place.join("output")).expect("a file");
    let mut create = runtime.command(["create", "--pid-file"]);
    create
        .arg(&pid_file)
        .arg("--bundle")
        .arg(bundle.dir())
        .arg(&id)
        .stdin(Stdio::null());
    let status = create
        .stdout(output.try_clone().expect("the file"))
        .stderr(output)
        .status()
        .expect("the runtime");
    assert!(status.success(), "{}", runtime.output());
    let state = runtime.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], json!(id));
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert_eq!(state["rootfs"], json!(bundle.rootfs()));
    let pid = state["pid"].as_i64().expect("a pid") as i32;
    assert_eq!(
        fs::read_to_string(&pid_file).expect("the pid file"),
        pid.to_string()
    );
    assert_eq!(runtime.output(), "", "nothing runs before start");
    runtime
        .call(["create", "-b", &bundle.dir().to_string_lossy(), &id])
        .failure("already exists");

    runtime.call(["start", &id]).success();
    wait_until("the container to speak", || runtime.output() == "started\n");
    assert_eq!(runtime.status(), "running");
    runtime.call(["start", &id]).failure("cannot start");
    runtime.call(["delete", &id]).failure("cannot delete container");
    runtime.call(["kill", &id, "KILL"]).success();
    wait_until("the container to end", || !alive(pid));
    assert_eq!(runtime.status(), "stopped");
    assert_eq!(runtime.state()["pid"], 0);
    runtime
        .call(["kill", &id, "KILL"])
        .failure("container not running");
    runtime.call(["delete", &id]).success();
    runtime.call(["delete", &id]).failure("does not exist");
    runtime.call(["delete", "--force", &id]).success();
}

fn a_container_is_entered(runtime: &Runtime) {
    let bundle = runtime.bundle("echo up; exec sleep 1000");
    bundle.change(|config| {
        config["process"]["env"]
            .as_array_mut()
            .expect("env")
            .push(json!("ONE=1"))
    });
    let pid = runtime.detach(&bundle);
    let id = runtime.id();
    let exec = |args: &[&str]| runtime.call([&["exec"][..], args].concat());
    let said = exec(&[
        "--env",
        "TWO=2",
        "--cwd",
        "/tmp",
        &id,
        "sh",
        "-c",
        "echo $ONE$TWO $PWD; exit 9",
    ])
    .code(9);
    assert_eq!(said.line(), "12 /tmp");
    assert_eq!(
        exec(&["--user", "65534:1", &id, "id", "-u"]).success().line(),
        "65534"
    );
    // The same process namespace, mounts and cgroups as the first process.
    assert!(
        exec(&[&id, "sh", "-c", "cat /proc/1/cmdline"])
            .success()
            .stdout
            .starts_with("sleep")
    );
    let inside = exec(&[
        &id,
        "sh",
        "-c",
        "readlink /proc/self/ns/mnt; readlink /proc/1/ns/mnt",
    ])
    .success();
    let (own, first) = inside.stdout.split_once('\n').expect("two lines");
    assert_eq!(own, first.trim());
    let groups = |text: String| {
        text.lines()
            .filter(|line| !line.contains("::"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let ours = groups(exec(&[&id, "cat", "/proc/self/cgroup"]).success().stdout);
    assert_eq!(
        ours,
        groups(exec(&[&id, "cat", "/proc/1/cgroup"]).success().stdout)
    );
    let mut detached = runtime.command(["exec", "--pid-file"]);
    detached
        .arg(runtime.place.join("e"))
        .args(["-d", &id, "sleep", "1000"])
        .stdin(Stdio::null());
    let status = detached
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the runtime");
    assert!(status.success());
    let other: i32 = fs::read_to_string(runtime.place.join("e"))
        .expect("the pid file")
        .parse()
        .expect("a pid");
    assert!(alive(other));
    let listed = runtime.call(["ps", "--format", "json", &id]).success();
    let mut listed: Vec<i32> = serde_json::from_str(&listed.stdout).expect("a list");
    listed.sort_unstable();
    let mut expected = [pid, other];
    expected.sort_unstable();
    assert_eq!(listed, expected);
    exec(&[&id, "nope"]).failure("executable file not found in $PATH");
    runtime.call(["delete", "--force", &id]).success();
    assert!(!alive(other));
}

fn a_process_file_is_run(runtime: &Runtime) {
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    let file = runtime.place.join("process.json");
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["sh", "-c", "echo $A $(id -u)"]);
    process["env"] = json!(["PATH=/bin", "A=b"]);
    process["user"] = json!({ "uid": 7, "gid": 8 });
    fs::write(&file, process.to_string()).expect("the process file");
    let said = runtime
        .call(["exec", "--process", &file.to_string_lossy(), &runtime.id()])
        .success();
    assert_eq!(said.line(), "b 7");
    runtime.call(["delete", "-f", &runtime.id()]).success();
}

fn a_process_that_says_little_is_confined_like_the_container(runtime: &Runtime) {
    let bundle = runtime.bundle("exec sleep 1000");
    bundle.change(|config| {
        let process = &mut config["process"];
        let one = json!(["CAP_KILL"]);
        process["capabilities"] = json!({ "bounding": one, "effective": one, "permitted": one });
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 78 }]);
        process["oomScoreAdj"] = json!(123);
    });
    runtime.detach(&bundle);
    let file = runtime.place.join("little.json");
    // Debian's runc does not do it for limits yet.
    let limit = if runtime.is_ours() { "ulimit -n" } else { "echo 77" };
    let script = &format!("grep -E '^Cap(Eff|Bnd)' /proc/self/status; {limit}; cat /proc/self/oom_score_adj");
    let run = |capabilities: Option<serde_json::Value>| {
        let mut process = json!({ "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"] });
        if let Some(capabilities) = capabilities {
            process["capabilities"] = capabilities;
        }
        fs::write(&file, process.to_string()).expect("the file");
        let said = runtime.call(["exec", "--process", &file.to_string_lossy(), &runtime.id()]);
        said.success().stdout
    };
    let with = |set: &str| format!("CapEff:\t{set}\nCapBnd:\t{set}\n77\n123\n");
    assert_eq!(run(None), with("0000000000000020"));
    // None at all is not the same as nothing said.
    assert_eq!(run(Some(json!({}))), with("0000000000000000"));
    runtime.call(["delete", "--force", &runtime.id()]).success();
}

fn a_container_is_paused(runtime: &Runtime) {
    let id = runtime.id();
    let bundle = runtime.bundle("i=0; while :; do i=$((i+1)); echo $i; usleep 2000; done");
    let pid = runtime.detach(&bundle);
    wait_until("the container to count", || runtime.output().lines().count() > 3);
    runtime.call(["pause", &id]).success();
    assert_eq!(runtime.status(), "paused");
    let before = runtime.output();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(runtime.output(), before);
    runtime
        .call(["exec", &id, "true"])
        .failure("cannot exec in a paused container");
    runtime.call(["resume", &id]).success();
    assert_eq!(runtime.status(), "running");
    wait_until("the container to go on", || runtime.output() != before);
    runtime.call(["pause", &id]).success();
    runtime.call(["delete", "-f", &id]).success();
    assert!(!alive(pid));
}

fn a_terminal_is_driven(runtime: &Runtime) {
    let bundle = runtime.bundle("sleep 0.3; stty size; echo $TERM; tty; read word; stty size; exit 4");
    bundle.change(|config| config["process"]["terminal"] = json!(true));
    let mut pty = Pty::spawn(runtime.command(["run", "-b"]).arg(bundle.dir()).arg(runtime.id()));
    pty.expect("24 80");
    pty.expect("xterm");
    pty.expect("/dev/pts/0");
    pty.resize(30, 90);
    // The runtime hears of the size by a signal, which has no answer.
    std::thread::sleep(std::time::Duration::from_millis(200));
    pty.send("go\n");
    pty.expect("30 90");
    assert_eq!(pty.wait_exit(), 4);
}

fn a_console_is_sent(runtime: &Runtime) {
    let bundle = runtime.bundle("echo from $(tty); sleep 1000");
    bundle.change(|config| config["process"]["terminal"] = json!(true));
    let path = runtime.place.join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let mut command = runtime.command(["run", "-d", "--console-socket"]);
    let child = command
        .arg(&path)
        .arg("-b")
        .arg(bundle.dir())
        .arg(runtime.id())
        .spawn();
    let mut child = child.expect("the runtime");
    let mut terminal = Pty::accept(&listener);
    terminal.expect("from /dev/pts/0");
    assert!(child.wait().expect("the runtime").success());
    runtime.call(["delete", "-f", &runtime.id()]).success();
}

fn descriptors_are_kept(runtime: &Runtime) {
    let bundle = runtime.bundle("cat <&3; ls /proc/self/fd | wc -l");
    fs::write(runtime.place.join("kept"), "kept\n").expect("a file");
    let script = r#"exec 3<"$1" 7</dev/null; shift; exec "$@""#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        .arg(runtime.place.join("kept"))
        .arg(&runtime.program);
    command
        .arg("--root")
        .arg(runtime.place.join("state"))
        .args(["run", "--preserve-fds", "1", "-b"]);
    let said = run(command.arg(bundle.dir()).arg(runtime.id())).success();
    // 0, 1, 2, 3 and the folder that `ls` reads.
    assert_eq!(said.stdout, "kept\n5\n");
}

fn hooks_hear_the_state(runtime: &Runtime) {
    let bundle = runtime.bundle("echo main >> /log");
    let log = bundle.rootfs().join("log");
    let hook = |name: &str| {
        let script = format!(
            "echo {name} $(jq -r '.status + \" \" + .id') >> {}",
            log.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    bundle.change(|config| {
        let names = ["prestart", "createRuntime", "poststart", "poststop"];
        for name in names {
            config["hooks"][name] = hook(name);
        }
        let inside = ["sh", "-c", "echo startContainer >> /log"];
        config["hooks"]["startContainer"] = json!([{ "path": "/bin/sh", "args": inside }]);
    });
    runtime.run(&bundle).success();
    let id = runtime.id();
    let text = fs::read_to_string(&log).expect("the log");
    let mut lines: Vec<&str> = text.lines().collect();
    // After its start the container and the host speak at once.
    lines.retain(|line| !line.starts_with("poststart "));
    assert_eq!(
        lines,
        [
            format!("prestart creating {id}"),
            format!("createRuntime creating {id}"),
            "startContainer".to_owned(),
            "main".to_owned(),
            format!("poststop stopped {id}")
        ]
    );
    assert!(text.contains("poststart "), "{text}");
    bundle.change(|config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo bad luck >&2; exit 3"] }] });
    });
    runtime.run(&bundle).failure("exit status 3");
    runtime.call(["state", &id]).failure("does not exist");
}

fn many_are_listed(runtime: &Runtime) {
    // The newest runc refuses a root that is named and not there.
    std::fs::create_dir_all(runtime.place.join("state")).expect("the root");
    assert!(runtime.call(["list", "-q"]).success().stdout.is_empty());
    let bundle = runtime.bundle("exec sleep 1000");
    runtime.detach(&bundle);
    let id = runtime.id();
    assert_eq!(runtime.call(["list", "-q"]).success().line(), id);
    let table = runtime.call(["list"]).success();
    let (head, row) = table.stdout.split_once('\n').expect("two lines");
    let words: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(words, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert!(row.contains("running") && row.contains(&id), "{row}");
    let json = runtime.call(["list", "-f", "json"]).success();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        (&json[0]["id"], &json[0]["status"], &json[0]["owner"]),
        (&json!(id), &json!("running"), &json!("root"))
    );
    runtime.call(["delete", "-f", &id]).success();
}

/// Whatever instruction the runtime is at when it dies: `delete --force` clears up, and the id can be used again.
fn a_killed_runtime_leaves_nothing_that_cannot_be_deleted(runtime: &Runtime) {
    if !runtime.is_ours() {
        // A demand of ours: the other's may leave its first process waiting.
        return;
    }
    let bundle = runtime.bundle("exec sleep 1000");
    let id = runtime.id();
    for round in 0..12 {
        let mut create = runtime.command(["create", "-b"]);
        create
            .arg(bundle.dir())
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = create.stderr(Stdio::null()).spawn().expect("the runtime");
        std::thread::sleep(std::time::Duration::from_micros(round * 900));
        let _ = child.kill();
        let _ = child.wait();
        runtime.call(["delete", "--force", &id]).success();
    }
    bundle.shell("true");
    runtime.run(&bundle).success();
}
