//! What a container sees and may do.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::Runtime;

crate::on_both! {
    everything_is_its_own
    capabilities_are_those_of_the_configuration
    who_it_is
    rlimits_and_oom_score
    mounts_of_every_kind
    mounts_never_leave_the_root
    paths_are_masked_or_read_only
    devices
    filters_refuse_calls
    namespaces_are_joined
    kernel_parameters
}

fn everything_is_its_own(runtime: &Runtime) {
    let bundle = runtime.bundle("echo $$; hostname; ls /sys/class/net; ls / | wc -w; cat /proc/self/cgroup");
    bundle.change(|config| config["hostname"] = json!("inner"));
    let said = runtime.run(&bundle).success();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[..3], ["1", "inner", "lo"]);
    assert_eq!(lines[3], "8");
    assert_ne!(
        fs::read_to_string("/proc/sys/kernel/hostname")
            .expect("the host's name")
            .trim(),
        "inner"
    );
}

fn capabilities_are_those_of_the_configuration(runtime: &Runtime) {
    let bundle = runtime.bundle("grep -E '^Cap|NoNewPrivs' /proc/self/status");
    let sets = json!(["CAP_CHOWN", "CAP_KILL"]);
    bundle.change(|config| {
        config["process"]["capabilities"] =
            json!({ "bounding": sets, "effective": sets, "permitted": sets, "inheritable": [], "ambient": [] });
    });
    let said = runtime.run(&bundle).success();
    let bits = "0000000000000021";
    let expected = format!(
        "CapInh:\t0000000000000000\nCapPrm:\t{bits}\nCapEff:\t{bits}\nCapBnd:\t{bits}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"
    );
    assert_eq!(said.stdout, expected);
    bundle.change(|config| {
        let ambient = json!(["CAP_NET_BIND_SERVICE"]);
        config["process"]["capabilities"] = json!({ "bounding": ambient, "effective": ambient, "permitted": ambient,
            "inheritable": ambient, "ambient": ambient });
        config["process"]["noNewPrivileges"] = json!(false);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let said = runtime.run(&bundle).success();
    let bits = "0000000000000400";
    assert_eq!(
        said.stdout,
        format!(
            "CapInh:\t{bits}\nCapPrm:\t{bits}\nCapEff:\t{bits}\nCapBnd:\t{bits}\nCapAmb:\t{bits}\nNoNewPrivs:\t0\n"
        )
    );
}

fn who_it_is(runtime: &Runtime) {
    let bundle = runtime.bundle("id -u; id -g; id -G; umask; pwd; echo $HOME");
    bundle.change(|config| {
        config["process"]["user"] =
            json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27 });
        config["process"]["cwd"] = json!("/made/up");
    });
    let said = runtime.run(&bundle).success();
    assert_eq!(said.stdout, "1000\n1001\n1001 5 6\n0027\n/made/up\n/\n");
}

fn rlimits_and_oom_score(runtime: &Runtime) {
    let bundle = runtime.bundle("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    bundle.change(|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        config["process"]["oomScoreAdj"] = json!(123);
    });
    assert_eq!(runtime.run(&bundle).success().stdout, "100\n0\n123\n");
}

fn mounts_of_every_kind(runtime: &Runtime) {
    let script = "cat /in/file; touch /in/new 2>&1; cat /one; echo x > /t/x && ls /t; grep ' /t ' /proc/self/mountinfo | \
        grep -c 'nosuid.*size=1024k'; touch /sys/x 2>&1";
    let bundle = runtime.bundle(script);
    let source = runtime.place.join("source");
    fs::create_dir(&source).expect("a folder");
    fs::write(source.join("file"), "bound\n").expect("a file");
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(
            json!({ "destination": "/in", "source": source, "type": "bind", "options": ["rbind", "ro"] }),
        );
        mounts.push(json!({ "destination": "/one", "source": source.join("file"), "options": ["bind"] }));
        let options = ["nosuid", "size=1m", "mode=700"];
        mounts.push(json!({ "destination": "/t", "source": "tmpfs", "type": "tmpfs", "options": options }));
    });
    let said = runtime.run(&bundle);
    let expected =
        "bound\ntouch: /in/new: Read-only file system\nbound\nx\n1\ntouch: /sys/x: Read-only file system\n";
    assert_eq!(said.stdout, expected, "{said:#?}");
    assert!(!source.join("new").exists());
}

/// A link in the image is followed inside the image.
fn mounts_never_leave_the_root(runtime: &Runtime) {
    let bundle = runtime.bundle("cat /deep/inside/file");
    let outside = runtime.place.join("outside");
    fs::create_dir(&outside).expect("a folder");
    let source = runtime.place.join("source");
    fs::create_dir(&source).expect("a folder");
    fs::write(source.join("file"), "bound\n").expect("a file");
    symlink("../../../../../../../../../..", bundle.rootfs().join("up")).expect("a link");
    symlink(&outside, bundle.rootfs().join("out")).expect("a link");
    let destinations = [
        format!("/up{}/a", outside.display()),
        "/out/b".to_owned(),
        "/deep/inside".to_owned(),
    ];
    bundle.change(|config| {
        for destination in &destinations {
            let mount =
                json!({ "destination": destination, "source": source, "type": "bind", "options": ["bind"] });
            config["mounts"].as_array_mut().expect("mounts").push(mount);
        }
    });
    assert_eq!(runtime.run(&bundle).success().stdout, "bound\n");
    assert_eq!(fs::read_dir(&outside).expect("the folder").count(), 0);
}

