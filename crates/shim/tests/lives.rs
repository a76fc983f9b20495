//! Lives of containers under a shim that is driven directly, on Debian's runc and crun: what they say, how they end, what is
//! told of it and in which order. For root.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gantry_shim_api::messages as m;
use gantry_testkit::cmd::{run, wait_until};
use gantry_testkit::kernel::{alive, mounts};
use prost::Message;
use support::{Attached, ID, Shim, answer, named, send};

fn a_life(runtime: &str) {
    let shim = Shim::start_on(runtime.into(), "echo out; echo err >&2; cat; printf rest; exit 7");
    let events = shim.events();
    let pid = shim.create(&shim.request());
    let state = shim.state("");
    assert_eq!((state.pid, state.status), (pid, m::Status::Created as i32));
    assert_eq!(
        (state.id.as_str(), state.bundle.as_str()),
        (ID, shim.bundle.dir().to_str().unwrap())
    );
    let mut client = shim.attach("");
    assert_eq!(client.said["terminal"], false);
    assert_eq!(shim.started("").unwrap(), pid);
    client.stream.write_all(b"in\n").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    // Any number may wait, also on one connection.
    let mut waiters = shim.connect();
    send(&mut waiters, 1, "Wait", &named(""));
    send(&mut waiters, 3, "Wait", &named(""));
    assert_eq!(shim.wait(""), 7);
    for stream in [1, 3] {
        let (of, answer) = answer::<m::WaitResponse>(&mut waiters);
        assert_eq!((of, answer.unwrap().exit_status), (stream, 7));
    }
    assert_eq!(client.framed(), ("out\nin\nrest".into(), "err\n".into()));
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(shim.bundle.dir().join("exit.json")).unwrap()).unwrap();
    assert_eq!((&record["pid"], &record["exit_status"]), (&pid.into(), &7.into()));
    let logged = shim.logged();
    let of = |stream: &str| -> Vec<&str> {
        let lines = logged.iter().filter(|(of, _)| of == stream);
        lines.map(|(_, text)| text.as_str()).collect()
    };
    assert_eq!(of("stdout"), ["out\n", "in\n", "rest"]);
    assert_eq!(of("stderr"), ["err\n"]);
    assert_eq!(shim.state("").status, m::Status::Stopped as i32);
    let failed = shim.kill(9).unwrap_err();
    assert_eq!(
        (failed.code, failed.message.as_str()),
        (5, "process already finished: not found")
    );
    let deleted = shim.deleted("").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 7));
    assert!(deleted.exited_at.is_some());
    events.wait(&["create", "start", "exit", "delete"]);
    shim.shutdown();
    // As containerd does it after every task.
    assert_eq!(shim.clean().exit_status, 7);
}

#[test]
fn a_life_on_runc() {
    a_life("runc");
}

#[test]
fn a_life_on_crun() {
    a_life(&gantry_testkit::cmd::crun().to_string_lossy());
}

