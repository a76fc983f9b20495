//! `run` and what is like it, against an engine that is not there: streams, exit codes, signals, pulls.

mod fake;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fake::engine::{Behaviour, ID, engine};
use fake::{Fake, answer};

fn said(output: &Output) -> (String, String, i32) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code().unwrap_or(-1),
    )
}

fn run(fake: &Fake, args: &[&str], input: &str) -> (String, String, i32) {
    let mut child = fake
        .gantry()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut stdin = child.stdin.take().expect("stdin");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    said(&child.wait_with_output().expect("output"))
}

#[test]
fn output_goes_where_it_belongs_and_the_code_is_the_containers() {
    let fake = engine(Behaviour {
        status: 42,
        ..Behaviour::default()
    });
    let (out, err, code) = run(&fake, &["run", "--rm", "busybox"], "");
    assert_eq!(
        (out.as_str(), err.as_str(), code),
        ("ready\n", "WARNING: careful\noops\n", 42)
    );
    let wait = fake.last(&format!("/containers/{ID}/wait")).expect("wait");
    assert_eq!(wait.query, "condition=removed");
    assert_eq!(
        fake.seen(),
        [
            "POST /containers/create".to_owned(),
            format!("POST /containers/{ID}/attach"),
            format!("POST /containers/{ID}/wait"),
            format!("POST /containers/{ID}/start"),
        ]
    );
}

#[test]
fn input_is_passed_on_and_closed() {
    let fake = engine(Behaviour::default());
    let (out, err, code) = run(&fake, &["run", "-i", "busybox"], "in\n");
    assert_eq!(out, "ready\n<in\\n>");
    assert!(err.ends_with("end of input\n"), "{err}");
    assert_eq!(code, 0);
}

#[test]
fn a_container_in_the_background_is_named() {
    let fake = engine(Behaviour::default());
    let (out, _, code) = run(&fake, &["run", "-d", "busybox"], "");
    assert_eq!((out, code), (format!("{ID}\n"), 0));
}

#[test]
fn a_missing_image_is_pulled() {
    let fake = engine(Behaviour {
        pulled: true,
        ..Behaviour::default()
    });
    let (out, err, code) = run(&fake, &["run", "busybox"], "");
    assert_eq!((out.as_str(), code), ("ready\n", 0));
    assert_eq!(
        err,
        "Unable to find image 'busybox:latest' locally\nlatest: Pulling from library/busybox\n\
         aaa: Pulling fs layer\naaa: Pull complete\nWARNING: careful\noops\n"
    );
    let pull = fake.last("/images/create").expect("pull");
    assert_eq!(pull.query, "fromImage=busybox&tag=latest");
    let never = engine(Behaviour {
        pulled: true,
        ..Behaviour::default()
    });
    let (_, err, code) = run(&never, &["run", "--pull", "never", "busybox"], "");
    assert_eq!(code, 125);
    assert!(err.starts_with(
        "gantry: Error response from daemon: No such image: busybox:latest\n\nRun 'gantry run --help'"
    ));
}

#[test]
fn what_does_not_start_has_a_code_that_says_why() {
    for (message, wanted) in [
        (
            "exec: \\\"nosuch\\\": executable file not found in $PATH: unknown",
            127,
        ),
        ("exec: \\\"/etc\\\": permission denied: unknown", 126),
        ("exec: \\\"/etc\\\": is a directory: unknown", 126),
        ("something else", 125),
    ] {
        let fake = engine(Behaviour {
            refused: Some(message),
            ..Behaviour::default()
        });
        let (_, err, code) = run(&fake, &["run", "--rm", "busybox"], "");
        assert_eq!(code, wanted, "{err}");
        assert!(err.contains("gantry: Error response from daemon: "), "{err}");
    }
}

#[test]
fn the_id_is_written_to_a_file_that_is_not_shared() {
    let fake = engine(Behaviour::default());
    let file = fake.path("cid");
    let path = file.to_str().expect("path");
    let (_, _, code) = run(&fake, &["create", "--cidfile", path, "busybox"], "");
    assert_eq!(
        (code, std::fs::read_to_string(&file).expect("file")),
        (0, ID.to_owned())
    );
    let (_, err, code) = run(&fake, &["create", "--cidfile", path, "busybox"], "");
    assert_eq!(code, 125);
    assert!(err.starts_with("container ID file found"), "{err}");
}

