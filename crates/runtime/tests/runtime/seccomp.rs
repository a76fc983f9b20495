//! Filters of system calls around real programs: the same cases by us and by Debian's runc, and what only we say of them.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::Command;

use gantry_testkit::cmd::{Said, run};
use serde_json::{Value, json};

use crate::container::{Container, RUNTIME};

/// A container with a profile, with or without no_new_privs.
fn with(script: &str, profile: Value, no_new_privs: bool) -> Container {
    let container = Container::new(script);
    container.bundle.change(|config| {
        config["linux"]["seccomp"] = profile;
        // Ambient ones that are not inheritable are warned of.
        config["process"]["capabilities"]["ambient"] = json!([]);
        config["process"]["noNewPrivileges"] = json!(no_new_privs);
    });
    container
}

/// The same container by Debian's runc.
fn by_runc(container: &Container) -> Said {
    let mut command = Command::new("runc");
    command.arg("--root").arg(container.place.join("runc"));
    command
        .args(["run", "--bundle"])
        .arg(container.bundle.dir())
        .arg(container.id());
    run(&mut command)
}

fn but(names: &[&str], action: &str, errno: Option<u32>) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": names, "action": action, "errnoRet": errno }] })
}

#[test]
fn every_action_does_what_it_does_under_runc() {
    let mkdir = |action: &str, errno| but(&["mkdir", "mkdirat"], action, errno);
    for (profile, says, code) in [
        (mkdir("SCMP_ACT_ERRNO", None), "Operation not permitted", 1),
        (mkdir("SCMP_ACT_ERRNO", Some(100)), "Network is down", 1),
        (mkdir("SCMP_ACT_ALLOW", None), "", 0),
        (mkdir("SCMP_ACT_LOG", None), "", 0),
        // Without a tracer there is no such call.
        (mkdir("SCMP_ACT_TRACE", Some(3)), "Function not implemented", 1),
        // SIGSYS.
        (mkdir("SCMP_ACT_TRAP", None), "", 159),
        (mkdir("SCMP_ACT_KILL", None), "", 159),
        (mkdir("SCMP_ACT_KILL_THREAD", None), "", 159),
        (mkdir("SCMP_ACT_KILL_PROCESS", None), "", 159),
    ] {
        for no_new_privs in [false, true] {
            let container = with("", profile.clone(), no_new_privs);
            container.bundle.args(&["mkdir", "/tmp/new"]);
            container.bundle.change(|config| {
                config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }])
            });
            let ours = container.run();
            let _ = fs::remove_dir(container.bundle.rootfs().join("tmp/new"));
            let theirs = by_runc(&container);
            assert!(
                ours.code == code && ours.stderr.contains(says),
                "{profile}: {ours:#?}"
            );
            assert_eq!(
                (ours.code, &ours.stderr),
                (theirs.code, &theirs.stderr),
                "{profile}"
            );
            container.is_gone();
        }
    }
}

#[test]
fn arguments_decide_as_under_runc() {
    let script = "for mode in 0 600 640 644 664 755 777 7777; do chmod $mode /tmp/file 2>/dev/null && echo yes || echo no; done";
    for (op, value, two) in [
        ("NE", 0o644, 0),
        ("LT", 0o644, 0),
        ("LE", 0o644, 0),
        ("EQ", 0o644, 0),
        ("GE", 0o644, 0),
        ("GT", 0o644, 0),
        ("MASKED_EQ", 0o022, 0o020),
    ] {
        let conditions = |index| json!([{ "index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}") }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": conditions(1) },
            { "names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": conditions(2) },
        ] });
        let container = with(script, profile, false);
        fs::write(container.bundle.rootfs().join("tmp/file"), "").expect("a file");
        let ours = container.run().success();
        assert!(
            ours.stdout.contains("yes") && ours.stdout.contains("no"),
            "{op}: {ours:#?}"
        );
        assert_eq!(ours.stdout, by_runc(&container).success().stdout, "{op}");
    }
}

