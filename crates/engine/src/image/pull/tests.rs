//! Pulls from a registry that fails as it is told to, into a real supervisor of this process. As root, as all of this.

use std::time::Duration;

use gantry_registry::testserver::{Auth, Fault, TestServer, digest};
use gantry_supervisor_core::Supervisor as _;

use super::*;
use crate::Config;

struct Place {
    engine: Arc<Engine>,
    server: TestServer,
    _dir: tempfile::TempDir,
}

async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (data, exec) = (dir.path().join("data"), dir.path().join("exec"));
    let supervisor = gantry_supervisor::Config::new(&data, &exec).open().await.unwrap();
    let services = supervisor.namespace("test").unwrap();
    let engine = Engine::open(Config::new(&data, &exec), services).await.unwrap();
    Place {
        engine,
        server: TestServer::start().await,
        _dir: dir,
    }
}

/// A tar with one file.
fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    tar.append_data(&mut header, name, &bytes[..]).unwrap();
    tar.into_inner().unwrap()
}

impl Place {
    fn image(&self, name: &str, tag: &str, layers: &[&[u8]]) -> Digest {
        let layers: Vec<(Digest, &[u8])> = layers.iter().map(|tar| (digest(tar), *tar)).collect();
        let architecture = Platform::host().architecture;
        self.server.image(name, tag, &architecture, &layers).0
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.server.address())
    }

    async fn pull(&self, rest: &str) -> Vec<String> {
        let stream = self.engine.image_pull(&self.name(rest), None, None).await;
        lines(stream.unwrap()).await
    }

    async fn fails(&self, rest: &str) -> String {
        let said = self.pull(rest).await;
        let last = said.last().cloned().unwrap_or_default();
        last.strip_prefix("error: ")
            .unwrap_or_else(|| panic!("{said:#?}"))
            .to_owned()
    }

    /// Names, blobs, snapshots and ingests.
    async fn left(&self) -> [usize; 4] {
        let services = &self.engine.services;
        [
            services.images.list(&[]).await.unwrap().len(),
            services.content.list(&[]).await.unwrap().len(),
            services.snapshots.list("", &[]).await.unwrap().len(),
            services.content.statuses(&[]).await.unwrap().len(),
        ]
    }

    fn fetched(&self, bytes: &[u8]) -> usize {
        let path = format!("/blobs/{}", digest(bytes));
        self.server
            .log()
            .iter()
            .filter(|line| line.contains(&path))
            .count()
    }
}

async fn lines(mut stream: BoxStream<'static, Message>) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(message) = stream.next().await {
        if message.status == "Downloading" {
            continue;
        }
        said.push(match (&message.error, message.id.as_str()) {
            (error, _) if !error.is_empty() => format!("error: {error}"),
            (_, "") => message.status,
            (_, id) => format!("{id}: {}", message.status),
        });
    }
    said
}