#[test]
fn signals_are_passed_on() {
    let fake = engine(Behaviour::default());
    let mut child = fake
        .gantry()
        .args(["run", "-i", "busybox"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let kill = format!("/containers/{ID}/kill");
    let wait_for = |what: &dyn Fn() -> bool| {
        for _ in 0..500 {
            if what() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    };
    assert!(wait_for(&|| fake
        .last(&format!("/containers/{ID}/start"))
        .is_some()));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("kill");
    assert!(wait_for(&|| fake.last(&kill).is_some()), "no signal came");
    assert_eq!(fake.last(&kill).expect("kill").query, "signal=TERM");
    child.stdin.take().expect("stdin").write_all(b"q").expect("write");
    assert_eq!(child.wait().expect("wait").code(), Some(0));
}

#[test]
fn a_reader_that_went_away_ends_it_silently() {
    let fake = engine(Behaviour::default());
    let mut child = fake
        .gantry()
        .args(["run", "-i", "busybox"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("stdin");
    for _ in 0..100 {
        if stdin.write_all(b"x").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("output");
    let (_, err, code) = said(&output);
    assert_eq!((err.replace("WARNING: careful\n", "").as_str(), code), ("", 141));
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().expect("folder");
    let host = format!("unix://{}/none", dir.path().display());
    let ask = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        let output = command
            .env("DOCKER_CONFIG", dir.path())
            .args(["-H", &host])
            .args(args)
            .output();
        said(&output.expect("output"))
    };
    let cannot = format!("Cannot connect to the Gantry daemon at {host}. Is the gantryd daemon running?");
    assert_eq!(ask(&["ps"]), (String::new(), format!("{cannot}\n"), 1));
    let (_, err, code) = ask(&["run", "busybox"]);
    assert_eq!(
        (err, code),
        (
            format!("gantry: {cannot}\n\nRun 'gantry run --help' for more information\n"),
            125
        )
    );
    let (out, _, code) = ask(&["version"]);
    assert!(
        out.starts_with("Client: Gantry\n Version:           ") && code == 1,
        "{out}"
    );
}

#[test]
fn each_name_is_tried_and_each_failure_is_said() {
    let fake = Fake::start(|request, stream| match request.path.as_str() {
        "/containers/bad" => answer(stream, "404 Not Found", r#"{"message":"No such container: bad"}"#),
        _ => fake::nothing(stream),
    });
    let (out, err, code) = run(&fake, &["rm", "-fv", "a", "bad", "b"], "");
    assert_eq!(
        (out.as_str(), err.as_str(), code),
        (
            "a\nb\n",
            "Error response from daemon: No such container: bad\n",
            1
        )
    );
    assert_eq!(fake.last("/containers/a").expect("rm").query, "force=1&v=1");
}

#[test]
fn an_archive_is_sent_whole() {
    let fake =
        Fake::start(|_, stream| answer(stream, "200 OK", r#"{"stream":"Loaded image: busybox:latest\n"}"#));
    let big = "x".repeat(200_000);
    let (out, _, code) = run(&fake, &["load"], &big);
    assert_eq!((out.as_str(), code), ("Loaded image: busybox:latest\n", 0));
    let load = fake.last("/images/load").expect("load");
    assert_eq!((load.body.len(), load.query.as_str()), (big.len(), "quiet=1"));
}

#[test]
fn objects_are_shown_as_they_came_and_what_is_missing_is_said() {
    let fake = Fake::start(|request, stream| match request.path.as_str() {
        "/containers/c/json" => answer(stream, "200 OK", r#"{"Id":"1","Unknown":{"z":1.50,"a":[]}}"#),
        _ => answer(stream, "404 Not Found", r#"{"message":"no such thing"}"#),
    });
    let (out, err, code) = run(&fake, &["inspect", "c", "nosuch"], "");
    assert_eq!(
        out,
        "[\n    {\n        \"Id\": \"1\",\n        \"Unknown\": {\n            \"z\": 1.50,\n            \"a\": []\n        }\n    }\n]\n"
    );
    assert_eq!((err.as_str(), code), ("Error: No such object: nosuch\n", 1));
    let (out, _, _) = run(
        &fake,
        &["inspect", "-f", "{{.Unknown.z}} {{json .Unknown.a}}", "c"],
        "",
    );
    assert_eq!(out, "1.5 []\n");
}

#[test]
fn help_is_grouped_and_completion_knows_the_commands() {
    let fake = engine(Behaviour::default());
    let (out, err, code) = run(&fake, &["--help"], "");
    assert_eq!((err.as_str(), code), ("", 0));
    let at = |part: &str| out.find(part).unwrap_or_else(|| panic!("{part}: {out}"));
    assert!(out.starts_with("Usage:  gantry [OPTIONS] COMMAND\n\n"));
    assert!(at("\nCommon Commands:\n  run ") < at("\nManagement Commands:\n  container "));
    assert!(at("\nCommands:\n  attach ") < at("\nGlobal Options:\n"));
    let (out, _, _) = run(&fake, &["container", "ls", "--help"], "");
    assert!(out.contains(
        "\nAliases:\n  gantry container ls, gantry container list, gantry container ps, gantry ps\n"
    ));
    assert!(out.contains("  -a, --all             Show all containers (default shows just running)\n"));
    for shell in ["bash", "zsh", "fish"] {
        let (out, _, code) = run(&fake, &["completion", shell], "");
        assert!(code == 0 && out.contains("container"), "{shell}");
    }
}

#[test]
fn an_exec_exits_as_its_process_does() {
    for (exit, wanted) in [("3", 3), ("null", 126), ("0", 0)] {
        let fake = Fake::start(move |request, stream| match request.path.as_str() {
            "/containers/c/json" => answer(stream, "200 OK", r#"{"Id":"c"}"#),
            "/containers/c/exec" => answer(stream, "201 Created", r#"{"Id":"e"}"#),
            "/exec/e/start" => {
                fake::upgraded(stream);
                let _ = stream.write_all(&fake::frame(1, "out\n"));
            }
            _ => answer(stream, "200 OK", &format!("{{\"ExitCode\":{exit}}}")),
        });
        let (out, _, code) = run(&fake, &["exec", "-e", "A=b", "c", "ls", "-l"], "");
        assert_eq!((out.as_str(), code), ("out\n", wanted));
        let create = fake.last("/containers/c/exec").expect("create");
        assert!(
            create.body.contains(r#""Cmd":["ls","-l"]"#) && create.body.contains("A=b"),
            "{}",
            create.body
        );
    }
}
