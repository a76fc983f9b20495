//! SIGKILL at every step of every command, before each call that changes something: what is left must go away with
//! `delete --force`, and the id must be free again. strace counts the calls and sends the signal.
//!
//! By itself a test kills at some thirty places of a command; with `GANTRY_EVERY_STEP=1` at all of them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use gantry_testkit::cmd::wait_until;
use gantry_testkit::kernel;

use crate::container::{Container, RUNTIME};

/// Calls of the program that is called.
const OURS: &str = "mkdir,mkdirat,mknodat,symlink,symlinkat,openat,openat2,write,clone3,sendmsg,recvmsg,rename,renameat,
    unlink,unlinkat,rmdir,read,epoll_wait,wait4,pidfd_open,pidfd_send_signal,close_range,socketpair,kill,setns,unshare,
    newfstatat,statx,getdents64,exit_group";

/// Calls that only the process of the container makes.
const THEIRS: &str =
    "mount,umount2,pivot_root,fsopen,fsconfig,fsmount,open_tree,move_mount,mount_setattr,setresuid,setresgid,
    setgroups,capset,setsid,sethostname,fchdir,mknodat,symlinkat,mkdirat,keyctl,epoll_create1,epoll_ctl";

fn names(list: &str) -> String {
    list.split_whitespace().collect()
}

/// One place: before which of a program's calls it is killed.
#[derive(Clone, Debug)]
struct Step {
    call: String,
    nth: usize,
}

