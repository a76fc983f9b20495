//! What `ctr` does with images, blobs, snapshots, leases and namespaces, and what must come of it, whoever serves. Nothing
//! here runs a container.

use std::process::Command;

use gantry_testkit::cmd::{Said, run, run_with_input, wait_until};
use gantry_testkit::image::{Image, Layer, digest, write_layout};
use gantry_testkit::registry::Registry;
use gantry_tests::containerd::{Containerd, IMAGE};

/// The words of the first column, but its heading.
fn column(said: &Said) -> Vec<&str> {
    let lines = said.stdout.lines().skip(1);
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

fn lines(said: &Said) -> Vec<&str> {
    said.stdout.lines().collect()
}

/// The name of the image's only snapshot.
fn base(daemon: &Containerd) -> String {
    let said = daemon.ctr(["snapshots", "ls"]).success();
    let all = column(&said);
    assert!(all.len() == 1 && all[0].starts_with("sha256:"), "{said:?}");
    all[0].to_owned()
}

pub(crate) fn import_tag_export_remove(daemon: &Containerd) {
    let said = daemon.ctr(["image", "ls", "-q"]).success();
    assert_eq!(lines(&said), [IMAGE]);
    let said = daemon.ctr(["image", "check"]).success();
    let checked = said.stdout.lines().nth(1).unwrap_or_default();
    assert!(
        checked.contains("complete (2/2)") && checked.trim_end().ends_with("true"),
        "{said:?}"
    );
    let other = "example.com/other:1";
    daemon.ctr(["image", "tag", IMAGE, other]).success();
    daemon
        .ctr(["image", "tag", IMAGE, other])
        .failure("already exists");
    daemon.ctr(["image", "tag", "--force", IMAGE, other]).success();
    assert_eq!(
        daemon.ctr(["image", "label", other, "k=v"]).success().line(),
        "k=v"
    );
    let said = daemon.ctr(["image", "ls", "-q", "labels.k==v"]).success();
    assert_eq!(lines(&said), [other]);

    // Exported, removed, and imported again: it is the same, and another reads it too.
    let all = daemon.ctr(["image", "ls"]).success();
    let find = |said: &Said| {
        let line = said
            .stdout
            .lines()
            .find(|line| line.starts_with(IMAGE))
            .map(str::to_owned);
        line.and_then(|line| line.split_whitespace().nth(2).map(str::to_owned))
    };
    let before = find(&all).expect("its digest");
    let archive = daemon.place().join("out.tar").display().to_string();
    daemon.ctr(["image", "export", &archive, IMAGE]).success();
    let said = daemon.ctr(["image", "rm", IMAGE, other]).success();
    assert_eq!(lines(&said), [IMAGE, other]);
    let said = daemon.ctr(["image", "rm", IMAGE]).success();
    assert!(said.stderr.contains("image not found"), "{said:?}");
    assert_eq!(daemon.ctr(["image", "ls", "-q"]).success().stdout, "");
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args(["inspect", "--raw"])
        .arg(format!("oci-archive:{archive}"));
    let raw = run(&mut skopeo).success().stdout;
    assert_eq!(digest(raw.as_bytes()), before);
    daemon.ctr(["image", "import", &archive]).success();
    assert_eq!(find(&daemon.ctr(["image", "ls"]).success()), Some(before));

    let root = daemon.place().join("root-of-it");
    std::fs::create_dir(&root).expect("a folder");
    let root = root.display().to_string();
    daemon.ctr(["image", "mount", IMAGE, &root]).success();
    assert!(std::fs::metadata(format!("{root}/bin/busybox")).is_ok());
    daemon.ctr(["image", "unmount", "--rm", &root]).success();
    assert!(std::fs::metadata(format!("{root}/bin")).is_err());
}

pub(crate) fn pull_and_push(daemon: &Containerd) {
    let registry = Registry::start(daemon.place().dir());
    let layout = daemon.place().join("layout");
    std::fs::create_dir(&layout).expect("a folder");
    let mut layer = Layer::new();
    layer.file("second", 0o644, b"of the second layer\n");
    let image = Image::busybox().layer(layer, gantry_testkit::image::Compression::Zstd);
    let named = write_layout(&layout, "it", &[&image]);
    registry.push(&layout, "it", "two/layers:1");
    let reference = registry.reference("two/layers:1");

    daemon
        .ctr(["image", "pull", "--plain-http", &reference])
        .success();
    let said = daemon.ctr(["image", "ls"]).success();
    assert!(
        said.stdout.contains(&format!("{reference} ")) && said.stdout.contains(&named),
        "{said:?}"
    );
    let root = daemon.place().join("root-of-it");
    std::fs::create_dir(&root).expect("a folder");
    let root = root.display().to_string();
    daemon.ctr(["image", "mount", &reference, &root]).success();
    let text = std::fs::read_to_string(format!("{root}/second")).expect("the second layer");
    assert_eq!(text, "of the second layer\n");
    assert!(std::fs::metadata(format!("{root}/bin/busybox")).is_ok());
    daemon.ctr(["image", "unmount", "--rm", &root]).success();
    // Again: everything is there.
    daemon
        .ctr(["image", "pull", "--plain-http", &reference])
        .success();

    let pushed = registry.reference("pushed/it:2");
    daemon
        .ctr(["image", "push", "--plain-http", &pushed, &reference])
        .success();
    daemon.ctr(["image", "rm", &reference]).success();
    daemon.ctr(["image", "pull", "--plain-http", &pushed]).success();
    assert!(daemon.ctr(["image", "ls"]).success().stdout.contains(&named));
    let none = registry.reference("none:1");
    daemon
        .ctr(["image", "pull", "--plain-http", &none])
        .failure("not found");
    // All of it without unpacking, and one blob by itself.
    daemon.ctr(["image", "rm", &pushed]).success();
    daemon
        .ctr(["content", "fetch", "--plain-http", &pushed])
        .success();
    let raw = daemon.ctr(["content", "get", &named]).success().stdout;
    assert_eq!(digest(raw.as_bytes()), named);
    let said = daemon.ctr(["content", "fetch-object", "--plain-http", &pushed, &named]);
    assert!(said.success().stdout.contains("application/vnd.oci.image.layer"));
}

pub(crate) fn blobs(daemon: &Containerd) {
    let data = b"some bytes\n";
    let (name, length) = (digest(data), data.len().to_string());
    let ingest = |digest: &str, reference: &str| {
        let args = [
            "content",
            "ingest",
            "--expected-size",
            &length,
            "--expected-digest",
            digest,
            reference,
        ];
        run_with_input(&mut daemon.command(args), data)
    };
    // Nothing refers to it: who collects garbage may do so before it is labelled.
    wait_until("the blob to stay", || {
        ingest(&name, "one").success();
        let labels = ["content", "label", &name, "x=y", "containerd.io/gc.root=now"];
        daemon.ctr(labels).code == 0
    });
    assert_eq!(
        daemon.ctr(["content", "get", &name]).success().stdout.as_bytes(),
        data
    );
    ingest(&digest(b"others"), "two").failure("unexpected commit digest");
    let said = daemon.ctr(["content", "ls", "-q", "labels.x==y"]).success();
    assert_eq!(lines(&said), [name.as_str()]);
    let said = daemon.ctr(["content", "ls"]).success();
    assert!(column(&said).contains(&name.as_str()), "{said:?}");
    daemon.ctr(["content", "active"]).success();
    assert_eq!(daemon.ctr(["content", "rm", &name]).success().line(), name);
    let what = format!("content digest {name}: not found");
    daemon.ctr(["content", "get", &name]).failure(&what);
    daemon
        .ctr(["content", "label", &name, "x=y"])
        .failure("not found");
}

pub(crate) fn snapshots(daemon: &Containerd) {
    let base = base(daemon);
    daemon.ctr(["snapshots", "prepare", "up", &base]).success();
    daemon
        .ctr(["snapshots", "prepare", "up", &base])
        .failure("already exists");
    daemon
        .ctr(["snapshots", "prepare", "no", "none"])
        .failure("not found");
    let root = daemon.place().join("mounted");
    std::fs::create_dir(&root).expect("a folder");
    let said = daemon
        .ctr(["snapshots", "mounts", &root.to_string_lossy(), "up"])
        .success();
    assert!(said.line().starts_with("mount -t overlay overlay "), "{said:?}");
    run(Command::new("sh").args(["-c", said.line()])).success();
    std::fs::write(root.join("mine"), [7; 100_000]).expect("a file");
    run(Command::new("umount").arg(&root)).success();
    let usage = daemon.ctr(["snapshots", "usage", "up"]).success();
    assert!(usage.stdout.contains("KiB"), "{usage:?}");
    let info = daemon.ctr(["snapshots", "info", "up"]).success();
    let info: serde_json::Value = serde_json::from_str(&info.stdout).expect("JSON");
    assert_eq!(
        (&info["Kind"], &info["Parent"]),
        (&"Active".into(), &base.as_str().into())
    );
    daemon.ctr(["snapshots", "commit", "done", "up"]).success();
    daemon.ctr(["snapshots", "view", "see", "done"]).success();
    let said = daemon.ctr(["snapshots", "tree"]).success();
    assert_eq!(
        lines(&said),
        [
            format!(" {base}"),
            "  \\_ done".to_owned(),
            "    \\_ see".to_owned()
        ]
    );
    assert!(
        daemon
            .ctr(["snapshots", "label", "done", "l=1"])
            .success()
            .stdout
            .contains("l=1")
    );
    let said = daemon.ctr(["snapshots", "ls"]).success();
    let mut kinds: Vec<&str> = said
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Committed", "Committed", "View"]);
    daemon
        .ctr(["snapshots", "rm", "done"])
        .failure("cannot remove snapshot with child");
    daemon.ctr(["snapshots", "rm", "see", "done"]).success();
    daemon.ctr(["snapshots", "rm", "see"]).failure("not found");
    // Taken away, it is made again from the image's blobs.
    daemon.ctr(["snapshots", "rm", &base]).success();
    let said = daemon.ctr(["image", "ls"]).success();
    let manifest = said
        .stdout
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(2));
    daemon
        .ctr(["snapshots", "unpack", manifest.expect("its digest")])
        .success();
    assert_eq!(self::base(daemon), base);
}