#[test]
fn processes_that_end_at_once_are_told_in_order() {
    let shim = Shim::start("sleep 1000");
    let events = shim.events();
    shim.create(&shim.request());
    shim.started("").unwrap();
    for number in 0..5 {
        let name = format!("e{number}");
        shim.exec(&name, &format!("exit {number}"), |_| {});
        let pid = shim.started(&name).unwrap();
        assert_eq!(shim.wait(&name), number);
        assert_eq!(shim.state(&name).pid, pid);
        assert_eq!(shim.deleted(&name).unwrap().exit_status, number);
    }
    let mut expected = vec!["create", "start"];
    for _ in 0..5 {
        expected.extend(["exec-added", "exec-started", "exit"]);
    }
    events.wait(&expected);
    shim.kill(9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.end();
}

#[test]
fn what_is_added_has_streams_and_failures_of_its_own() {
    let shim = Shim::start("trap 'exit 5' TERM; while :; do sleep 0.05; done");
    shim.create(&shim.request());
    shim.started("").unwrap();
    shim.exec("e", "cat; echo done >&2; exit 9", |_| {});
    let mut client = shim.attach("e");
    shim.started("e").unwrap();
    client.stream.write_all(b"fed").unwrap();
    let close = m::CloseIoRequest {
        id: ID.into(),
        exec_id: "e".into(),
        stdin: true,
    };
    // Input that was sent before is not lost to the end of input.
    client.expect("fed");
    let () = shim.call("CloseIO", &close).unwrap();
    assert_eq!(shim.wait("e"), 9);
    assert_eq!(client.framed().1, "done\n");
    shim.deleted("e").unwrap();

    // Input that comes before the process does waits for it; so does its end.
    shim.exec("early", "cat; echo end", |_| {});
    let mut client = shim.attach("early");
    client.stream.write_all(b"early bird\n").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    shim.started("early").unwrap();
    assert_eq!(shim.wait("early"), 0);
    assert_eq!(client.framed().0, "early bird\nend\n");
    shim.deleted("early").unwrap();

    shim.exec("bad", "true", |request| request.stdin = "/no/such/fifo".into());
    assert!(shim.started("bad").unwrap_err().message.contains("/no/such/fifo"));
    shim.exec("worse", "true", |_| {});
    shim.exec_args("worst", &["/no/such"]);
    let client = shim.attach("worst");
    let failed = shim.started("worst").unwrap_err();
    assert!(
        failed.message.starts_with("OCI runtime exec failed: "),
        "{failed:?}"
    );
    // Whoever was attached to it, or waits for it, is let go.
    assert_eq!(client.framed(), (String::new(), String::new()));
    assert_eq!(shim.wait("worst"), 255);
    shim.deleted("worst").unwrap();
    shim.deleted("worse").unwrap();
    shim.deleted("bad").unwrap();
    let failed = shim.call::<m::StateResponse>("State", &named("bad")).unwrap_err();
    assert_eq!(failed.code, 5);
    assert_eq!(shim.deleted("").unwrap_err().code, 9);
    shim.kill(15).unwrap();
    assert_eq!(shim.wait(""), 5);
    shim.end();
}

#[test]
fn a_terminal_is_shared_resized_and_left() {
    let shim = Shim::start("true");
    shim.bundle.change(|config| {
        config["process"]["terminal"] = true.into();
        config["process"]["args"] = serde_json::json!(["sh"]);
    });
    let mut request = shim.request();
    request.terminal = true;
    shim.create(&request);
    let mut first = shim.attach("");
    assert_eq!(first.said["terminal"], true);
    shim.started("").unwrap();
    let resize = |width, height| {
        let request = m::ResizePtyRequest {
            id: ID.into(),
            exec_id: String::new(),
            width,
            height,
        };
        shim.call::<()>("ResizePty", &request).unwrap();
    };
    resize(100, 30);
    first.expect("# ");
    first.stream.write_all(b"stty size; tty\n").unwrap();
    first.expect("/dev/pts/0\r\n");
    drop(first);
    let mut second = shim.attach("");
    second.stream.write_all(b"echo still $((40+2))\n").unwrap();
    second.expect("still 42");
    second.stream.write_all(b"exit 3\n").unwrap();
    assert_eq!(shim.wait(""), 3);
    let text: String = shim.logged().into_iter().map(|(_, text)| text).collect();
    assert!(text.contains("30 100\r\n/dev/pts/0\r\n"), "{text:?}");
    shim.end();
}

#[test]
fn the_attach_socket_is_found_by_who_does_not_know_the_bundle() {
    let shim = Shim::start("cat");
    let link = shim.place.join("attach-here");
    std::fs::write(&link, "left by another").unwrap();
    let mut request = shim.request();
    let given = request.options.as_mut().unwrap();
    let mut options = m::RuncOptions::decode(given.value.as_slice()).unwrap();
    options.attach_link = link.to_str().unwrap().to_owned();
    given.value = options.encode_to_vec();
    shim.create(&request);
    shim.started("").unwrap();
    let mut client = Attached::new(UnixStream::connect(&link).unwrap(), "");
    client.stream.write_all(b"in\n").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.framed().0, "in\n");
    assert_eq!(shim.wait(""), 0);
    shim.end();
}