fn paths_are_masked_or_read_only(runtime: &Runtime) {
    let script = "ls /secret | wc -l; cat /hidden | wc -c; touch /fixed/x 2>&1; \
        (echo 1 > /proc/sys/kernel/panic) 2>&1; touch /x 2>&1; touch /tmp/x 2>&1";
    let bundle = runtime.bundle(script);
    for dir in ["secret", "fixed"] {
        fs::create_dir(bundle.rootfs().join(dir)).expect("a folder");
    }
    fs::write(bundle.rootfs().join("secret/x"), "").expect("a file");
    fs::write(bundle.rootfs().join("hidden"), "secret").expect("a file");
    bundle.change(|config| {
        let linux = &mut config["linux"];
        let more = ["/secret", "/hidden", "/not/there"].map(|path| json!(path));
        linux["maskedPaths"].as_array_mut().expect("paths").extend(more);
        linux["readonlyPaths"]
            .as_array_mut()
            .expect("paths")
            .extend(["/fixed", "/not/there"].map(|path| json!(path)));
        config["root"]["readonly"] = json!(true);
    });
    let said = runtime.run(&bundle);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{said:#?}");
    assert!(
        lines[2..]
            .iter()
            .all(|line| line.contains("Read-only file system")),
        "{said:#?}"
    );
    assert_eq!(lines.len(), 6, "{said:#?}");
}

fn devices(runtime: &Runtime) {
    let script = "cd /dev; ls -l null zero full random urandom tty | cut -c1-10 | sort -u; for l in ptmx fd stdin; do readlink $l; done; echo x > null; \
        head -c 3 zero | wc -c; mknod /n c 1 3 && echo y > /n; mknod /m b 1 0 && cat /m; cat /dev/fuse; ls -l /dev/mine | cut -c1-24";
    let bundle = runtime.bundle(script);
    bundle.change(|config| {
        let device = json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 });
        let fuse = json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0 });
        config["linux"]["devices"] = json!([device, fuse]);
        let sets = config["process"]["capabilities"].as_object_mut().expect("capabilities");
        for set in sets.values_mut() {
            set.as_array_mut().expect("a set").push(json!("CAP_MKNOD"));
        }
    });
    let said = runtime.run(&bundle);
    let expected = "crw-rw-rw-\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n3\n";
    assert!(said.stdout.starts_with(expected), "{said:#?}");
    assert!(said.stdout.trim_end().ends_with("crw-r-----    1 3"), "{said:#?}");
    // Made it may be, but neither written nor read: the device cgroup decides.
    assert!(said.stderr.contains("'/m': Operation not permitted"), "{said:#?}");
    assert!(
        said.stderr.contains("'/dev/fuse': Operation not permitted"),
        "{said:#?}"
    );
}

fn filters_refuse_calls(runtime: &Runtime) {
    let bundle =
        runtime.bundle("mkdir /tmp/x; chmod 600 /tmp && chmod 644 /tmp; grep Seccomp: /proc/self/status");
    bundle.change(|config| {
        config["process"]["noNewPrivileges"] = json!(false);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
                { "names": ["chmod"], "action": "SCMP_ACT_ERRNO",
                  "args": [{ "index": 1, "value": 0o600, "op": "SCMP_CMP_NE" }] },
            ],
        });
    });
    for no_new_privileges in [false, true] {
        bundle.change(|config| config["process"]["noNewPrivileges"] = json!(no_new_privileges));
        let said = runtime.run(&bundle).success();
        assert_eq!(said.stdout, "Seccomp:\t2\n");
        assert!(
            said.stderr.contains("'/tmp/x': No space left on device"),
            "{said:#?}"
        );
        assert!(
            said.stderr.contains("chmod: /tmp: Operation not permitted"),
            "{said:#?}"
        );
        assert_eq!(said.stderr.lines().count(), 2, "{said:#?}");
    }
}

fn namespaces_are_joined(runtime: &Runtime) {
    let bundle = runtime.bundle("readlink /proc/self/ns/net; readlink /proc/self/ns/uts");
    let own = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}"))
            .expect("a namespace")
            .display()
            .to_string()
    };
    bundle.change(|config| {
        config["linux"]["namespaces"] = json!([{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
            { "type": "network", "path": "/proc/self/ns/net" }]);
        config
            .as_object_mut()
            .expect("the configuration")
            .remove("hostname");
    });
    assert_eq!(
        runtime.run(&bundle).success().stdout,
        format!("{}\n{}\n", own("net"), own("uts"))
    );
}

fn kernel_parameters(runtime: &Runtime) {
    let bundle = runtime.bundle("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni");
    bundle.change(|config| {
        config["linux"]["sysctl"] =
            json!({ "net.ipv4.ip_unprivileged_port_start": "99", "kernel.shmmni": "77" });
    });
    assert_eq!(runtime.run(&bundle).success().stdout, "99\n77\n");
    bundle.change(|config| config["linux"]["sysctl"] = json!({ "kernel.panic": "1" }));
    runtime.run(&bundle).failure("kernel.panic");
}
