//! What `create` and `run` ask an engine for, word by word as Docker's own client of version 28 asks:
//! recorded in `create/recorded.jsonl`, and recorded again where that client is installed.

mod fake;

use std::path::Path;
use std::process::{Command, Stdio};

use fake::{Fake, answer};
use serde_json::{Value, json};

/// The lines of flags; files that they name are in the folder where the commands run.
const CASES: &[&[&str]] = &[
    &["create", "busybox"],
    &[
        "create",
        "-it",
        "-e",
        "A=b",
        "-e",
        "HOME",
        "-e",
        "NO_SUCH_VARIABLE",
        "busybox",
        "sh",
        "-c",
        "x",
    ],
    &[
        "create",
        "--env-file",
        "vars",
        "--label-file",
        "vars",
        "-l",
        "a=b",
        "-l",
        "c",
        "busybox",
    ],
    &["create", "-i", "busybox", "-x", "--rm", "--", "y"],
    &["create", "--", "busybox", "--rm"],
    &[
        "create",
        "-m",
        "1g",
        "--memory-swap",
        "-1",
        "--cpus",
        "1.5",
        "--cpu-shares",
        "5",
        "--cpuset-cpus",
        "0-1",
        "busybox",
    ],
    &[
        "create",
        "--pids-limit",
        "-1",
        "--oom-score-adj",
        "-5",
        "--oom-kill-disable",
        "--memory-swappiness",
        "3",
        "busybox",
    ],
    &["create", "-v", "/a:/b:ro", "-v", "/d", "busybox"],
    &["create", "-v", "vol:/c", "busybox"],
    &["create", "-v", "~/x:/y", "busybox"],
    &[
        "create",
        "--mount",
        "type=bind,src=/x,dst=/y,ro,bind-propagation=rslave",
        "--mount",
        "type=volume,dst=/w,volume-opt=a=b,volume-label=x=y,volume-nocopy",
        "busybox",
    ],
    &[
        "create",
        "--mount",
        "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777",
        "--mount",
        "type=image,src=i,dst=/i",
        "busybox",
    ],
    &[
        "create",
        "--tmpfs",
        "/run:size=1m",
        "--tmpfs",
        "/x",
        "--shm-size",
        "1g",
        "--read-only",
        "busybox",
    ],
    &[
        "create",
        "--ulimit",
        "nofile=1:2",
        "--ulimit",
        "core=0",
        "--ulimit",
        "nofile=5",
        "busybox",
    ],
    &[
        "create",
        "--device",
        "/dev/null:/dev/x:rw",
        "--device",
        "/dev/zero",
        "--device-cgroup-rule",
        "c 1:3 rwm",
        "busybox",
    ],
    &[
        "create",
        "--cap-add",
        "SYS_ADMIN",
        "--cap-add",
        "net_raw",
        "--cap-drop",
        "ALL",
        "--privileged",
        "busybox",
    ],
    &[
        "create",
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1::53/udp",
        "-p",
        "90-91:90-91",
        "--expose",
        "99",
        "-P",
        "busybox",
    ],
    &[
        "create",
        "--network",
        "none",
        "--restart",
        "on-failure:3",
        "--stop-signal",
        "KILL",
        "--stop-timeout",
        "5",
        "busybox",
    ],
    &[
        "create",
        "--net",
        "host",
        "--init",
        "--entrypoint",
        "",
        "busybox",
        "a",
    ],
    &[
        "create",
        "--init=false",
        "--entrypoint",
        "/bin/sh",
        "-w",
        "/w",
        "-u",
        "1:2",
        "-h",
        "host",
        "--domainname",
        "d",
        "busybox",
    ],
    &[
        "create",
        "--network",
        "foo",
        "--network",
        "bar",
        "--ip",
        "1.2.3.4",
        "--network-alias",
        "zz",
        "--link",
        "a:b",
        "--mac-address",
        "02:42:ac:11:00:02",
        "busybox",
    ],
    &[
        "create",
        "--network",
        "name=foo,alias=x,ip=1.2.3.4,driver-opt=a=b,gw-priority=3",
        "busybox",
    ],
    &[
        "create",
        "--dns",
        "8.8.8.8",
        "--dns-search",
        "x",
        "--dns-option",
        "y",
        "--add-host",
        "a:1.2.3.4",
        "--add-host",
        "b=[::1]",
        "busybox",
    ],
    &[
        "create",
        "--pid",
        "host",
        "--ipc",
        "host",
        "--uts",
        "host",
        "--userns",
        "host",
        "--cgroupns",
        "host",
        "--cgroup-parent",
        "/x",
        "busybox",
    ],
    &[
        "create",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=1m",
        "--annotation",
        "a=b",
        "busybox",
    ],
    &[
        "create",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
        "busybox",
    ],
    &["create", "--security-opt", "seccomp=profile.json", "busybox"],
    &[
        "create",
        "--health-cmd",
        "x y",
        "--health-interval",
        "3s",
        "--health-retries",
        "2",
        "--health-timeout",
        "1m",
        "busybox",
    ],
    &["create", "--no-healthcheck", "busybox"],
    &["create", "-a", "stdin", "-a", "stderr", "--rm", "busybox"],
    &[
        "create",
        "--group-add",
        "5",
        "--volumes-from",
        "c:ro",
        "--volume-driver",
        "vd",
        "--runtime",
        "r",
        "--isolation",
        "i",
        "--storage-opt",
        "size=1",
        "busybox",
    ],
    &[
        "create",
        "--blkio-weight",
        "100",
        "--device-read-bps",
        "/dev/null:1m",
        "--device-write-iops",
        "/dev/null:5",
        "--gpus",
        "all",
        "busybox",
    ],
    &[
        "create",
        "--name",
        "n",
        "--platform",
        "linux/amd64",
        "--quiet",
        "--pull",
        "never",
        "busybox",
    ],
    &["create", "--tty=false", "--rm=true", "--interactive=1", "busybox"],
    &["create", "-itw/w", "-mx=1", "busybox"],
    &["create", "-e=A=b", "-u=7", "busybox"],
    &["run", "-d", "busybox", "sleep", "1"],
    &[
        "run",
        "-dit",
        "--detach-keys",
        "a",
        "--sig-proxy=false",
        "busybox",
    ],
];

