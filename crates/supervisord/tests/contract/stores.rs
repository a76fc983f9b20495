//! What is kept: namespaces, blobs, images, containers, leases, snapshots.

use bytes::Bytes;
use futures_util::StreamExt;
use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::content::{Writer, read_all};
use gantry_supervisor_core::image::{Descriptor, Image};
use gantry_supervisor_core::lease::Resource;
use gantry_supervisor_core::snapshot::SnapshotKind;
use gantry_supervisor_core::{Any, Kind, Labels, RUNTIME_SPEC_TYPE, Result, Services, Supervisor};
use gantry_testkit::image::{self, Compression, Layer};

/// Keeps a collector of garbage away.
pub(crate) fn kept() -> Labels {
    labels(&[("containerd.io/gc.root", "2024-01-01T00:00:00Z")])
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(kind: Kind, result: Result<T>) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{}", error.chain()),
        Ok(value) => panic!("{kind:?} was expected: {value:?}"),
    }
}

pub(crate) async fn namespaces(supervisor: &dyn Supervisor) {
    let first = labels(&[("a", "1"), ("b", "2")]);
    supervisor.create_namespace("made", first.clone()).await.unwrap();
    refused(
        Kind::AlreadyExists,
        supervisor.create_namespace("made", Labels::new()).await,
    );
    let all = supervisor.namespaces().await.unwrap();
    assert!(all.contains(&("made".to_owned(), first)), "{all:?}");
    let changed = supervisor
        .update_namespace("made", labels(&[("b", "3")]), false)
        .await
        .unwrap();
    assert_eq!(changed, labels(&[("a", "1"), ("b", "3")]));
    let services = supervisor.namespace("made").unwrap();
    write(&services, "x", b"holds it", Labels::new()).await;
    refused(
        Kind::FailedPrecondition,
        supervisor.delete_namespace("made").await,
    );
    services
        .content
        .delete(&image::digest(b"holds it"))
        .await
        .unwrap();
    supervisor.delete_namespace("made").await.unwrap();
    refused(Kind::NotFound, supervisor.delete_namespace("made").await);
    refused(Kind::InvalidArgument, supervisor.namespace("no/name").map(drop));
}

