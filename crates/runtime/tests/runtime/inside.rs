//! What processes of a container can see and reach of ours: the one that becomes the container's, the one that `exec` sends
//! in, and the kernel's files. Another container in the same namespace of process ids looks while ours stand still.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use gantry_testkit::cmd::wait_until;
use gantry_testkit::kernel::alive;
use serde_json::{Value, json};

use crate::container::{Container, RUNTIME};

const O_PATH: i32 = 0o10_000_000;

/// Says which secrets of a process a container gets at: all that asks the kernel whether the one may look into the other.
fn script(pid: i32) -> String {
    format!(
        "cd /proc/{pid} || exit
        for name in fd/* map_files/* cwd root exe ns/*; do readlink $name && echo reached $name; done 2>/dev/null
        for name in environ maps mem auxv stack syscall fd/*; do head -c 1 $name && echo reached $name; done 2>/dev/null
        echo looked"
    )
}

/// A container that runs, and with which others can share its processes.
fn watcher() -> (Container, i32) {
    let container = Container::new("exec sleep 100");
    let pid = container.create();
    container.call("", &["start", &container.id()]).success();
    (container, pid)
}

fn share_processes(container: &Container, with: i32) {
    container.bundle.change(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().expect("namespaces") {
            if namespace["type"] == "pid" {
                namespace["path"] = json!(format!("/proc/{with}/ns/pid"));
            }
        }
    });
}

/// Its number in its own namespace of processes.
fn inner(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status
        .lines()
        .find(|line| line.starts_with("NSpid:"))
        .expect("its numbers");
    line.split_whitespace()
        .next_back()
        .and_then(|last| last.parse().ok())
        .expect("a number")
}

/// Before it is started the container's process is still our program, with all rights.
#[test]
fn a_process_that_waits_to_be_started_is_not_looked_into() {
    let (watching, first) = watcher();
    for no_new_privs in [false, true] {
        let waiting = Container::new("exec sleep 100");
        share_processes(&waiting, first);
        waiting.bundle.change(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privs);
            // Then it keeps a right of the host for loading the filter.
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        });
        let pid = waiting.create();
        let look = ["exec", &watching.id(), "sh", "-c", &script(inner(pid))];
        let said = watching.call("", &look).success();
        assert_eq!(said.line(), "looked", "{said:?}");
        waiting.delete();
    }
    watching.delete();
}

/// Ends and reaps a program that waits.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CVE-2016-9962, CVE-2019-5736: the process that `exec` makes is seen by the container while it is still ours. It stands still
/// in the middle because the container's cgroup is frozen.
#[test]
fn a_process_on_its_way_into_a_container_is_not_looked_into() {
    let (entered, first) = watcher();
    let watching = Container::new("exec sleep 100");
    share_processes(&watching, first);
    watching.create();
    watching.call("", &["start", &watching.id()]).success();
    entered.call("", &["pause", &entered.id()]).success();

    let before = below(first);
    let mut exec = entered.command("", &["exec", "--ignore-paused", &entered.id(), "true"]);
    exec.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let exec = Waiting(exec.spawn().expect("the runtime"));
    let pid = std::cell::Cell::new(0);
    wait_until("the process on its way", || {
        let new = below(first).into_iter().find(|one| !before.contains(one));
        pid.set(new.unwrap_or(0));
        // In the cgroup it stands.
        new.is_some_and(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| text.contains(entered.place.cgroup()))
        })
    });
    let pid = pid.get();
    let exe = gantry_sys::path::open(Path::new(&format!("/proc/{pid}/exe")), O_PATH).expect("its program");
    assert!(
        gantry_sys::path::is_read_only(exe.as_fd()).expect("its mount"),
        "the program can be written"
    );
    let look = ["exec", &watching.id(), "sh", "-c", &script(inner(pid))];
    let said = watching.call("", &look).success();
    assert_eq!(said.line(), "looked", "{said:?}");
    entered.call("", &["resume", &entered.id()]).success();
    wait_until("the end of exec", || !alive(pid));
    drop(exec);
    watching.delete();
    entered.delete();
}

/// The processes in the namespace of another one.
fn below(first: i32) -> Vec<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(first);
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| namespace(*pid) == wanted)
        .collect()
}

/// CVE-2019-5736: a program of the image that is `#!/proc/self/exe` makes the container run the runtime's file, and that process
/// is the container's own: nothing keeps it from being looked into. Its file cannot be written all the same.
#[test]
fn the_program_that_was_led_to_itself_is_not_overwritten() {
    for by_exec in [false, true] {
        let container = Container::new("exec sleep 100");
        let rootfs = container.bundle.rootfs();
        // It opens its log, and waits there for a reader.
        let entry = rootfs.join("bin/entry");
        fs::write(&entry, "#!/proc/self/exe --log=/tmp/log\n").expect("a file");
        fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("its mode");
        if !by_exec {
            container.bundle.args(&["/bin/entry"]);
        }
        // The program as it is tested is not static.
        for libraries in ["/lib", "/lib64", "/usr/lib"] {
            container.mount(json!({ "destination": libraries, "type": "bind", "source": libraries, "options": ["rbind", "ro"] }));
        }
        let tmp = gantry_sys::path::open(&rootfs.join("tmp"), O_PATH).expect("a folder");
        gantry_sys::path::make_node_at(tmp.as_fd(), "log".as_ref(), 0o010_666, 0).expect("a FIFO");
        container.create();
        container.call("", &["start", &container.id()]).success();
        let executed = by_exec.then(|| {
            let mut exec = container.command("", &["exec", &container.id(), "/bin/entry"]);
            exec.stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Waiting(exec.spawn().expect("the runtime"))
        });
        // On its own mount it has no name of the container's.
        let attack = "for try in $(seq 2000); do for exe in /proc/[0-9]*/exe; do
                case $(readlink $exe) in /bin/*|'') continue ;; esac
                ( : >$exe ) 2>&1; cp /bin/entry $exe 2>&1; exit 0
            done; usleep 10000; done; exit 1";
        let before = fs::metadata(RUNTIME).expect("the program");
        let said = container
            .call("", &["exec", &container.id(), "sh", "-c", attack])
            .success();
        let after = fs::metadata(RUNTIME).expect("the program");
        assert_eq!(
            (before.len(), before.modified().ok()),
            (after.len(), after.modified().ok())
        );
        assert_eq!(
            said.stdout.matches("Read-only file system").count(),
            2,
            "{said:#?}"
        );
        container.delete();
        drop(executed);
    }
}

/// Files of the kernel through which the host is told what to do.
#[test]
fn the_kernel_is_not_told_anything() {
    let gadgets = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sysrq-trigger
        /proc/irq/default_smp_affinity /proc/sys/fs/binfmt_misc/register /proc/sys/kernel/hostname /proc/bus/x /proc/fs/x
        /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent
        /sys/kernel/vmcoreinfo /sys/class/x";
    let masked =
        "/proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug";
    let script = format!(
        "for file in {}; do ( : >$file ) 2>/dev/null && echo wrote $file; done
         for file in {masked}; do test -e $file && test -n \"$(head -c 1 $file | tr '\\0' x)\" && echo read $file; done
         for dir in /sys/firmware /proc/acpi /proc/scsi; do test -d $dir && ls $dir | grep . && echo saw $dir; done
         (mount -o remount,rw /proc/sys || mount -t proc proc /tmp || umount /proc/kcore) 2>/dev/null && echo mounted
         echo over",
        gadgets.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    let container = Container::new(&script);
    let said = container.run().success();
    assert_eq!(said.line(), "over", "{said:?}");
}

/// However their paths are written, masked and read-only places are those.
#[test]
fn masks_are_found_by_any_path() {
    let script = "for file in keys timer_list; do test -n \"$(head -c 1 /proc/$file | tr '\\0' x)\" && echo read $file; done
        ( : >/proc/sys/net/ipv4/ip_forward ) 2>/dev/null && echo wrote; ( : >/etc/kept ) 2>/dev/null && echo changed; echo over";
    let container = Container::new(script);
    fs::write(container.bundle.rootfs().join("etc/kept"), "").expect("a file");
    container.bundle.change(|config| {
        config["linux"]["maskedPaths"] = json!([
            "/proc/./keys",
            "//proc/../proc/timer_list",
            "/proc/nowhere",
            "/nowhere/at/all"
        ]);
        config["linux"]["readonlyPaths"] = json!(["/etc/../proc/sys/", "/proc/self/root/etc", "/etc/"]);
    });
    assert_eq!(container.run().success().line(), "over");
}

/// CVE-2022-29162: a capability that is inheritable comes back to a program with capabilities of its file, whoever runs it.
#[test]
fn no_capability_is_inheritable_unless_it_is_asked_for() {
    let sets = "grep -E '^Cap(Inh|Amb)' /proc/self/status";
    let container = Container::new(&format!("{sets}; exec sleep 100"));
    container.bundle.change(|config| {
        let given = config["process"]["capabilities"]
            .as_object_mut()
            .expect("capabilities");
        given.remove("inheritable");
        given.remove("ambient");
    });
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000";
    container.bundle.shell(sets);
    assert_eq!(container.run().success().line(), none);
    container.bundle.args(&["sleep", "100"]);
    container.create();
    container.call("", &["start", &container.id()]).success();
    for flags in [&[][..], &["--cap", "CAP_NET_ADMIN"], &["--user", "1000"]] {
        let id = container.id();
        let words: Vec<&str> = ["exec"]
            .iter()
            .chain(flags)
            .copied()
            .chain([&*id, "sh", "-c", sets])
            .collect();
        assert_eq!(container.call("", &words).success().line(), none, "{flags:?}");
    }
    let process = container.place.join("process.json");
    let mut config: Value = container.bundle.config()["process"].take();
    config["args"] = json!(["sh", "-c", sets]);
    fs::write(&process, config.to_string()).expect("a file");
    let words = [
        "exec",
        "--process",
        &process.display().to_string(),
        &container.id(),
    ];
    assert_eq!(container.call("", &words).success().line(), none);
    container.delete();
}

/// Variables of systemd's protocol that were meant for somebody else, and numbers beyond all that can be.
#[test]
fn descriptors_are_passed_on_by_whom_they_are_passed_to() {
    let container = Container::new("ls /proc/self/fd; echo $LISTEN_FDS");
    let dir = container.bundle.dir().display().to_string();
    let id = container.id();
    let run = ["run", "--bundle", &dir, &id];
    let listed = |before: &str| {
        let said = container.call(before, &run).success();
        said.stdout.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    let to_another = "exec 3</; export LISTEN_FDS=1 LISTEN_PID=1;";
    assert_eq!(listed(to_another), "0 1 2 3");
    assert_eq!(listed("exec 3</; export LISTEN_FDS=1;"), "0 1 2 3");
    // The shell becomes the runtime.
    assert_eq!(
        listed("exec 3</; export LISTEN_FDS=1 LISTEN_PID=$$;"),
        "0 1 2 3 4 1"
    );
    for (listened, preserved) in [
        ("4294967295", "0"),
        ("4294967290", "4294967290"),
        ("0", "4294967295"),
    ] {
        let before = format!("export LISTEN_FDS={listened} LISTEN_PID=$$;");
        let run = ["run", "--preserve-fds", preserved, "--bundle", &dir, &id];
        let said = container.call(&before, &run).failure("");
        assert!(!said.stderr.contains("panicked"), "{said:?}");
    }
    container.is_gone();
}

/// Who waits for the container adopts its orphans where it has no namespace of processes, and does not keep them as zombies.
#[test]
fn orphans_are_reaped() {
    let script = "( usleep 50000 & ); usleep 400000
        for status in /proc/[0-9]*/status; do
            grep -q \"^PPid:[[:space:]]*$PPID$\" $status 2>/dev/null && grep ^State $status
        done; echo over; exit 3";
    let container = Container::new(script);
    container.bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "pid");
    });
    let said = container.run().code(3);
    assert!(
        said.stdout.ends_with("over\n") && said.stdout.contains("State:"),
        "{said:?}"
    );
    assert!(!said.stdout.contains('Z'), "{said:?}");
    container.is_gone();
}