fn fake() -> Fake {
    let fake = Fake::start(|request, stream| match request.path.as_str() {
        "/containers/create" => answer(
            stream,
            "201 Created",
            r#"{"Id":"0123456789ab0123456789ab","Warnings":[]}"#,
        ),
        _ => fake::nothing(stream),
    });
    std::fs::write(
        fake.path("vars"),
        "A=1\n# c\n\n  B= x y\nHOME\nNO_SUCH_VARIABLE\n",
    )
    .expect("vars");
    std::fs::write(
        fake.path("profile.json"),
        "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}\n",
    )
    .expect("profile");
    fake
}

/// What a program asks for, or how it fails.
fn ask(fake: &Fake, program: &Path, args: &[&str]) -> Value {
    fake.requests.lock().expect("requests").clear();
    let mut command = Command::new(program);
    fake.surround(&mut command);
    let output = command
        .args(args)
        .current_dir(fake.dir.path())
        .env("HOME", "/home/of/test")
        .stdin(Stdio::null())
        .output()
        .expect("run");
    match fake.last("/containers/create") {
        Some(request) => json!({
            "query": request.query,
            "body": plain(serde_json::from_str(&request.body).expect("json")),
        }),
        None => {
            let name = program.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let said = String::from_utf8_lossy(&output.stderr).replace(name, "PROGRAM");
            json!({"code": output.status.code(), "said": said})
        }
    }
}

/// Null, nothing and empty are the same to an engine.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.into_iter().map(|(k, v)| (k, plain(v)));
            Value::Object(map.filter(|(_, v)| !is_empty(v)).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(plain).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn docker() -> Option<&'static Path> {
    let path = Path::new("/usr/local/bin/docker");
    let version = Command::new(path).arg("--version").output().ok()?;
    String::from_utf8_lossy(&version.stdout)
        .contains("version 28.")
        .then_some(path)
}