pub(crate) fn leases_and_namespaces(daemon: &Containerd) {
    assert_eq!(
        daemon
            .ctr(["leases", "create", "--id", "one", "x=y"])
            .success()
            .line(),
        "one"
    );
    daemon
        .ctr(["leases", "create", "--id", "one"])
        .failure("already exists");
    let said = daemon.ctr(["leases", "ls"]).success();
    assert!(
        column(&said) == ["one"] && said.stdout.contains("x=y"),
        "{said:?}"
    );
    assert!(said.stdout.contains("containerd.io/gc.expire="), "{said:?}");
    daemon.ctr(["leases", "rm", "one"]).success();
    assert!(column(&daemon.ctr(["leases", "ls"]).success()).is_empty());

    daemon.ctr(["namespaces", "create", "other", "a=b"]).success();
    daemon
        .ctr(["namespaces", "create", "other"])
        .failure("already exists");
    daemon
        .ctr(["namespaces", "label", "other", "a=c", "d=e"])
        .success();
    let said = daemon.ctr(["namespaces", "ls"]).success();
    assert!(said.stdout.contains("other a=c,d=e"), "{said:?}");
    // What one namespace has, another does not see.
    let of = |namespace: &str, args: &[&str]| run(&mut daemon.command_in(namespace, args));
    assert_eq!(of("other", &["image", "ls", "-q"]).success().stdout, "");
    // One that nothing was ever written to has no labels, and nothing else.
    of("never", &["snapshots", "ls"]).success();
    assert_eq!(
        column(&daemon.ctr(["namespaces", "ls"]).success()),
        ["other", "test"]
    );
    assert_eq!(
        daemon.ctr(["namespaces", "rm", "other"]).success().line(),
        "other"
    );
    daemon.ctr(["namespaces", "rm", "test"]).failure("must be empty");
}

