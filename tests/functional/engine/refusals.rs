//! What cannot be: one clear error, a code, nothing left, and the next command works.

use std::fs;
use std::process::Command;

use gantry_testkit::cmd::run;
use gantry_testkit::image::{Compression, Image, Layer, write_layout};
use gantry_testkit::place::Place;
use gantry_testkit::registry::Registry;
use gantry_tests::engine::Engine;

use crate::{BOTH, Cli, engine};

/// Every snapshot and ingest that is there.
fn kept(engine: &Engine) -> Vec<String> {
    let mut all = Vec::new();
    for folder in ["data/content/ingest", "data/snapshots/overlayfs/snapshots"] {
        for entry in fs::read_dir(engine.dir().join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            all.push(entry.path().display().to_string());
        }
    }
    all
}

#[test]
fn names_that_are_none() {
    let engine = engine();
    for cli in BOTH {
        let run = |args: &[&str]| cli.run(&engine, args);
        run(&["run", "--rm", "127.0.0.1:1/none:1"])
            .code(125)
            .failure("connection refused");
        run(&["pull", "127.0.0.1:1/none"])
            .code(1)
            .failure("connection refused");
        run(&["pull", "a/UPPER"]).code(1).failure("must be lowercase");
        run(&["create", "--name", "bad name", "busybox"]).failure("Invalid container name (bad name)");
        run(&["rmi", "none:1"]).code(1).failure("No such image: none:1");
        run(&["start", "none"]).code(1).failure("No such container: none");
        run(&["run", "--rm", "-v", "relative:/x:bad", "busybox", "true"]).code(125);
        run(&[
            "run",
            "--rm",
            "-u",
            "nobody-there",
            "--network",
            "none",
            "busybox",
            "true",
        ])
        .failure("unable to find user nobody-there: no matching entries in passwd file");
    }
    assert_eq!(engine.gantry(["ps", "-aq"]).success().stdout, "");
    engine
        .gantry(["run", "--rm", "--network", "none", "busybox", "true"])
        .success();
}

#[test]
fn layers_that_lie_or_lead_out() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let engine = engine();
    let before = kept(&engine);
    let outside = place.join("outside");
    fs::create_dir(&outside).unwrap();
    let mut up = Layer::busybox();
    up.file("../../../../../../../../tmp/gantry-escape", 0o644, b"x");
    let mut through = Layer::busybox();
    through
        .symlink("way", outside.to_str().unwrap())
        .file("way/escape", 0o644, b"x");
    for (name, layer) in [("up", up), ("through", through)] {
        let layout = place.join(name);
        write_layout(&layout, name, &[&Image::new().layer(layer, Compression::Gzip)]);
        registry.push(&layout, name, &format!("{name}:1")).success();
        let reference = registry.reference(&format!("{name}:1"));
        // Refused, or kept inside; never outside.
        let _ = engine.gantry(["pull", &reference]);
        assert!(!std::path::Path::new("/tmp/gantry-escape").exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
        let _ = engine.gantry(["rmi", &reference]);
    }
    assert_eq!(kept(&engine), before);

    // What the registry has is not what the digest says.
    let layout = place.join("corrupt");
    let image = Image::busybox();
    write_layout(&layout, "corrupt", &[&image]);
    registry.push(&layout, "corrupt", "corrupt:1").success();
    let layer = image
        .blobs()
        .into_iter()
        .map(|(digest, _)| digest)
        .find(|digest| {
            registry
                .blob(digest)
                .is_some_and(|path| fs::metadata(path).is_ok_and(|file| file.len() > 100_000))
        });
    let path = registry.blob(&layer.expect("a layer")).expect("its file");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let reference = registry.reference("corrupt:1");
    engine.gantry(["pull", &reference]).code(1);
    bytes.truncate(middle);
    fs::write(&path, &bytes).unwrap();
    engine.gantry(["pull", &reference]).code(1);
    assert_eq!(engine.gantry(["images", "-q", &reference]).success().stdout, "");
    let snapshots = |all: &[String]| all.iter().filter(|path| path.contains("/snapshots/")).count();
    assert_eq!(snapshots(&kept(&engine)), snapshots(&before));
    engine
        .gantry(["run", "--rm", "--network", "none", "busybox", "true"])
        .success();
}

#[test]
fn a_full_disk() {
    let place = Place::new();
    let registry = Registry::start(place.dir());
    let layout = place.join("layout");
    let mut big = Layer::busybox();
    let noise: Vec<u8> = (0..40_000_000_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8)
        .collect();
    big.file("big", 0o644, &noise);
    write_layout(&layout, "big", &[&Image::new().layer(big, Compression::None)]);
    registry.push(&layout, "big", "big:1").success();
    let small = place.join("small");
    fs::create_dir(&small).unwrap();
    let disk = place.join("disk");
    run(Command::new("truncate").args(["-s", "48M"]).arg(&disk)).success();
    run(Command::new("mkfs.ext4").arg("-q").arg(&disk)).success();
    run(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(&small)).success();
    let flags = format!("--data-root={}", small.join("data").display());
    {
        let engine = Engine::with_flags(&[&flags]);
        engine.load_busybox();
        let said = engine.gantry(["pull", &registry.reference("big:1")]).code(1);
        assert!(
            said.stderr.to_lowercase().contains("no space left on device"),
            "{said:#?}"
        );
        engine
            .gantry(["run", "--rm", "--network", "none", "busybox", "true"])
            .success();
        Cli::Docker.run(&engine, &["rmi", "busybox"]).success();
    }
    run(Command::new("umount").arg(&small)).success();
}
