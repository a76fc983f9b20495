//! What the kit makes, held against the real tools: skopeo, umoci, docker-registry, runc.

use std::process::Command;

use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::run;
use gantry_testkit::image::{Compression, Image, Layer, write_layout};
use gantry_testkit::place::Place;
use gantry_testkit::registry::Registry;

#[test]
fn images_are_pushed_and_come_back() {
    let place = Place::new();
    let mut layer = Layer::new();
    layer
        .dir("etc", 0o755)
        .file_with_xattrs("etc/motd", 0o4755, b"hello\n", &[("user.test", b"1")]);
    layer
        .symlink("etc/link", "/motd")
        .whiteout("bin/yes")
        .opaque("var");
    let ours = Image::busybox().layer(layer, Compression::Zstd);
    let other = Image::busybox().architecture("s390x");
    let layout = place.join("layout");
    let digest = write_layout(&layout, "two", &[&ours, &other]);
    let registry = Registry::start(place.dir());
    registry.push(&layout, "two", "kit/test:1");
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--raw", "--tls-verify=false"]);
    let said = run(inspect.arg(format!("docker://{}", registry.reference("kit/test:1")))).success();
    assert_eq!(gantry_testkit::image::digest(said.stdout.as_bytes()), digest);

    write_layout(&layout, "one", &[&Image::busybox()]);
    let unpacked = place.join("unpacked");
    let mut umoci = Command::new("umoci");
    run(umoci
        .args(["unpack", "--image"])
        .arg(format!("{}:one", layout.display()))
        .arg(&unpacked))
    .success();
    assert!(unpacked.join("rootfs/bin/sh").is_file());
}

#[test]
fn a_bundle_runs() {
    let place = Place::new();
    let bundle = Bundle::new(
        &place.join("b"),
        &format!("{}/c", place.cgroup()),
        &["sh", "-c", "echo $HOSTNAME; exit 5"],
    );
    let name = place.name("c");
    let mut runc = Command::new("runc");
    let said = run(runc
        .arg("--root")
        .arg(place.join("runc"))
        .args(["run", "-b"])
        .arg(bundle.dir())
        .arg(&name))
    .code(5);
    assert!(said.stdout.starts_with("runc") || said.stdout == "\n", "{said:?}");
}

#[test]
fn crun_leaves_nothing_below_the_unified_hierarchy() {
    let below = || {
        let script = "umount -l /sys/fs/cgroup/unified && ls /sys/fs/cgroup/unified";
        run(Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c", script]))
    };
    let before = below();
    let place = Place::new();
    let bundle = Bundle::new(&place.join("b"), &format!("{}/c", place.cgroup()), &["true"]);
    let name = place.name("c");
    run(Command::new(gantry_testkit::cmd::crun())
        .arg("--root")
        .arg(place.join("crun"))
        .args(["run", "-b"])
        .arg(bundle.dir())
        .arg(&name))
    .success();
    let (after, own) = (below(), place.cgroup().trim_start_matches('/'));
    assert_eq!(before.code, after.code);
    assert!(!after.stdout.contains(own), "{after:?}");
}