/// Opens an ingest. Who held it before may need a moment to let go.
async fn writer(services: &Services, name: &str, total: usize, expected: &str) -> Result<Box<dyn Writer>> {
    for _ in 0..100 {
        match services.content.writer(name, total as u64, expected).await {
            Err(error) if error.kind() == Kind::Unavailable => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
    panic!("the ingest {name} stays locked");
}

/// Writes a blob; one that is there already is no error.
pub(crate) async fn write(services: &Services, name: &str, data: &[u8], labels: Labels) -> String {
    let digest = image::digest(data);
    match writer(services, name, data.len(), &digest).await {
        Ok(mut writer) => {
            // It may begin at the end: what another namespace has need not be sent again.
            let rest = Bytes::copy_from_slice(&data[writer.status().offset as usize..]);
            if !rest.is_empty() {
                writer.write(rest).await.unwrap();
            }
            writer.commit(data.len() as u64, &digest, labels).await.unwrap()
        }
        Err(error) if error.kind() == Kind::AlreadyExists => digest,
        Err(error) => panic!("{}", error.chain()),
    }
}

pub(crate) async fn content(supervisor: &dyn Supervisor) {
    let services = supervisor.namespace("content").unwrap();
    let content = &services.content;
    // More than one message of gRPC, and more than one chunk.
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let digest = image::digest(&data);
    refused(Kind::NotFound, content.info(&digest).await);
    refused(Kind::NotFound, content.read(&digest, 0, 0).await.map(drop));

    // Interrupted, and taken up again.
    let mut first = writer(&services, "blob", data.len(), &digest).await.unwrap();
    assert_eq!(first.status().offset, 0);
    first
        .write(Bytes::copy_from_slice(&data[..1_500_000]))
        .await
        .unwrap();
    drop(first);
    let statuses = content.statuses(&[]).await.unwrap();
    assert_eq!(statuses.len(), 1);
    assert_eq!(
        (statuses[0].reference.as_str(), statuses[0].offset),
        ("blob", 1_500_000)
    );
    let mut second = writer(&services, "blob", data.len(), &digest).await.unwrap();
    assert_eq!(second.status().offset, 1_500_000);
    second
        .write(Bytes::copy_from_slice(&data[1_500_000..]))
        .await
        .unwrap();
    let labels_given = [kept(), labels(&[("l", "x")])].into_iter().flatten().collect();
    assert_eq!(
        second
            .commit(data.len() as u64, &digest, labels_given)
            .await
            .unwrap(),
        digest
    );
    assert!(content.statuses(&[]).await.unwrap().is_empty());

    // What was promised must be what came.
    let mut wrong = writer(&services, "wrong", 4, "").await.unwrap();
    wrong.write(Bytes::from_static(b"data")).await.unwrap();
    refused(
        Kind::FailedPrecondition,
        wrong.commit(4, &image::digest(b"another"), Labels::new()).await,
    );
    drop(wrong);
    let _ = content.abort("wrong").await;
    refused(Kind::NotFound, content.status("wrong").await);
    refused(
        Kind::AlreadyExists,
        writer(&services, "again", data.len(), &digest).await.map(drop),
    );

    let info = content.info(&digest).await.unwrap();
    assert_eq!(
        (info.size, info.labels.get("l").map(String::as_str)),
        (data.len() as u64, Some("x"))
    );
    assert_eq!(read_all(&**content, &digest, 1 << 30).await.unwrap(), data);
    let mut part = content.read(&digest, 1_000_001, 70_000).await.unwrap();
    let mut read = Vec::new();
    while let Some(chunk) = part.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }
    assert!(read == data[1_000_001..1_070_001], "a range of {}", read.len());

    let mut changed = info.clone();
    changed.labels = labels(&[("l", "y")]);
    let changed = content.update(changed, &["labels.l".to_owned()]).await.unwrap();
    assert_eq!(changed.labels.get("l").map(String::as_str), Some("y"));
    assert!(
        changed.labels.contains_key("containerd.io/gc.root"),
        "a label that was not named is lost"
    );
    let listed = content.list(&["labels.\"l\"==y".to_owned()]).await.unwrap();
    assert_eq!(
        listed.iter().map(|info| &info.digest).collect::<Vec<_>>(),
        [&digest]
    );
    assert!(
        content
            .list(&["labels.l==z".to_owned()])
            .await
            .unwrap()
            .is_empty()
    );

    // Another namespace has it only once it was written there.
    let other = supervisor.namespace("other").unwrap();
    refused(Kind::NotFound, other.content.info(&digest).await);
    write(&other, "mine", b"of the other", kept()).await;
    refused(
        Kind::NotFound,
        content.info(&image::digest(b"of the other")).await,
    );
    write(&other, "blob", b"shared by both", kept()).await;
    write(&services, "blob", b"shared by both", kept()).await;
    let shared = image::digest(b"shared by both");
    other.content.delete(&shared).await.unwrap();
    refused(Kind::NotFound, other.content.info(&shared).await);
    assert_eq!(
        read_all(&**content, &shared, 100).await.unwrap(),
        b"shared by both"
    );
    content.delete(&digest).await.unwrap();
    refused(Kind::NotFound, content.delete(&digest).await);
}

pub(crate) async fn images(supervisor: &dyn Supervisor) {
    let services = supervisor.namespace("images").unwrap();
    let target = Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: write(&services, "i", b"{}", kept()).await,
        size: 2,
        annotations: Labels::new(),
    };
    let image = Image {
        name: "example.com/one:1".to_owned(),
        labels: labels(&[("a", "1"), ("b", "2")]),
        target,
        ..Image::default()
    };
    let made = services.images.create(image.clone()).await.unwrap();
    assert_eq!((&made.name, &made.target), (&image.name, &image.target));
    refused(Kind::AlreadyExists, services.images.create(image.clone()).await);
    let second = Image {
        name: "example.com/two:1".to_owned(),
        ..image.clone()
    };
    services.images.create(second).await.unwrap();
    let found = services.images.list(&["name~=/one/".to_owned()]).await.unwrap();
    assert_eq!(
        found.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(),
        ["example.com/one:1"]
    );
    let change = Image {
        labels: labels(&[("a", "9")]),
        ..image.clone()
    };
    let changed = services
        .images
        .update(change, &["labels.a".to_owned()])
        .await
        .unwrap();
    assert_eq!(changed.labels, labels(&[("a", "9"), ("b", "2")]));
    services.images.delete(&image.name, false).await.unwrap();
    refused(Kind::NotFound, services.images.get(&image.name).await);
    refused(Kind::NotFound, services.images.delete(&image.name, false).await);
    let other = supervisor.namespace("other").unwrap();
    refused(Kind::NotFound, other.images.get("example.com/two:1").await);
}