/// What busybox asks of the kernel to enter a namespace and to do nothing.
const LITTLE: &str = "access arch_prctl brk capget capset chdir clone clone3 close close_range dup2 epoll_ctl epoll_create1
    epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat faccessat2 fchdir fchmodat fcntl fstat fstatfs futex
    getdents64 getegid geteuid getgid getpid getppid getrandom gettid getuid ioctl lseek madvise mmap mprotect munmap nanosleep
    newfstatat openat pipe2 poll prctl pread64 prlimit64 read readlink readlinkat rseq rt_sigaction rt_sigprocmask rt_sigreturn
    sched_getaffinity sched_yield set_robust_list set_tid_address setgid setgroups setuid sigaltstack stat statx tgkill umask
    uname wait4 write";

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    // `setns` is newer than the newest of the one list, and older than that of the other.
    for (more, says) in [
        (None, "Function not implemented"),
        (Some("clone3"), "Operation not permitted"),
    ] {
        let names: Vec<&str> = LITTLE
            .split_whitespace()
            .filter(|name| {
                ![
                    "clone3",
                    "close_range",
                    "faccessat2",
                    "getrandom",
                    "rseq",
                    "statx",
                ]
                .contains(name)
            })
            .chain(more)
            .collect();
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] });
        for no_new_privs in [false, true] {
            let container = with("", profile.clone(), no_new_privs);
            container
                .bundle
                .args(&["busybox", "nsenter", "-n/proc/self/ns/net", "true"]);
            container.run().failure(says);
        }
    }
}

/// What we do ourselves between the filter and the program does not have to be in the profile: less than runc needs.
#[test]
fn a_profile_speaks_of_the_program_alone() {
    let little: Vec<&str> =
        "arch_prctl brk execve exit_group getrandom getuid mprotect prctl prlimit64 readlinkat readlink rseq
        set_robust_list set_tid_address setgid setuid"
            .split_whitespace()
            .collect();
    for (no_new_privs, more) in [(true, None), (false, Some("capset"))] {
        let names: Vec<&str> = little.iter().copied().chain(more).collect();
        let profile = json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "defaultErrnoRet": null,
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] });
        let container = with("", profile, no_new_privs);
        container.bundle.args(&["true"]);
        container.run().success();
    }
}

/// The filter is there, and nothing that was kept for it is.
#[test]
fn nothing_stays_but_the_filter() {
    let script = "grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status";
    for no_new_privs in [false, true] {
        for uid in [0, 1000] {
            let container = with(script, but(&["acct"], "SCMP_ACT_ERRNO", None), no_new_privs);
            container.bundle.change(|config| {
                config["process"]["user"] = json!({ "uid": uid, "gid": uid });
                for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                    config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
                }
            });
            let said = container.run().success();
            let field = |name: &str| {
                let line = said
                    .stdout
                    .lines()
                    .find(|line| line.starts_with(name))
                    .expect("a line");
                line.split_whitespace().nth(1).expect("its value").to_owned()
            };
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(set), "0000000000000020", "{set} {uid} {no_new_privs}");
            }
            assert_eq!(
                (field("Seccomp:"), field("Seccomp_filters:")),
                ("2".into(), "1".into())
            );
            assert_eq!(field("NoNewPrivs:"), u8::from(no_new_privs).to_string());
            let theirs = by_runc(&container).success();
            assert_eq!(said.stdout, theirs.stdout);
        }
    }
}

#[test]
fn exec_and_hooks_are_filtered_too() {
    let container = with(
        "sleep 100",
        but(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", Some(100)),
        false,
    );
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "mkdir /tmp/new 2>/tmp/said; true"] });
    container
        .bundle
        .change(|config| config["hooks"] = json!({ "startContainer": [hook] }));
    container.create();
    container.call("", &["start", &container.id()]).success();
    container
        .call("", &["exec", &container.id(), "mkdir", "/tmp/new"])
        .failure("Network is down");
    let said = container.bundle.rootfs().join("tmp/said");
    gantry_testkit::cmd::wait_until("the hook", || {
        fs::read_to_string(&said).is_ok_and(|text| !text.is_empty())
    });
    assert!(
        fs::read_to_string(said)
            .expect("the hook's words")
            .contains("Network is down")
    );
    let status = ["exec", &container.id(), "grep", "Seccomp", "/proc/self/status"];
    assert!(
        container
            .call("", &status)
            .success()
            .stdout
            .contains("Seccomp:\t2")
    );
    container.delete();
    container.is_gone();
}

