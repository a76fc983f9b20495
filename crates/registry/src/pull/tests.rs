//! The client against a registry that does as it is told.

use std::time::Duration;

use gantry_oci::Reference;
use serde_json::json;

use super::*;
use crate::Settings;
use crate::testserver::{Auth, Fault, TestServer, digest};

fn client() -> Client {
    Client::new(Settings {
        pause: Duration::from_millis(5),
        read_timeout: Duration::from_secs(5),
        ..Settings::default()
    })
}

fn reference(server: &TestServer, rest: &str) -> Reference {
    Reference::parse(&format!("{}/{rest}", server.address()))
        .unwrap()
        .with_default_tag()
}

async fn fetch(server: &TestServer, rest: &str, credentials: Option<Credentials>) -> Result<Manifest> {
    let reference = reference(server, rest);
    client()
        .repository(&reference, credentials)
        .await?
        .manifest(&reference)
        .await
}

async fn drain(blob: &mut Blob) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn user(name: &str, password: &str) -> Option<Credentials> {
    Some(Credentials {
        username: name.to_owned(),
        password: password.to_owned(),
        ..Credentials::default()
    })
}

#[tokio::test]
async fn a_tag_and_its_digest_are_the_same_manifest() {
    let server = TestServer::start().await;
    let (wanted, size) = server.image("a/b", "1", "amd64", &[]);
    let tag = reference(&server, "a/b:1");
    let repository = client().repository(&tag, None).await.unwrap();
    let descriptor = repository.resolve(&tag).await.unwrap();
    assert_eq!((&descriptor.digest, descriptor.size as usize), (&wanted, size));
    let by_tag = repository.manifest(&tag).await.unwrap();
    let by_digest = repository
        .manifest(&tag.with_digest(wanted.clone()))
        .await
        .unwrap();
    assert_eq!(by_tag, by_digest);
    assert_eq!(by_tag.descriptor, descriptor);
}

#[tokio::test]
async fn what_is_not_there_is_told_as_docker_tells_it() {
    let server = TestServer::start().await;
    server.image("a/b", "1", "amd64", &[]);
    let address = server.address();
    let error = fetch(&server, "a/b:2", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("manifest for {address}/a/b:2 not found: manifest unknown: manifest unknown")
    );
    let error = fetch(&server, "c", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("repository {address}/c not found: name unknown: repository name not known to registry")
    );
    server.fail(
        "/manifests/",
        Fault::Body(br#"{"errors":[{"code":"DENIED","message":"no"}]}"#.to_vec()),
        9,
    );
    let error = fetch(&server, "c", None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {address}/c, repository does not exist or may require 'docker login': denied: no"
        )
    );
}

#[tokio::test]
async fn nobody_listens() {
    let reference = Reference::parse("127.0.0.1:1/a").unwrap();
    let error = client().repository(&reference, None).await.err().unwrap();
    let expected = "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn every_dance_ends_in_the_manifest() {
    let server = TestServer::start().await;
    server.image("a/b", "1", "amd64", &[]);
    let identity = Some(Credentials {
        identity_token: "it".to_owned(),
        ..Credentials::default()
    });
    for (auth, credentials) in [
        (Auth::Basic("u".to_owned(), "p".to_owned()), user("u", "p")),
        (Auth::Anonymous, None),
        (Auth::Bearer("u".to_owned(), "p".to_owned()), user("u", "p")),
        (Auth::Identity("it".to_owned()), identity),
    ] {
        server.set_auth(auth.clone());
        let fetched = fetch(&server, "a/b:1", credentials).await;
        assert!(fetched.is_ok(), "{auth:?}: {fetched:?}");
    }
}

#[tokio::test]
async fn a_token_that_ended_is_replaced() {
    let server = TestServer::start().await;
    server.image("a/b", "1", "amd64", &[]);
    server.set_auth(Auth::Anonymous);
    let reference = reference(&server, "a/b:1");
    let repository = client().repository(&reference, None).await.unwrap();
    repository.manifest(&reference).await.unwrap();
    // Somebody else's token is the newest now, and ours no longer counts.
    fetch(&server, "a/b:1", None).await.unwrap();
    repository.manifest(&reference).await.unwrap();
}