#[test]
fn a_slow_client_holds_the_container_back_and_loses_nothing() {
    const LINES: usize = 400_000;
    let shim = Shim::start(&format!("yes 0123456789abcde | head -n {LINES}; sleep 0.2"));
    shim.create(&shim.request());
    let slow = shim.attach("");
    shim.started("").unwrap();
    let size = || std::fs::metadata(shim.log()).map_or(0, |file| file.len());
    wait_until("the client's share to be full", || size() > 2 << 20);
    std::thread::sleep(Duration::from_millis(200));
    let held = size();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(size(), held);
    let (out, _) = slow.framed();
    assert!(out == "0123456789abcde\n".repeat(LINES), "{} bytes", out.len());
    assert_eq!(shim.wait(""), 0);
    assert_eq!(shim.logged().len(), LINES);
    shim.end();
}

#[test]
fn a_fifo_is_read_to_its_end_however_late() {
    let shim = Shim::start("head -c 180000 /dev/zero");
    let fifo = shim.place.join("fifo");
    run(std::process::Command::new("mkfifo").arg(&fifo)).success();
    let mut request = shim.request();
    (request.stdin, request.stderr) = (String::new(), String::new());
    request.stdout = fifo.to_str().unwrap().to_owned();
    shim.create(&request);
    shim.started("").unwrap();
    let mut reader = std::fs::File::open(&fifo).unwrap();
    // Longer than the shim waits with the news of the exit.
    assert_eq!(shim.wait(""), 0);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 180_000);
    shim.end();
}

#[test]
fn who_inherits_the_streams_does_not_keep_the_exit_back_for_ever() {
    let shim = Shim::start("sleep 1000");
    shim.create(&shim.request());
    shim.started("").unwrap();
    shim.exec("e", "sleep 500 & exit 4", |_| {});
    shim.started("e").unwrap();
    let begun = Instant::now();
    assert_eq!(shim.wait("e"), 4);
    assert!(begun.elapsed() < Duration::from_secs(5));
    shim.kill(9).unwrap();
    shim.wait("");
    shim.end();
}

#[test]
fn nothing_is_lost_while_the_supervisor_is_away() {
    let shim = Shim::start("exit 42");
    let pid = shim.create(&shim.request());
    shim.started("").unwrap();
    assert_eq!(shim.wait(""), 42);
    // It does not ask for anybody who is not there …
    std::thread::sleep(Duration::from_millis(600));
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", shim.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary")).unwrap();
        line.to_owned()
    };
    let before = switches();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(switches(), before);
    // … and tells whoever comes.
    let events = shim.events();
    let _: m::ConnectResponse = shim
        .call("Connect", &m::ConnectRequest { id: ID.into() })
        .unwrap();
    events.wait(&["create", "start", "exit"]);
    let exit = &events.exits()[0];
    assert_eq!((exit.pid, exit.exit_status, exit.id.as_str()), (pid, 42, ID));
    shim.end();
}

#[test]
fn many_at_once_keep_their_streams_and_codes_apart() {
    let shim = Shim::start("sleep 1000");
    let events = shim.events();
    shim.create(&shim.request());
    shim.started("").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let shim = &shim;
            scope.spawn(move || {
                for number in 0..5 {
                    let code = thread * 10 + number;
                    let name = format!("e{code}");
                    shim.exec(&name, &format!("echo {name}; exit {code}"), |_| {});
                    let client = shim.attach(&name);
                    shim.started(&name).unwrap();
                    assert_eq!(shim.wait(&name), code);
                    assert_eq!(client.framed().0, format!("{name}\n"));
                    shim.deleted(&name).unwrap();
                }
            });
        }
    });
    wait_until("events", || events.topics().len() == 2 + 3 * 20);
    let mut codes: Vec<u32> = events.exits().iter().map(|exit| exit.exit_status).collect();
    codes.sort_unstable();
    let expected: Vec<u32> = (0..4)
        .flat_map(|thread| (0..5).map(move |number| thread * 10 + number))
        .collect();
    assert_eq!(codes, expected);
    shim.kill(9).unwrap();
    shim.wait("");
    shim.end();
}

