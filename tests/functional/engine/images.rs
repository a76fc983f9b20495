//! Images from a real registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use gantry_testkit::cmd::run;
use gantry_testkit::image::{Compression, Image, Layer, own_architecture, write_layout};
use gantry_testkit::place::Place;
use gantry_testkit::registry::Registry;
use gantry_tests::engine::Engine;

use crate::tree::{assert_same, seen};
use crate::{BOTH, Cli};

/// One of everything that a layer can hold, the upper layer compressed in this way.
fn nasty(upper: Compression) -> Image {
    let mut base = Layer::busybox();
    base.dir("d/", 0o755)
        .file("d/kept", 0o640, b"kept")
        .file("d/gone", 0o644, b"gone")
        .dir("opaque/", 0o700)
        .file("opaque/hidden", 0o644, b"hidden")
        .file("replaced", 0o644, b"old")
        .file("setuid", 0o4755, b"#!/bin/sh\n")
        .file_with_xattrs(
            "attributed",
            0o755,
            b"x",
            &[("user.test", b"value"), ("security.capability", CAP)],
        )
        .hard_link("linked", "d/kept")
        .hard_link("d/second", "d/kept")
        .symlink("pointer", "/d/kept")
        .symlink("outside", "../../../../etc/hostname");
    let mut top = Layer::new();
    top.whiteout("d/gone")
        .opaque("opaque/")
        .file("opaque/shown", 0o600, b"shown")
        .dir("replaced/", 0o711)
        .file("replaced/new", 0o644, b"new");
    Image::new().layer(base, Compression::Gzip).layer(top, upper)
}

/// cap_net_raw=ep, as a file has it.
const CAP: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_pulled_image_is_what_umoci_unpacks() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let layout = place.join("layout");
    write_layout(&layout, "nasty", &[&nasty(Compression::Zstd)]);
    registry.push(&layout, "nasty", "nasty:1").success();
    let image = registry.reference("nasty:1");
    let engine = Engine::start();
    for cli in BOTH {
        let said = cli.run(&engine, &["pull", &image]).success();
        assert!(
            said.stdout.contains("Status: Downloaded newer image for"),
            "{said:#?}"
        );
        let said = cli.run(&engine, &["pull", "-q", &image]).success();
        assert!(said.line().contains("nasty:1"), "{said:#?}");
        // The tree, by way of a container's root.
        engine
            .gantry(["create", "--name", "nasty", "--network", "none", &image, "sh"])
            .success();
        engine.gantry(["start", "nasty"]).success();
        let script = "cat /d/kept /opaque/shown /replaced/new; ls /opaque; ls /d; stat -c %h /linked; stat -c %a /setuid";
        let said = cli
            .run(
                &engine,
                &["run", "--rm", "--network", "none", &image, "sh", "-c", script],
            )
            .success();
        assert_eq!(said.stdout, "keptshownnewshown\nkept\nsecond\n3\n4755\n");
        engine.gantry(["rm", "-f", "nasty"]).success();
        engine.gantry(["rmi", &image]).success();
        assert_eq!(engine.gantry(["images", "-q"]).success().stdout, "");
    }
    // umoci's tree and ours: mounted read-only from our snapshots by a container that only sleeps.
    // umoci knows no zstd: it is given the same files with gzip.
    let bundle = place.join("umoci");
    let gzip = place.join("gzip");
    write_layout(&gzip, "nasty", &[&nasty(Compression::Gzip)]);
    let source = format!("{}:nasty", gzip.display());
    run(Command::new("umoci")
        .args(["unpack", "--image", &source])
        .arg(&bundle))
    .success();
    engine.gantry(["pull", "-q", &image]).success();
    engine
        .gantry([
            "run",
            "-d",
            "--name",
            "tree",
            "--network",
            "none",
            &image,
            "sleep",
            "1000",
        ])
        .success();
    let pid = engine
        .gantry(["inspect", "-f", "{{.State.Pid}}", "tree"])
        .success()
        .line()
        .to_owned();
    let theirs = seen(&bundle.join("rootfs"));
    let ours = seen(Path::new(&format!("/proc/{pid}/root/.")));
    assert!(ours["attributed"].contains("user.test=0x76616c7565"), "{ours:?}");
    assert!(
        ours["attributed"].contains("security.capability=0x01000002"),
        "{ours:?}"
    );
    assert_same(&ours, &theirs);
}