pub(crate) async fn containers(supervisor: &dyn Supervisor) {
    let services = supervisor.namespace("containers").unwrap();
    let any = |type_url: &str, value: &[u8]| Any {
        type_url: type_url.to_owned(),
        value: value.to_owned(),
    };
    let container = Container {
        id: "one".to_owned(),
        labels: labels(&[("a", "1")]),
        image: "an/image".to_owned(),
        runtime: Runtime {
            name: "io.containerd.runc.v2".to_owned(),
            options: None,
        },
        spec: Some(any(RUNTIME_SPEC_TYPE, b"{\"ociVersion\":\"1.0.2\"}")),
        extensions: [("e".to_owned(), any("example.com/E", b"value"))].into(),
        ..Container::default()
    };
    services.containers.create(container.clone()).await.unwrap();
    refused(
        Kind::AlreadyExists,
        services.containers.create(container.clone()).await,
    );
    let found = services.containers.get("one").await.unwrap();
    assert_eq!(
        (&found.spec, &found.extensions, &found.labels),
        (&container.spec, &container.extensions, &container.labels)
    );
    let change = Container {
        labels: labels(&[("b", "2")]),
        image: "ignored".to_owned(),
        ..container.clone()
    };
    let changed = services
        .containers
        .update(change, &["labels.b".to_owned()])
        .await
        .unwrap();
    assert_eq!((changed.image.as_str(), changed.labels.len()), ("an/image", 2));
    let second = Container {
        id: "two".to_owned(),
        ..container.clone()
    };
    services.containers.create(second).await.unwrap();
    let listed = services
        .containers
        .list(&["labels.b==2".to_owned(), "id==none".to_owned()])
        .await
        .unwrap();
    assert_eq!(listed.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["one"]);
    let bad = Container {
        id: "no/id".to_owned(),
        ..container
    };
    refused(Kind::InvalidArgument, services.containers.create(bad).await);
    for id in ["one", "two"] {
        services.containers.delete(id).await.unwrap();
    }
    refused(Kind::NotFound, services.containers.get("one").await);
    refused(Kind::NotFound, services.containers.delete("one").await);
}

pub(crate) async fn leases(supervisor: &dyn Supervisor) {
    let services = supervisor.namespace("leases").unwrap();
    let leases = supervisor.leases("leases").unwrap();
    let digest = write(&services, "l", b"leased", kept()).await;
    let made = leases.create("one", labels(&[("a", "1")])).await.unwrap();
    assert_eq!((made.id.as_str(), made.labels.len()), ("one", 1));
    refused(Kind::AlreadyExists, leases.create("one", Labels::new()).await);
    let resource = Resource {
        id: digest,
        kind: "content".to_owned(),
    };
    leases.add_resource("one", resource.clone()).await.unwrap();
    leases.add_resource("one", resource.clone()).await.unwrap();
    assert_eq!(
        leases.resources("one").await.unwrap(),
        std::slice::from_ref(&resource)
    );
    refused(
        Kind::NotFound,
        leases.add_resource("none", resource.clone()).await,
    );
    leases.delete_resource("one", resource).await.unwrap();
    assert!(leases.resources("one").await.unwrap().is_empty());
    let listed = leases.list(&["labels.a==1".to_owned()]).await.unwrap();
    assert_eq!(listed.len(), 1);
    leases.delete("one").await.unwrap();
    refused(Kind::NotFound, leases.delete("one").await);
}