/// The flags reach the kernel.
#[test]
fn flags_are_loaded() {
    for (flags, said) in [
        (Value::Null, "SECCOMP_FILTER_FLAG_SPEC_ALLOW, {"),
        (json!([]), "SECCOMP_SET_MODE_FILTER, 0, {"),
        (
            json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]),
            "SECCOMP_FILTER_FLAG_LOG, {",
        ),
    ] {
        let mut profile = but(&["acct"], "SCMP_ACT_ERRNO", None);
        profile["flags"] = flags;
        let container = with("true", profile, true);
        let trace = container.place.join("trace");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-e", "trace=seccomp", "-o"])
            .arg(&trace)
            .args([RUNTIME, "--root"]);
        command
            .arg(container.place.join("state"))
            .args(["run", "--bundle"]);
        run(command.arg(container.bundle.dir()).arg(container.id())).success();
        let text = fs::read_to_string(trace).expect("the trace");
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// What is told of can be had.
#[test]
fn features_are_true() {
    let container = Container::new("true");
    let said = container.call("", &["features"]).success();
    let features: Value = serde_json::from_str(&said.stdout).expect("the features");
    let seccomp = features["linux"]["seccomp"].clone();
    let list = |name: &str| seccomp[name].as_array().expect("a list").clone();
    assert_eq!(list("actions").len(), 9);
    assert_eq!(list("operators").len(), 7);
    assert_eq!(
        seccomp["knownFlags"], seccomp["supportedFlags"],
        "on a kernel since 5.19"
    );
    for action in list("actions")
        .iter()
        .filter(|action| *action != "SCMP_ACT_NOTIFY")
    {
        container.bundle.change(|config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": seccomp["archs"],
                "flags": seccomp["supportedFlags"], "syscalls": [{ "names": ["acct"], "action": action }] });
        });
        container.run().success();
    }
}

/// Somebody who is sent listeners.
struct Agent(UnixListener);

impl Agent {
    fn new(container: &Container) -> Self {
        let path = container.place.join("agent");
        container
            .bundle
            .change(|config| config["linux"]["seccomp"]["listenerPath"] = json!(path));
        Self(UnixListener::bind(path).expect("a socket"))
    }

    /// The state of one process. Its listener is given up at once: the calls do not exist then.
    fn heard(&self) -> Value {
        let (mut peer, _) = self.0.accept().expect("a connection");
        let (mut text, listener) = gantry_sys::socket::receive(peer.as_fd(), 1 << 16).expect("a message");
        let listener = listener.expect("a descriptor");
        let link = fs::read_link(gantry_sys::path::of_fd(listener.as_fd())).expect("its name");
        assert!(link.to_string_lossy().contains("seccomp notify"), "{link:?}");
        // One state, and the end of the connection.
        peer.read_to_end(&mut text).expect("the rest");
        serde_json::from_slice(&text).expect("a state")
    }
}