#[test]
fn an_index_gives_the_hosts_platform_and_a_digest_is_a_name() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let layout = place.join("layout");
    let other = if own_architecture() == "amd64" {
        "arm64"
    } else {
        "amd64"
    };
    let mut wrong = Layer::busybox();
    wrong.file("which", 0o644, b"other");
    let mut right = Layer::busybox();
    right.file("which", 0o644, b"own");
    let images = [
        Image::new().layer(wrong, Compression::Gzip).architecture(other),
        Image::new().layer(right, Compression::Gzip),
    ];
    let digest = write_layout(&layout, "two", &[&images[0], &images[1]]);
    registry.push(&layout, "two", "two:latest").success();
    let engine = Engine::start();
    let by_digest = format!("{}@{digest}", registry.reference("two"));
    let by_tag = registry.reference("two");
    for reference in [&by_tag, &by_digest] {
        let said = engine
            .gantry(["run", "--rm", "--network", "none", reference, "cat", "/which"])
            .success();
        assert_eq!(said.stdout, "own");
    }
    let wanted = format!("linux/{other}");
    let pulled = engine.gantry(["pull", "--platform", &wanted, &by_tag]).success();
    assert!(pulled.stdout.contains(&digest), "{pulled:#?}");
    let none = engine.gantry(["pull", "--platform", "linux/s390x", &by_tag]);
    none.failure("no matching manifest for linux/s390x");
    let twice = engine.gantry(["pull", &by_tag]).success();
    assert!(twice.stdout.contains("Image is up to date"), "{twice:#?}");
}

#[test]
fn names_are_given_and_taken() {
    let engine = crate::engine();
    for cli in BOTH {
        let run = |args: &[&str]| cli.run(&engine, args);
        run(&["tag", "busybox", "other:2"]).success();
        let listed = run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).success();
        let mut lines: Vec<&str> = listed.stdout.lines().collect();
        if let Cli::Docker = cli {
            // It keeps an image's names by their repositories in a map of Go's: their order is another each time.
            lines.sort();
        }
        assert_eq!(lines, ["busybox:latest", "other:2"]);
        let id = run(&["image", "inspect", "-f", "{{.Id}}", "other:2"])
            .success()
            .line()
            .to_owned();
        assert!(id.starts_with("sha256:"));
        run(&["rmi", &id[..19]]).failure("image is referenced in multiple repositories");
        assert_eq!(run(&["rmi", "other:2"]).success().stdout, "Untagged: other:2\n");
        engine
            .gantry(["create", "--name", "user", "--network", "none", "busybox"])
            .success();
        run(&["rmi", "busybox"]).failure("is using its referenced image");
        engine.gantry(["rm", "user"]).success();
    }
    let removed = Cli::Gantry.run(&engine, &["rmi", "busybox"]).success();
    assert!(
        removed.stdout.contains("Untagged: busybox:latest") && removed.stdout.contains("Deleted: sha256:")
    );
    for folder in ["data/content/blobs/sha256", "data/snapshots/overlayfs/snapshots"] {
        let left: Vec<_> = fs::read_dir(engine.dir().join(folder))
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn an_image_that_is_missing_is_pulled_if_it_may_be() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let layout = place.join("layout");
    write_layout(&layout, "b", &[&Image::busybox()]);
    registry.push(&layout, "b", "b:1").success();
    let image = registry.reference("b:1");
    let engine = Engine::start();
    for cli in BOTH {
        let run = |policy: &str| {
            let args = [
                "run",
                "--rm",
                "--network",
                "none",
                "--pull",
                policy,
                &image,
                "echo",
                "ran",
            ];
            cli.run(&engine, &args)
        };
        let said = run("never").code(125);
        assert!(
            said.stderr.contains(&format!("No such image: {image}")),
            "{said:#?}"
        );
        let said = run("missing").success();
        assert!(
            said.stdout == "ran\n" && said.stderr.contains("Unable to find image"),
            "{said:#?}"
        );
        let said = run("never").success();
        assert!(said.stdout == "ran\n" && said.stderr.is_empty(), "{said:#?}");
        let said = run("always").success();
        assert!(
            said.stdout == "ran\n" && said.stderr.contains("Image is up to date"),
            "{said:#?}"
        );
        run("sometimes").code(125);
        engine.gantry(["rmi", &image]).success();
    }
}