impl Container {
    fn traced(&self, flags: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("strace");
        command
            .args(flags)
            .args([RUNTIME, "--root"])
            .arg(self.place.join("state"))
            .args(words);
        // Whoever stays must not hold pipes of ours.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The steps of a command: of its own process, or of the one that it makes.
    fn steps(&self, calls: &str, theirs: bool, words: &[&str]) -> Vec<Step> {
        let trace = self.place.join("trace");
        let trace_name = trace.display().to_string();
        let set = format!("trace={}", names(calls));
        let follow: &[&str] = if theirs { &["-f"] } else { &[] };
        let flags: Vec<&str> = follow
            .iter()
            .copied()
            .chain(["-qq", "-e", &set, "-o", &trace_name])
            .collect();
        let status = self.traced(&flags, words).status().expect("strace");
        assert!(status.success(), "{words:?}");
        let text = fs::read_to_string(&trace).expect("the trace");
        let _ = fs::remove_file(trace);
        let first = text.split_whitespace().next().unwrap_or_default().to_owned();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        for line in text.lines() {
            let line = match theirs {
                // The number of the process stands before the call.
                true => match line.split_once(' ') {
                    Some((pid, rest)) if pid != first => rest.trim_start(),
                    _ => continue,
                },
                false => line,
            };
            let Some((call, _)) = line.split_once('(') else {
                continue;
            };
            let count = counts.entry(call.to_owned()).or_default();
            *count += 1;
            steps.push(Step {
                call: call.to_owned(),
                nth: *count,
            });
        }
        assert!(steps.len() > 5, "{words:?}: {text}");
        chosen(steps)
    }

    /// Runs a command that is killed at a step.
    fn killed(&self, step: &Step, theirs: bool, words: &[&str]) -> std::process::ExitStatus {
        let set = format!("trace={}", step.call);
        let inject = format!("inject={}:signal=SIGKILL:when={}", step.call, step.nth);
        let follow: &[&str] = if theirs { &["-f"] } else { &[] };
        let flags: Vec<&str> = follow
            .iter()
            .copied()
            .chain(["-qq", "-e", &set, "-e", &inject, "-o", "/dev/null"])
            .collect();
        self.traced(&flags, words).status().expect("strace")
    }

    /// What is left of the container anywhere, when the processes on their way out are gone.
    #[track_caller]
    fn nothing_is_left(&self, step: &Step) {
        let mut left = Vec::new();
        for _ in 0..100 {
            left = kernel::left(self.place.dir(), self.place.cgroup());
            left.retain(|line| !line.starts_with("cgroup ") || !line.ends_with(self.place.cgroup()));
            if left.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(left.is_empty(), "{step:?}: {left:#?}");
        let records = fs::read_dir(self.place.join("state")).map_or(0, Iterator::count);
        assert_eq!(records, 0, "{step:?}: a record is left");
    }

    /// `delete --force` takes everything away, and the container can be made again.
    #[track_caller]
    fn goes_away(&self, step: &Step) {
        let said = self.call("", &["delete", "--force", &self.id()]);
        assert_eq!(said.code, 0, "{step:?}: {said:#?}");
        self.nothing_is_left(step);
    }

    fn create_words(&self) -> Vec<String> {
        let dir = self.bundle.dir().display().to_string();
        ["create", "--bundle", &dir, &self.id()]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Some of the steps, evenly, or all.
fn chosen(steps: Vec<Step>) -> Vec<Step> {
    if std::env::var_os("GANTRY_EVERY_STEP").is_some() {
        return steps;
    }
    let stride = steps.len().div_ceil(30);
    // Another offset in every run: in time each is seen.
    let offset = std::process::id() as usize % stride;
    steps.into_iter().skip(offset).step_by(stride).collect()
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

#[test]
fn create() {
    let container = Container::new("exec sleep 100");
    let create = container.create_words();
    let steps = container.steps(OURS, false, &words(&create));
    container.delete();
    for step in &steps {
        container.killed(step, false, &words(&create));
        container.goes_away(step);
    }
    container.create();
    container.delete();
}

/// When the process of the container is killed it is the command that takes everything away, and says so.
#[test]
fn the_process_of_the_container() {
    let container = Container::new("");
    container.bundle.args(&["true"]);
    let dir = container.bundle.dir().display().to_string();
    let run = ["run", "--bundle", &dir, &container.id()];
    let steps = container.steps(THEIRS, true, &run);
    let mut failed = 0;
    for step in &steps {
        let status = container.killed(step, true, &run);
        failed += usize::from(!status.success());
        // Killed itself if it makes as many calls of the kind.
        match status.code() {
            Some(_) => container.nothing_is_left(step),
            None => container.goes_away(step),
        }
    }
    assert!(failed > steps.len() / 2, "{failed} of {}", steps.len());
    container.run().success();
}

#[test]
fn start() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    container.create();
    let steps = container.steps(OURS, false, &["start", &id]);
    container.delete();
    for step in &steps {
        container.create();
        container.killed(step, false, &["start", &id]);
        // Somebody else may come and start it, unless it was started.
        let said = container.call("", &["start", &id]);
        assert!(
            said.code == 0 || said.stderr.contains("already running"),
            "{step:?}: {said:#?}"
        );
        container.call("", &["exec", &id, "true"]).success();
        container.goes_away(step);
    }
}

#[test]
fn run() {
    let container = Container::new("exec usleep 30000");
    let dir = container.bundle.dir().display().to_string();
    let run = ["run", "--bundle", &dir, &container.id()];
    let steps = container.steps(OURS, false, &run);
    for step in &steps {
        container.killed(step, false, &run);
        container.goes_away(step);
    }
    container.run().success();
}

#[test]
fn exec() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    container.create();
    container.call("", &["start", &id]).success();
    let exec = ["exec", &id, "usleep", "30000"];
    for step in container.steps(OURS, false, &exec) {
        container.killed(&step, false, &exec);
        let cgroup = container.place.cgroup();
        wait_until("the end of the process", || {
            let folder = kernel::cgroups(cgroup)
                .into_iter()
                .find(|path| path.ends_with("pids") || path.ends_with("c"));
            let pids = fs::read_to_string(folder.expect("a cgroup").join("cgroup.procs")).unwrap_or_default();
            pids.lines().count() == 1
        });
        assert_eq!(
            container
                .call("", &["exec", &id, "echo", "fine"])
                .success()
                .line(),
            "fine",
            "{step:?}"
        );
    }
    container.delete();
    container.is_gone();
}

#[test]
fn delete() {
    let container = Container::new("exec sleep 100");
    let id = container.id();
    let delete = ["delete", "--force", &id];
    container.create();
    container.call("", &["start", &id]).success();
    for step in container.steps(OURS, false, &delete) {
        container.create();
        container.call("", &["start", &id]).success();
        container.killed(&step, false, &delete);
        container.goes_away(&step);
    }
}