#[test]
fn requests_are_those_of_dockers_client() {
    let fake = fake();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/create/recorded.jsonl");
    if std::env::var_os("GANTRY_RECORD").is_some() {
        let docker = docker().expect("docker 28 to record");
        let lines: Vec<String> = CASES
            .iter()
            .map(|args| json!({"args": args, "asked": ask(&fake, docker, args)}).to_string() + "\n")
            .collect();
        std::fs::write(&recorded, lines.concat()).expect("write");
    }
    let text = std::fs::read_to_string(&recorded).expect("recorded");
    let recorded: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("line"))
        .collect();
    assert_eq!(recorded.len(), CASES.len(), "record again");
    let ours = Path::new(env!("CARGO_BIN_EXE_gantry"));
    let mut wrong = Vec::new();
    for (args, recorded) in CASES.iter().zip(recorded) {
        assert_eq!(recorded["args"], json!(args), "record again");
        let asked = ask(&fake, ours, args);
        if asked != recorded["asked"] {
            wrong.push(format!(
                "{args:?}\n docker {}\n gantry {asked}",
                recorded["asked"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Flags that make no sense: the code and the words.
#[test]
fn what_makes_no_sense_is_said_as_docker_says_it() {
    let fake = fake();
    let ours = Path::new(env!("CARGO_BIN_EXE_gantry"));
    for (args, code, said) in [
        (&["run", "--foo", "x"][..], 125, "unknown flag: --foo"),
        (&["run", "-zz", "x"], 125, "unknown shorthand flag: 'z' in -zz"),
        (&["run", "-itz", "x"], 125, "unknown shorthand flag: 'z' in -z"),
        (&["run"], 1, "PROGRAM: 'PROGRAM run' requires at least 1 argument"),
        (&["run", "--memory"], 125, "flag needs an argument: --memory"),
        (
            &["run", "-m", "1x", "b"],
            125,
            "invalid argument \"1x\" for \"-m, --memory\" flag: invalid suffix: 'x'",
        ),
        (
            &["run", "--rm=maybe", "b"],
            125,
            "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        (
            &["run", "--cpus", "abc", "b"],
            125,
            "invalid argument \"abc\" for \"--cpus\" flag: failed to parse abc as a rational number",
        ),
        (
            &["run", "--mount", "type=bind", "b"],
            125,
            "invalid argument \"type=bind\" for \"--mount\" flag: target is required",
        ),
        (
            &["run", "-p", "abc", "b"],
            125,
            "PROGRAM: invalid containerPort: abc",
        ),
        (
            &["run", "--env-file", "/nope", "b"],
            125,
            "PROGRAM: open /nope: no such file or directory",
        ),
        (
            &["run", "--rm", "--restart", "always", "b"],
            125,
            "PROGRAM: conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["run", "--pid", "foo", "b"],
            125,
            "PROGRAM: --pid: invalid PID mode",
        ),
        (
            &["run", "--security-opt", "foo", "b"],
            125,
            "PROGRAM: Invalid --security-opt: \"foo\"",
        ),
        (
            &["run", "--pull", "foo", "b"],
            125,
            "PROGRAM: invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (&["run", "-it", "b"], 1, "the input device is not a TTY"),
        (
            &["run", "-d", "-a", "stdout", "b"],
            1,
            "conflicting options: cannot specify both --attach and --detach",
        ),
        (
            &["create", "BAD IMAGE"],
            125,
            "invalid reference format: repository name (library/BAD IMAGE) must be lowercase",
        ),
        (&["ps", "x"], 1, "PROGRAM: 'PROGRAM ps' accepts no arguments"),
        (
            &["rename", "x"],
            1,
            "PROGRAM: 'PROGRAM rename' requires 2 arguments",
        ),
        (
            &["contaner"],
            1,
            "PROGRAM: unknown command: PROGRAM contaner\nDid you mean 'PROGRAM container'?",
        ),
        (
            &["container", "foo"],
            1,
            "PROGRAM: unknown command: PROGRAM container foo",
        ),
    ] {
        let asked = ask(&fake, ours, args);
        assert_eq!(asked["code"], json!(code), "{args:?}: {asked}");
        let text = asked["said"].as_str().unwrap_or_default();
        assert!(text.starts_with(said), "{args:?}: {text}");
    }
}