/// A notifying filter's listener is sent where the profile says, with what the specification says, and neither a filter over
/// what we use ourselves nor the answers of the listener keep the container from being made.
#[test]
fn listeners_are_handed_on() {
    for no_new_privs in [false, true] {
        let mut profile = but(
            &["mkdir", "mkdirat", "sendmsg", "recvmsg", "sendto"],
            "SCMP_ACT_NOTIFY",
            None,
        );
        profile["listenerMetadata"] = json!("what = ever");
        profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
        let container = with("mkdir /tmp/new; exec sleep 100", profile, no_new_privs);
        let large = "x".repeat(300_000);
        container
            .bundle
            .change(|config| config["annotations"] = json!({ "a": "b", "large": large }));
        let agent = Agent::new(&container);
        let state = std::thread::spawn(move || (agent.heard(), agent));
        let pid = container.create();
        let (heard, agent) = state.join().expect("the agent");
        assert_eq!(heard["fds"], json!(["seccompFd"]));
        assert_eq!(heard["metadata"], "what = ever");
        assert_eq!(
            (&heard["pid"], &heard["state"]["pid"]),
            (&json!(pid), &json!(pid))
        );
        assert_eq!(heard["state"]["status"], "creating");
        assert_eq!(heard["state"]["id"], container.id());
        assert_eq!(heard["state"]["bundle"], json!(container.bundle.dir()));
        assert_eq!(
            heard["state"]["annotations"]["large"].as_str().map(str::len),
            Some(300_000)
        );
        assert_eq!(heard["ociVersion"], heard["state"]["ociVersion"]);
        container.call("", &["start", &container.id()]).success();
        let state = std::thread::spawn(move || agent.heard());
        let said = container.call("", &["exec", &container.id(), "mkdir", "/tmp/other"]);
        said.failure("Function not implemented");
        let heard = state.join().expect("the agent");
        assert_eq!(heard["state"]["status"], "running");
        assert_eq!(heard["state"]["pid"], pid);
        assert_ne!(heard["pid"], pid);
        container.delete();
        container.is_gone();
    }
}

#[test]
fn what_cannot_be_is_one_error_and_nothing_is_left() {
    let notify = |names: &[&str], path: &str| {
        let mut profile = but(names, "SCMP_ACT_NOTIFY", None);
        profile["listenerPath"] = json!(path);
        profile
    };
    let with_more = |name: &str, value: Value| {
        let mut profile = but(&["mkdir"], "SCMP_ACT_ERRNO", None);
        profile[name] = value;
        profile
    };
    let arg = json!([{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }]);
    for (profile, says, runc_says) in [
        (
            with_more("architectures", json!(["SCMP_ARCH_PDP11"])),
            "string SCMP_ARCH_PDP11 is not a valid arch for seccomp",
            "string SCMP_ARCH_PDP11 is not a valid arch for seccomp",
        ),
        (
            with_more("flags", json!(["X"])),
            "seccomp flag X is not known to runc",
            "",
        ),
        (
            with_more("defaultAction", json!("SCMP_ACT_NOTIFY")),
            "cannot be used as default action",
            "cannot be used as default action",
        ),
        (
            with_more("defaultAction", json!("SCMP_ACT_X")),
            "SCMP_ACT_X",
            "string SCMP_ACT_X is not a valid action for seccomp",
        ),
        (
            with_more(
                "syscalls",
                json!([{ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [{ "index": 0, "value": 0, "op": "X" }] }]),
            ),
            "unknown variant `X`",
            "string X is not a valid operator for seccomp",
        ),
        (
            with_more(
                "syscalls",
                json!([{ "names": ["read"], "action": "SCMP_ACT_KILL", "args": arg }]),
            ),
            "a system call has arguments 0 to 5",
            "error creating seccomp syscall condition",
        ),
        (
            notify(&["write"], "/x"),
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            notify(&["mkdir"], ""),
            "seccomp listenerPath is not set",
            "listenerPath is not set",
        ),
        (
            notify(&["mkdir"], "/does/not/exist"),
            "failed to connect with seccomp agent",
            "failed to connect with seccomp agent",
        ),
        (
            notify(&["mkdir"], "@nobody-is-here"),
            "failed to connect with seccomp agent",
            "failed to connect with seccomp agent",
        ),
    ] {
        let container = with("true", profile, false);
        let ours = container.run().failure(says);
        assert_eq!(ours.code, 1);
        assert_eq!(ours.stderr.lines().count(), 1, "{ours:#?}");
        container.is_gone();
        if !runc_says.is_empty() {
            by_runc(&container).failure(runc_says);
        }
    }
}
