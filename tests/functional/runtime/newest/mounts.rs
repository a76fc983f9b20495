//! What is mounted, from where, and with which ids and flags.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use gantry_testkit::cmd::{run, wait_until};
use serde_json::json;

use super::{add_mount, with_users};
use crate::Runtime;

crate::on_ours! {
    ids_are_mapped_in_mounts
    sources_that_only_root_reaches_are_bound
    a_bind_mount_has_the_flags_that_are_asked_for
    mounts_are_sources_of_later_mounts
    links_that_lead_nowhere_are_followed
    a_tmpfs_begins_with_what_it_covers
    dev_is_read_only_once_it_is_made
    masked_folders_share_one_file_system
    a_shared_volume_shows_the_host_what_is_mounted_in_it
}

fn ids_are_mapped_in_mounts(runtime: &Runtime) {
    let source = runtime.place.join("source");
    fs::create_dir(&source).expect("a folder");
    fs::write(source.join("file"), "x").expect("a file");
    chown(source.join("file"), Some(1000), Some(1001)).expect("give it away");
    let bundle = runtime.bundle("stat -c %u:%g /mapped/file");
    add_mount(&bundle, &source, "/mapped", &["bind"]);
    bundle.change(|config| {
        let mount = last_mount(config);
        mount["uidMappings"] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        mount["gidMappings"] = mount["uidMappings"].clone();
    });
    assert_eq!(runtime.run(&bundle).success().line(), "101000:101001");
    // With users of its own the option alone means their mapping: they see the ids as they are on the host.
    bundle.change(|config| {
        let mount = last_mount(config);
        *mount = json!({ "source": source, "destination": "/mapped", "options": ["bind", "idmap"] });
    });
    with_users(&bundle);
    assert_eq!(runtime.run(&bundle).success().line(), "1000:1001");
    bundle.change(|config| {
        let mount = last_mount(config);
        *mount =
            json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/mapped", "options": ["idmap"] });
    });
    runtime.run(&bundle).failure("only supported for bind-mounts");
}

fn sources_that_only_root_reaches_are_bound(runtime: &Runtime) {
    let closed = runtime.place.join("closed");
    fs::create_dir_all(closed.join("in")).expect("folders");
    fs::write(closed.join("in/file"), "reached").expect("a file");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("close it");
    let bundle = runtime.bundle("cat /in/file");
    add_mount(&bundle, &closed.join("in"), "/in", &["bind"]);
    with_users(&bundle);
    assert_eq!(runtime.run(&bundle).success().line(), "reached");
}

fn a_bind_mount_has_the_flags_that_are_asked_for(runtime: &Runtime) {
    let source = runtime.place.join("source");
    fs::create_dir(&source).expect("a folder");
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        run(command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&source)).success();
    };
    mount("noexec,nosuid,noatime,size=64k");
    let bundle = runtime.bundle("grep ' /bound ' /proc/self/mounts | cut -d' ' -f4");
    let base = bundle.config();
    let seen = |options: &[&str], users: bool| {
        bundle.change(|config| config.clone_from(&base));
        add_mount(&bundle, &source, "/bound", options);
        if users {
            with_users(&bundle);
        }
        let said = runtime.run(&bundle);
        let flags: Vec<String> = said.stdout.trim().split(',').map(str::to_owned).collect();
        let has = |flag: &str| flags.iter().any(|one| one == flag);
        (said.code, has("ro"), has("noexec"), has("nosuid"), has("noatime"))
    };
    let all = [
        // Nothing is asked for: as the source is. Something is: that, and nothing else but the times.
        (seen(&["bind"], false), (0, false, true, true, true)),
        (seen(&["bind", "ro"], false), (0, true, false, false, true)),
        (
            seen(&["bind", "relatime"], false),
            (0, false, false, false, false),
        ),
        // What the host has set is locked: it stays, and its contrary is refused.
        (seen(&["bind", "ro"], true), (0, true, true, true, true)),
        (seen(&["bind", "suid"], true), (1, false, false, false, false)),
        (seen(&["bind", "relatime"], true), (1, false, false, false, false)),
    ];
    run(Command::new("umount").arg(&source)).success();
    for (at, (seen, expected)) in all.into_iter().enumerate() {
        assert_eq!(seen, expected, "case {at}");
    }
}

fn mounts_are_sources_of_later_mounts(runtime: &Runtime) {
    let bundle = runtime.bundle("cat /final/below/file");
    let (a, b) = (runtime.place.join("a"), runtime.place.join("b"));
    fs::create_dir_all(a.join("below")).expect("folders");
    fs::create_dir_all(&b).expect("a folder");
    fs::write(b.join("file"), "deep").expect("a file");
    let rootfs = bundle.rootfs();
    add_mount(&bundle, &a, "/first", &["bind"]);
    add_mount(&bundle, &b, "/first/below", &["bind"]);
    // Some name the place on the host.
    let last = rootfs.join("final");
    add_mount(
        &bundle,
        &rootfs.join("first"),
        last.to_str().expect("a path"),
        &["rbind"],
    );
    assert_eq!(runtime.run(&bundle).success().line(), "deep");
    with_users(&bundle);
    assert_eq!(runtime.run(&bundle).success().line(), "deep");
}