/// A runtime that takes its time for `verb`.
fn slow_runtime(shim: &Shim, verb: &str) -> PathBuf {
    let path = shim.place.join("slow-runtime");
    let script = format!("#!/bin/sh\ncase \"$*\" in *' {verb} '*) sleep 1.5;; esac\nexec runc \"$@\"\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_slow_runtime_keeps_nobody_else_waiting() {
    let mut shim = Shim::start("echo up; while :; do sleep 0.05; done");
    shim.runtime = slow_runtime(&shim, "pause");
    shim.create(&shim.request());
    let begun = Instant::now();
    shim.started("").unwrap();
    let mut pausing = shim.connect();
    send(&mut pausing, 1, "Pause", &named(""));
    wait_until("the pause to begin", || {
        shim.state("").status == m::Status::Pausing as i32
    });
    let _: m::ConnectResponse = shim
        .call("Connect", &m::ConnectRequest { id: ID.into() })
        .unwrap();
    wait_until("output", || !shim.logged().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(1));
    // What concerns the same process waits for its turn.
    let () = shim.call("Resume", &named("")).unwrap();
    let (_, paused) = answer::<()>(&mut pausing);
    paused.unwrap();
    assert_eq!(shim.state("").status, m::Status::Running as i32);
    shim.kill(9).unwrap();
    shim.wait("");
    shim.end();
}

#[test]
fn a_slow_start_is_told_before_the_exit() {
    let mut shim = Shim::start("exit 6");
    let events = shim.events();
    // The runtime's start lasts longer than the container.
    let path = shim.place.join("late-runtime");
    std::fs::write(
        &path,
        "#!/bin/sh\nrunc \"$@\"; code=$?\ncase \"$*\" in *' start '*) sleep 0.7;; esac\nexit $code\n",
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    shim.runtime = path;
    shim.create(&shim.request());
    shim.started("").unwrap();
    assert_eq!(shim.wait(""), 6);
    shim.end();
    events.wait(&["create", "start", "exit", "delete"]);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let shim = Shim::start("true");
    shim.bundle.args(&["/no/such"]);
    let source = shim.place.join("source");
    std::fs::rename(shim.bundle.rootfs(), &source).unwrap();
    std::fs::create_dir(shim.bundle.rootfs()).unwrap();
    let mut request = shim.request();
    request.rootfs = vec![m::Mount {
        r#type: "bind".into(),
        source: source.to_str().unwrap().to_owned(),
        target: String::new(),
        options: vec!["rbind".into(), "rw".into()],
    }];
    let failed = shim
        .call::<m::CreateTaskResponse>("Create", &request)
        .unwrap_err();
    assert!(
        failed.message.starts_with("OCI runtime create failed: "),
        "{failed:?}"
    );
    assert!(failed.message.contains("/no/such"), "{failed:?}");
    assert_eq!(mounts(shim.place.dir()), Vec::<PathBuf>::new());
    assert_eq!(shim.deleted("").unwrap_err().code, 5);
    // The same shim can try again.
    shim.bundle.shell("exit 3");
    shim.create(&request);
    shim.started("").unwrap();
    assert_eq!(shim.wait(""), 3);
    shim.deleted("").unwrap();
    assert_eq!(mounts(shim.place.dir()), Vec::<PathBuf>::new());
    shim.shutdown();
}

#[test]
fn a_root_of_many_layers_is_mounted_and_taken_away() {
    let shim = Shim::start("cat /layer-59; echo new > /written");
    let layers = shim.place.join("layers");
    // More than the page that mount(2) has for options.
    let lower: Vec<String> = (0..60)
        .map(|number| {
            let layer = layers.join(format!("{number:0>80}"));
            std::fs::create_dir_all(&layer).unwrap();
            std::fs::write(layer.join(format!("layer-{number}")), format!("{number}\n")).unwrap();
            layer.to_str().unwrap().to_owned()
        })
        .collect();
    let base = layers.join("base");
    std::fs::rename(shim.bundle.rootfs(), &base).unwrap();
    let (upper, work) = (layers.join("upper"), layers.join("work"));
    for dir in [&shim.bundle.rootfs(), &upper, &work] {
        std::fs::create_dir(dir).unwrap();
    }
    let mut request = shim.request();
    request.rootfs = vec![m::Mount {
        r#type: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec![
            format!("workdir={}", work.display()),
            format!("upperdir={}", upper.display()),
            format!("lowerdir={}:{}", lower.join(":"), base.display()),
        ],
    }];
    assert!(request.rootfs[0].options[2].len() > 4096);
    shim.create(&request);
    shim.started("").unwrap();
    assert_eq!(shim.wait(""), 0);
    assert_eq!(shim.logged()[0].1, "59\n");
    shim.deleted("").unwrap();
    assert_eq!(mounts(shim.place.dir()), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_to_string(upper.join("written")).unwrap(), "new\n");
    shim.shutdown();
}

#[test]
fn the_container_inherits_nothing_and_the_shim_does_not_heed_signals() {
    let shim = Shim::start("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; cat");
    shim.create(&shim.request());
    shim.started("").unwrap();
    wait_until("output", || shim.logged().len() >= 6);
    let listed: Vec<String> = shim.logged().into_iter().map(|(_, text)| text).collect();
    // The fourth is the folder that is listed.
    assert_eq!(listed[..4], ["0\n", "1\n", "2\n", "3\n"]);
    for line in &listed[4..] {
        let mask = u64::from_str_radix(line[8..].trim(), 16).unwrap();
        // glibc's posix_spawn leaves its own signal 32 ignored.
        assert_eq!(mask & !(1 << 31), 0, "{line:?}");
    }
    for signal in [1, 2, 13, 15] {
        gantry_sys::process::kill(shim.pid, signal).unwrap();
    }
    assert_eq!(shim.state("").status, m::Status::Running as i32);
    shim.kill(9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.end();
}

#[test]
fn a_shim_that_was_killed_is_cleaned_up_after() {
    let shim = Shim::start("sleep 1000");
    let pid = shim.create(&shim.request());
    shim.started("").unwrap();
    gantry_sys::process::kill(shim.pid, 9).unwrap();
    wait_until("the shim's end", || !alive(shim.pid));
    assert!(alive(pid.cast_signed()));
    assert_eq!((shim.clean().pid, shim.clean().exit_status), (pid, 137));
    assert!(!alive(pid.cast_signed()));
}

#[test]
fn numbers_and_limits() {
    let shim = Shim::start("sleep 1000");
    shim.create(&shim.request());
    shim.started("").unwrap();
    shim.exec("e", "sleep 900", |_| {});
    let pid = shim.started("e").unwrap();
    let pids: m::PidsResponse = shim.call("Pids", &named("")).unwrap();
    let details = pids.processes.iter().find(|process| process.pid == pid).unwrap();
    assert_eq!(
        details.info.as_ref().unwrap().type_url,
        "containerd.runc.v1.ProcessDetails"
    );
    let update = m::UpdateTaskRequest {
        id: ID.into(),
        resources: Some(m::Any {
            type_url: String::new(),
            value: br#"{"pids":{"limit":77}}"#.to_vec(),
        }),
        ..Default::default()
    };
    let () = shim.call("Update", &update).unwrap();
    let stats: m::StatsResponse = shim.call("Stats", &named("")).unwrap();
    let stats = stats.stats.unwrap();
    assert_eq!(stats.type_url, "io.containerd.cgroups.v1.Metrics");
    let metrics: m::metrics_v1::Metrics = prost::Message::decode(stats.value.as_slice()).unwrap();
    assert_eq!(metrics.pids.unwrap().limit, 77);
    assert!(metrics.memory.unwrap().usage.unwrap().usage > 0);
    shim.kill(9).unwrap();
    shim.wait("");
    // Its end came with the container's.
    assert_eq!(shim.wait("e"), 137);
    shim.end();
}