#[tokio::test]
async fn wrong_or_missing_credentials() {
    let server = TestServer::start().await;
    server.image("a/b", "1", "amd64", &[]);
    server.set_auth(Auth::Basic("u".to_owned(), "p".to_owned()));
    let error = fetch(&server, "a/b:1", None).await.unwrap_err().to_string();
    assert!(error.ends_with(": no basic auth credentials"), "{error}");
    let error = fetch(&server, "a/b:1", user("u", "x"))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "unauthorized: authentication required");
    server.set_auth(Auth::Bearer("u".to_owned(), "p".to_owned()));
    for credentials in [None, user("u", "x")] {
        let error = fetch(&server, "a/b:1", credentials)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(": unauthorized: incorrect username or password"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn passing_failures_pass() {
    let server = TestServer::start().await;
    server.image("a/b", "1", "amd64", &[]);
    for fault in [
        Fault::Status(503, None),
        Fault::Status(500, None),
        Fault::Status(429, Some(0)),
        Fault::Drop,
        Fault::Cut(20),
    ] {
        server.fail("/manifests/", fault.clone(), 2);
        let fetched = fetch(&server, "a/b:1", None).await;
        assert!(fetched.is_ok(), "{fault:?}: {fetched:?}");
    }
    server.fail("/manifests/", Fault::Status(503, None), 99);
    let error = fetch(&server, "a/b:1", None).await.unwrap_err().to_string();
    assert_eq!(error, "received unexpected HTTP status: 503 Service Unavailable");
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says_and_not_too_large() {
    let server = TestServer::start().await;
    let (wanted, _) = server.image("a/b", "1", "amd64", &[]);
    server.fail("/manifests/", Fault::Corrupt, 1);
    let error = fetch(&server, &format!("a/b@{wanted}"), None)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, format!("manifest verification failed for digest {wanted}"));
    server.fail(
        "/manifests/",
        Fault::Body(vec![b' '; MANIFEST_MAX as usize + 1]),
        1,
    );
    let error = fetch(&server, "a/b:1", None).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn the_first_format_is_refused() {
    let server = TestServer::start().await;
    let body =
        json!({ "schemaVersion": 1, "name": "a", "tag": "1", "fsLayers": [], "history": [] }).to_string();
    server.manifest("a", "1", media_type::DOCKER_SCHEMA1_SIGNED, body.as_bytes());
    let tag = reference(&server, "a:1");
    let repository = client().repository(&tag, None).await.unwrap();
    for error in [
        repository.resolve(&tag).await.unwrap_err(),
        repository.manifest(&tag).await.unwrap_err(),
    ] {
        assert!(
            error.to_string().contains("schema 1 support has been removed"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_goes_on_where_it_stopped() {
    let server = TestServer::start().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let descriptor = Descriptor::new(media_type::OCI_LAYER, server.blob(&bytes), bytes.len() as u64);
    let reference = reference(&server, "a");
    let repository = client().repository(&reference, None).await.unwrap();
    server.fail("/blobs/", Fault::Cut(50_000), 3);
    assert_eq!(drain(&mut repository.blob(&descriptor, 0)).await.unwrap(), bytes);
    let ranges = server
        .log()
        .iter()
        .filter(|line| line.contains(" bytes="))
        .count();
    assert!(ranges >= 3, "{:?}", server.log());
    // A registry that knows no ranges: what we have is skipped.
    server.fail("/blobs/", Fault::Cut(50_000), 1);
    server.fail("/blobs/", Fault::NoRange, 9);
    assert_eq!(drain(&mut repository.blob(&descriptor, 0)).await.unwrap(), bytes);
    // From the middle, as a pull that was ended does.
    let rest = drain(&mut repository.blob(&descriptor, 150_000)).await.unwrap();
    assert_eq!(rest, bytes[150_000..]);
    assert!(
        drain(&mut repository.blob(&descriptor, bytes.len() as u64))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_blob_has_the_size_that_was_announced() {
    let server = TestServer::start().await;
    let reference = reference(&server, "a");
    let repository = client().repository(&reference, None).await.unwrap();
    let longer = Descriptor::new(media_type::OCI_LAYER, server.blob(b"12345"), 4);
    let error = drain(&mut repository.blob(&longer, 0)).await.unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
    let shorter = Descriptor::new(media_type::OCI_LAYER, server.blob(b"12345"), 6);
    let error = drain(&mut repository.blob(&shorter, 0))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("unexpected EOF") || error.contains("416"),
        "{error}"
    );
    let unknown = Descriptor::new(media_type::OCI_LAYER, digest(b"x"), 1);
    let error = drain(&mut repository.blob(&unknown, 0)).await.unwrap_err();
    assert!(matches!(error, Error::BlobUnknown { .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token() {
    let (front, store) = (TestServer::start().await, TestServer::start().await);
    let descriptor = Descriptor::new(media_type::OCI_LAYER, store.blob(b"far away"), 8);
    front.set_auth(Auth::Basic("u".to_owned(), "p".to_owned()));
    // The store takes no token; it would not mind one, but must not see it.
    let to = format!(
        "http://{}/v2/s/blobs/{}?sig=1",
        store.address(),
        descriptor.digest
    );
    front.fail("/blobs/", Fault::Redirect(to), 1);
    let reference = reference(&front, "a");
    let repository = client().repository(&reference, user("u", "p")).await.unwrap();
    assert_eq!(
        drain(&mut repository.blob(&descriptor, 0)).await.unwrap(),
        b"far away"
    );
    assert!(store.log().iter().all(|line| !line.contains("authorization")));
}