fn links_that_lead_nowhere_are_followed(runtime: &Runtime) {
    let bundle = runtime.bundle("cat /made/inside/file; readlink /etc/link; cat /etc/link");
    let file = runtime.place.join("file");
    fs::write(&file, "bound\n").expect("a file");
    symlink("../made/inside", bundle.rootfs().join("etc/folder")).expect("a link");
    symlink("/other/name", bundle.rootfs().join("etc/link")).expect("a link");
    add_mount(&bundle, &file, "/etc/folder/file", &["bind"]);
    add_mount(&bundle, &file, "/etc/link", &["bind"]);
    assert_eq!(
        runtime.run(&bundle).success().stdout,
        "bound\n/other/name\nbound\n"
    );
}

fn a_tmpfs_begins_with_what_it_covers(runtime: &Runtime) {
    let bundle = runtime.bundle(
        "stat -c %a /var/in; cat /var/in/file; readlink /var/link; touch /var/new 2>/dev/null || echo ro",
    );
    let var = bundle.rootfs().join("var");
    fs::create_dir(var.join("in")).expect("a folder");
    fs::set_permissions(var.join("in"), fs::Permissions::from_mode(0o1770)).expect("its mode");
    fs::write(var.join("in/file"), "copied\n").expect("a file");
    symlink("in/file", var.join("link")).expect("a link");
    let add = |options: &[&str]| {
        bundle.change(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| mount["destination"] != "/var");
            mounts.push(
                json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/var", "options": options }),
            );
        });
    };
    add(&["tmpcopyup"]);
    assert_eq!(runtime.run(&bundle).success().stdout, "1770\ncopied\nin/file\n");
    assert!(!var.join("new").exists(), "it is a copy");
    add(&["tmpcopyup", "ro"]);
    assert_eq!(
        runtime.run(&bundle).success().stdout,
        "1770\ncopied\nin/file\nro\n"
    );
    // A place that is made for it is everybody's.
    bundle.shell("stat -c %a /scratch");
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/scratch" }));
    });
    assert_eq!(runtime.run(&bundle).success().line(), "1777");
}

fn dev_is_read_only_once_it_is_made(runtime: &Runtime) {
    let bundle =
        runtime.bundle("echo > /dev/null && touch /dev/new 2>/dev/null || echo ro; ls /dev/pts /dev/shm");
    bundle.change(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev" {
                mount["options"]
                    .as_array_mut()
                    .expect("options")
                    .push(json!("ro"));
            }
        }
    });
    assert_eq!(runtime.run(&bundle).success().stdout.lines().next(), Some("ro"));
}

fn masked_folders_share_one_file_system(runtime: &Runtime) {
    let bundle = runtime.bundle("stat -c %d /a /b /c | sort | head -1; stat -c %d /a /b /c | sort | tail -1; grep -c ' /a ' /proc/self/mounts");
    for name in ["a", "b", "c"] {
        fs::create_dir(bundle.rootfs().join(name)).expect("a folder");
    }
    bundle.change(|config| config["linux"]["maskedPaths"] = json!(["/a", "/b", "/c", "/a"]));
    let said = runtime.run(&bundle).success();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines[0], lines[2]), (lines[1], "1"));
}

fn a_shared_volume_shows_the_host_what_is_mounted_in_it(runtime: &Runtime) {
    let (shared, private) = (runtime.place.join("shared"), runtime.place.join("private"));
    for volume in [&shared, &private] {
        fs::create_dir(volume).expect("a folder");
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(volume)).success();
        run(Command::new("mount").arg("--make-shared").arg(volume)).success();
        fs::create_dir(volume.join("in")).expect("a folder");
    }
    let mounted = || {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let has = |volume: &std::path::Path| table.contains(&format!(" {} ", volume.join("in").display()));
        (has(&shared), has(&private))
    };
    let bundle =
        runtime.bundle("mount -t tmpfs inner /shared/in; mount -t tmpfs inner /private/in; exec sleep 1000");
    add_mount(&bundle, &shared, "/shared", &["rbind", "rshared"]);
    add_mount(&bundle, &private, "/private", &["rbind", "rprivate"]);
    bundle.change(|config| {
        config["linux"]["rootfsPropagation"] = json!("shared");
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
    });
    let before = fs::read_to_string("/proc/self/mountinfo")
        .expect("the mounts")
        .lines()
        .count();
    runtime.detach(&bundle);
    let seen = std::panic::catch_unwind(|| wait_until("the host sees it", || mounted() == (true, false)));
    runtime.call(["delete", "-f", &runtime.id()]).success();
    let _ = Command::new("umount").arg(shared.join("in")).status();
    let after = fs::read_to_string("/proc/self/mountinfo")
        .expect("the mounts")
        .lines()
        .count();
    for volume in [&shared, &private] {
        run(Command::new("umount").arg(volume)).success();
    }
    seen.expect("it is seen");
    // Other tests mount too: nothing of the host's own may be gone.
    assert!(after + 8 > before, "{before} mounts became {after}");
}

fn last_mount(config: &mut serde_json::Value) -> &mut serde_json::Value {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.last_mut().expect("ours")
}