/// Makes the layer a blob and a committed snapshot. Returns its diff id, which is the snapshot's name.
pub(crate) async fn unpack(services: &Services, tar: Vec<u8>, parent: &str) -> String {
    let diff_id = image::digest(&tar);
    let blobs = image::Image::new().tar_layer(tar, Compression::Gzip).blobs();
    let (_, data) = &blobs[0];
    let digest = write(services, "layer", data, kept()).await;
    let key = format!("extract {diff_id}");
    let mounts = services
        .snapshots
        .prepare("overlayfs", &key, parent, kept())
        .await
        .unwrap();
    let descriptor = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        digest,
        size: data.len() as u64,
        annotations: Labels::new(),
    };
    let applied = services.diff.apply(&descriptor, &mounts).await.unwrap();
    assert_eq!(applied.digest, diff_id);
    services
        .snapshots
        .commit("overlayfs", &diff_id, &key, kept())
        .await
        .unwrap();
    diff_id
}

pub(crate) async fn snapshots(supervisor: &dyn Supervisor) {
    let services = supervisor.namespace("snapshots").unwrap();
    let snapshots = &services.snapshots;
    let mut layer = Layer::new();
    layer.dir("etc", 0o755).file("etc/one", 0o644, &[b'x'; 10_000]);
    let base = unpack(&services, layer.finish(), "").await;
    let mut layer = Layer::new();
    layer
        .dir("etc", 0o755)
        .whiteout("etc/one")
        .file("etc/two", 0o600, b"two");
    let top = unpack(&services, layer.finish(), &base).await;

    let info = snapshots.stat("overlayfs", &top).await.unwrap();
    assert_eq!((info.kind, &info.parent), (SnapshotKind::Committed, &base));
    let usage = snapshots.usage("overlayfs", &base).await.unwrap();
    assert!(usage.size >= 10_000 && usage.inodes >= 2, "{usage:?}");
    refused(
        Kind::FailedPrecondition,
        snapshots.remove("overlayfs", &base).await,
    );
    refused(
        Kind::NotFound,
        snapshots.prepare("overlayfs", "k", "no such", kept()).await,
    );
    refused(Kind::NotFound, snapshots.stat("overlayfs", "no such").await);
    let mounts = snapshots
        .prepare("overlayfs", "active", &top, kept())
        .await
        .unwrap();
    assert_eq!(mounts.len(), 1);
    refused(
        Kind::AlreadyExists,
        snapshots.prepare("overlayfs", "active", &top, kept()).await,
    );
    assert_eq!(snapshots.mounts("overlayfs", "active").await.unwrap(), mounts);
    let view = snapshots.view("overlayfs", "view", &base, kept()).await.unwrap();
    assert!(view[0].options.iter().any(|option| option == "ro"), "{view:?}");
    let names = |all: Vec<gantry_supervisor_core::snapshot::Info>| {
        let mut names: Vec<String> = all.into_iter().map(|info| info.name).collect();
        names.sort();
        names
    };
    let mut expected = vec!["active".to_owned(), base.clone(), top.clone(), "view".to_owned()];
    expected.sort();
    assert_eq!(names(snapshots.list("overlayfs", &[]).await.unwrap()), expected);
    let actives = snapshots
        .list("overlayfs", &["kind==active".to_owned()])
        .await
        .unwrap();
    assert_eq!(names(actives), ["active"]);
    let mut changed = snapshots.stat("overlayfs", "active").await.unwrap();
    changed.labels.insert("l".to_owned(), "1".to_owned());
    let changed = snapshots
        .update("overlayfs", changed, &["labels.l".to_owned()])
        .await
        .unwrap();
    assert_eq!(changed.labels.len(), 2);
    let other = supervisor.namespace("other").unwrap();
    refused(Kind::NotFound, other.snapshots.stat("overlayfs", &top).await);
    for name in ["active", "view", &top, &base] {
        snapshots.remove("overlayfs", name).await.unwrap();
    }
    refused(Kind::NotFound, snapshots.remove("overlayfs", &top).await);
}
