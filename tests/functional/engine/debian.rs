//! A Debian of real size and several layers, by way of a real registry: the tree is what Docker and umoci make of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use gantry_testkit::cmd::run;
use gantry_testkit::dockerd::Dockerd;
use gantry_testkit::image::{Compression, Image, Layer, write_layout};
use gantry_testkit::place::Place;
use gantry_testkit::registry::Registry;
use gantry_tests::engine::Engine;

use crate::tree::{assert_same, seen};

/// Debian, a layer that takes away and replaces, and one that puts something in the place of what is gone.
fn debian() -> Image {
    let tar = fs::read(gantry_testkit::debian::tar()).unwrap();
    assert!(tar.len() > 100_000_000, "a hundred megabytes are asked for");
    let mut middle = Layer::new();
    for dir in ["media/", "usr/", "usr/bin/", "usr/share/"] {
        middle.dir(dir, 0o755);
    }
    middle
        .whiteout("usr/bin/perl")
        .dir("usr/share/doc/", 0o755)
        .opaque("usr/share/doc/")
        .file("usr/share/doc/read", 0o644, b"me")
        .dir("srv/", 0o1777)
        .file("srv/first", 0o4711, b"1")
        .hard_link("srv/second", "srv/first")
        .symlink("media/loop", "../media");
    let mut top = Layer::new();
    top.dir("usr/", 0o755)
        .dir("usr/bin/", 0o755)
        .dir("srv/", 0o1777)
        .file("usr/bin/perl", 0o755, b"#!/bin/sh\necho no perl\n")
        .file_with_xattrs("srv/attributed", 0o600, b"a", &[("user.who", b"me")])
        .whiteout("srv/second");
    Image::new()
        .tar_layer(tar, Compression::Gzip)
        .layer(middle, Compression::Gzip)
        .layer(top, Compression::Gzip)
}

fn root(pid: &str) -> PathBuf {
    format!("/proc/{}/root/.", pid.trim()).into()
}

#[test]
fn a_debian_is_what_docker_and_umoci_make_of_it() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let layout = place.join("layout");
    write_layout(&layout, "debian", &[&debian()]);
    registry.push(&layout, "debian", "debian:1").success();
    let image = registry.reference("debian:1");
    let sleep = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "deb",
        &image,
        "sleep",
        "1000",
    ];
    let pid = ["inspect", "-f", "{{.State.Pid}}", "deb"];

    let engine = Engine::start();
    engine.gantry(["pull", &image]).success();
    engine.gantry(sleep).success();
    let mut ours = seen(&root(engine.gantry(pid).success().line()));
    let said = engine.gantry(["exec", "deb", "perl"]).success();
    assert_eq!(said.stdout, "no perl\n");
    let said = engine.gantry(["exec", "deb", "dpkg", "--audit"]).success();
    assert_eq!(said.stdout, "");

    let dockerd = Dockerd::start(&place);
    dockerd.docker(&["pull", &image]).success();
    dockerd.docker(&sleep).success();
    let theirs = seen(&root(dockerd.docker(&pid).success().line()));
    assert!(ours.len() > 5000, "{}", ours.len());
    assert_same(&ours, &theirs);
    drop(dockerd);

    let bundle = place.join("umoci");
    let source = format!("{}:debian", layout.display());
    run(Command::new("umoci")
        .args(["unpack", "--image", &source])
        .arg(&bundle))
    .success();
    let mut theirs = seen(&bundle.join("rootfs"));
    // Overlayfs still counts a link that a layer above has taken away, for Docker as for us; umoci takes it away.
    for path in ["srv/first", "usr/bin/perl5.36.0"] {
        assert!(
            ours.remove(path).is_some() && theirs.remove(path).is_some(),
            "{path}"
        );
    }
    assert_same(&ours, &theirs);
}