#[tokio::test]
async fn an_image_comes_and_is_told_of_as_docker_tells() {
    let place = place().await;
    let (one, two) = (layer("one", 10), layer("two", 100_000));
    let target = place.image("a/b", "1", &[&one, &two]);
    let said = place.pull("a/b:1").await;
    assert_eq!(said[0], "1: Pulling from a/b");
    let name = place.name("a/b:1");
    let end = [
        format!("Digest: {target}"),
        format!("Status: Downloaded newer image for {name}"),
    ];
    assert_eq!(said[said.len() - 2..], end);
    for tar in [&one, &two] {
        let id: String = digest(tar).hex().chars().take(12).collect();
        let mine: Vec<&str> = said
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("{id}: ")))
            .collect();
        let all = [
            "Pulling fs layer",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ];
        assert_eq!(mine, all);
    }
    assert_eq!(place.left().await, [1, 4, 2, 0]);
    let image = place.engine.image_resolve(&name, None).await.unwrap();
    assert_eq!(image.id, target.to_string());
    place.engine.image_ensure_unpacked(&image).await.unwrap();

    let said = place.pull("a/b:1").await;
    let up_to_date = format!("Status: Image is up to date for {name}");
    let all = [
        "1: Pulling from a/b".to_owned(),
        format!("Digest: {target}"),
        up_to_date,
    ];
    assert_eq!(said, all);
    assert_eq!((place.fetched(&one), place.fetched(&two)), (1, 1));

    // By its digest, and with a layer on top: what is there is not fetched again.
    let said = place.pull(&format!("a/b@{target}")).await;
    assert_eq!(said[0], format!("{target}: Pulling from a/b"));
    let three = layer("three", 10);
    place.image("c", "latest", &[&one, &two, &three]);
    let said = place.pull("c").await;
    let exists = said
        .iter()
        .filter(|line| line.ends_with(": Already exists"))
        .count();
    assert_eq!(exists, 2, "{said:#?}");
    assert_eq!((place.fetched(&one), place.fetched(&two)), (1, 1));

    // The digest goes with the only tag of its repository.
    let gone = place.engine.image_remove(&name, false, false).await.unwrap();
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert_eq!(
        place.left().await,
        [1, 5, 3, 0],
        "what the other image uses stays"
    );
    place
        .engine
        .image_remove(&place.name("c"), false, false)
        .await
        .unwrap();
    assert_eq!(place.left().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn errors_before_the_first_message_are_returned() {
    let place = place().await;
    let pull = |name: String| {
        let engine = place.engine.clone();
        async move {
            engine
                .image_pull(&name, None, None)
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    let refused =
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused".to_owned();
    assert_eq!(pull("127.0.0.1:1/x".to_owned()).await, refused);
    let unknown = pull(place.name("none:1")).await;
    assert!(unknown.contains("/none not found: name unknown"), "{unknown}");
    place.server.set_auth(Auth::Basic("u".to_owned(), "p".to_owned()));
    let nobody = pull(place.name("none:1")).await;
    assert!(nobody.ends_with("no basic auth credentials"), "{nobody}");
    let tar = layer("x", 1);
    place.image("secret", "latest", &[&tar]);
    let auth = AuthConfig {
        username: "u".to_owned(),
        password: "p".to_owned(),
        ..AuthConfig::default()
    };
    let stream = place
        .engine
        .image_pull(&place.name("secret"), None, Some(auth))
        .await;
    assert!(
        lines(stream.unwrap())
            .await
            .last()
            .unwrap()
            .starts_with("Status: Downloaded")
    );
}

#[tokio::test]
async fn what_is_wrong_leaves_nothing_and_the_next_pull_works() {
    let place = place().await;
    let (good, bad) = (layer("good", 1000), layer("bad", 1000));
    place.image("wrong", "digest", &[&good, &bad]);
    let blob = digest(&bad);
    place.server.fail(&format!("/blobs/{blob}"), Fault::Corrupt, 2);
    let error = place.fails("wrong:digest").await;
    assert_eq!(
        error,
        format!("filesystem layer verification failed for digest {blob}")
    );
    assert_eq!(place.left().await, [0, 0, 0, 0]);

    // The bytes are right, what they unpack to is not.
    let layers = [(digest(b"other"), &bad[..])];
    place
        .server
        .image("wrong", "diff", &Platform::host().architecture, &layers);
    let error = place.fails("wrong:diff").await;
    assert!(
        error.starts_with("failed to register layer: wrong diff id"),
        "{error}"
    );
    assert_eq!(place.left().await, [0, 0, 0, 0]);

    // No tar at all.
    place.image("wrong", "tar", &[b"no tar"]);
    let error = place.fails("wrong:tar").await;
    assert!(error.starts_with("failed to register layer: "), "{error}");
    assert_eq!(place.left().await, [0, 0, 0, 0]);

    place.server.image("wrong", "platform", "s390x", &[]);
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [{
        "mediaType": media_type::OCI_MANIFEST, "digest": digest(b"x"), "size": 1,
        "platform": { "os": "linux", "architecture": "s390x" },
    }] });
    place.server.manifest(
        "wrong",
        "platform",
        media_type::OCI_INDEX,
        index.to_string().as_bytes(),
    );
    let error = place.fails("wrong:platform").await;
    let host = Platform::host();
    assert_eq!(
        error,
        format!("no matching manifest for {host} in the manifest list entries")
    );

    let said = place.pull("wrong:digest").await;
    assert!(
        said.last().unwrap().starts_with("Status: Downloaded"),
        "{said:#?}"
    );
}

#[tokio::test]
async fn a_pull_that_is_cut_off_goes_on_where_it_stopped() {
    let place = place().await;
    let big = layer("big", 1 << 20);
    place.image("big", "latest", &[&big]);
    let path = format!("/blobs/{}", digest(&big));
    place.server.fail(&path, Fault::Hang(300_000), 1);
    let mut stream = place
        .engine
        .image_pull(&place.name("big"), None, None)
        .await
        .unwrap();
    while place.fetched(&big) == 0 {
        let next = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
        assert!(!matches!(next, Ok(None)));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    assert_eq!(place.left().await[0], 0, "nothing half-made has a name");
    let said = place.pull("big").await;
    assert!(
        said.last().unwrap().starts_with("Status: Downloaded"),
        "{said:#?}"
    );
    let log = place.server.log();
    assert!(log.iter().any(|line| line.contains("bytes=")), "{log:#?}");
    assert_eq!(place.left().await[3], 0);
}

#[tokio::test]
async fn two_pulls_fetch_a_layer_once() {
    let place = place().await;
    let (one, two) = (layer("one", 500_000), layer("two", 10));
    place.image("a", "latest", &[&one]);
    place.image("b", "latest", &[&one, &two]);
    let (a, b, c) = tokio::join!(place.pull("a"), place.pull("b"), place.pull("a"));
    for said in [a, b, c] {
        assert!(said.last().unwrap().starts_with("Status: "), "{said:#?}");
    }
    assert_eq!((place.fetched(&one), place.fetched(&two)), (1, 1));
    assert_eq!(place.left().await[2], 2);
}

#[tokio::test]
async fn a_tag_that_moves_leaves_the_old_image_without_a_name() {
    let place = place().await;
    let (one, two) = (layer("one", 10), layer("two", 10));
    let old = place.image("a", "latest", &[&one]);
    place.pull("a").await;
    place.image("a", "latest", &[&two]);
    let said = place.pull("a").await;
    assert!(
        said.last().unwrap().starts_with("Status: Downloaded"),
        "{said:#?}"
    );
    let listed = place.engine.image_list(&Default::default(), false).await.unwrap();
    let nameless: Vec<&str> = listed
        .iter()
        .filter(|i| i.repo_tags.is_empty())
        .map(|i| i.id.as_str())
        .collect();
    assert_eq!(nameless, [old.as_str()]);
    place
        .engine
        .image_remove(old.as_str(), false, false)
        .await
        .unwrap();
    place
        .engine
        .image_remove(&place.name("a"), false, false)
        .await
        .unwrap();
    assert_eq!(place.left().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_was_being_unpacked_goes_when_an_engine_opens() {
    let place = place().await;
    let tar = layer("one", 10);
    place.image("a", "latest", &[&tar]);
    place.pull("a").await;
    let chain = digest(&tar).to_string();
    let snapshots = &place.engine.services.snapshots;
    snapshots
        .prepare("", "extract-123 x", &chain, Labels::new())
        .await
        .unwrap();
    snapshots
        .prepare("", "somebody's", &chain, Labels::new())
        .await
        .unwrap();
    place.engine.sweep_unpacking().await.unwrap();
    assert_eq!(
        place.left().await[2],
        2,
        "the layer and what somebody else made stay"
    );
}

#[tokio::test]
async fn an_index_gives_the_platform_that_is_wanted() {
    let place = place().await;
    let (own, other) = (layer("own", 10), layer("other", 10));
    let host = Platform::host().architecture;
    let entry = |architecture: &str, tar: &[u8]| {
        let (digest, size) = place
            .server
            .image("i", architecture, architecture, &[(digest(tar), tar)]);
        serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let entries = [entry("s390x", &other), entry(&host, &own)];
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
    let target = place
        .server
        .manifest("i", "latest", media_type::OCI_INDEX, index.to_string().as_bytes());
    let name = place.name("i");
    let engine = &place.engine;
    let stream = engine.image_pull(&name, Some("linux/s390x"), None).await;
    let said = lines(stream.unwrap()).await;
    assert!(
        said.last().unwrap().starts_with("Status: Downloaded"),
        "{said:#?}"
    );
    // It can be looked at, but no container is made of it here.
    assert_eq!(engine.image_inspect(&name).await.unwrap().architecture, "s390x");
    assert!(engine.image_resolve(&name, None).await.is_err());
    let said = place.pull("i").await;
    assert!(
        said.last().unwrap().starts_with("Status: Downloaded"),
        "{said:#?}"
    );
    assert_eq!(
        engine.image_resolve(&name, None).await.unwrap().id,
        target.to_string()
    );
    assert_eq!(engine.image_inspect(&name).await.unwrap().architecture, host);
    assert_eq!((place.fetched(&own), place.fetched(&other)), (1, 1));
    engine.image_remove(&name, false, false).await.unwrap();
    assert_eq!(place.left().await, [0, 0, 0, 0]);
}