pub(crate) fn containers_without_a_task(daemon: &Containerd) {
    let id = daemon.id("c");
    daemon.ctr(["container", "create", IMAGE, &id, "true"]).success();
    daemon
        .ctr(["container", "create", IMAGE, &id, "true"])
        .failure("already exists");
    let said = daemon.ctr(["container", "info", &id]).success();
    let info: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(
        (
            &info["ID"],
            &info["Image"],
            &info["SnapshotKey"],
            &info["Spec"]["process"]["args"][0]
        ),
        (
            &id.as_str().into(),
            &IMAGE.into(),
            &id.as_str().into(),
            &"true".into()
        )
    );
    assert!(
        daemon
            .ctr(["container", "label", &id, "q=r"])
            .success()
            .stdout
            .contains("q=r")
    );
    let said = daemon.ctr(["container", "ls", "-q", "labels.q==r"]).success();
    assert_eq!(lines(&said), [id.as_str()]);
    assert_eq!(
        daemon
            .ctr(["container", "ls", "-q", "labels.q==s"])
            .success()
            .stdout,
        ""
    );
    daemon.ctr(["container", "rm", &id]).success();
    daemon.ctr(["container", "info", &id]).failure("not found");
    assert_eq!(column(&daemon.ctr(["snapshots", "ls"]).success()).len(), 1);
}

pub(crate) fn what_it_is(daemon: &Containerd) {
    let said = daemon.ctr(["version"]).success();
    let server = said.stdout.split_once("Server:").map_or("", |(_, server)| server);
    assert!(
        server.contains("Version:") && server.contains("UUID: "),
        "{said:?}"
    );
    let said = daemon.ctr(["plugins", "ls"]).success();
    for plugin in [
        "io.containerd.snapshotter.v1    overlayfs",
        "io.containerd.runtime.v2        task",
    ] {
        let line = said.stdout.lines().find(|line| line.starts_with(plugin));
        assert!(
            line.is_some_and(|line| line.trim_end().ends_with("ok")),
            "{said:?}"
        );
    }
    let said = daemon.ctr(["plugins", "ls", "-q", "type==io.containerd.content.v1"]);
    assert!(said.success().stdout.contains("content"));
    daemon.ctr(["install", "none"]).failure("not found");
}
