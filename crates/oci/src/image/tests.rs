//! Real documents, and the specification's own Rust types as the judge of ours.

use proptest::prelude::*;

use super::*;

const CONFIG: &str = r#"{"architecture":"arm64","os":"linux","variant":"v8","created":"2024-01-02T03:04:05Z",
 "config":{"User":"1000:1000","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=b=c"],"Entrypoint":["/e"],"Cmd":null,
  "Volumes":null,"WorkingDir":"/w","Labels":{"k":"v"},"StopSignal":"SIGQUIT","StopTimeout":3,
  "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000,"Retries":2},"OnBuild":["RUN x"],
  "Shell":["/bin/bash","-c"],"ArgsEscaped":true,"Hostname":"h","AttachStdin":false},
 "rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},
 "history":[{"created":"2024-01-02T03:04:05Z","created_by":"RUN","empty_layer":true}],
 "moby.buildkit.cache.v0":"x"}"#;

#[test]
fn a_configuration_keeps_all_it_says() {
    let config = ImageConfig::parse(CONFIG.as_bytes()).expect("parse");
    assert_eq!(config.platform().to_string(), "linux/arm64");
    assert_eq!(config.config.cmd, None);
    assert_eq!(config.config.entrypoint.as_deref(), Some(&["/e".to_owned()][..]));
    assert_eq!(
        config
            .config
            .healthcheck
            .as_ref()
            .map(|h| (h.interval, h.retries)),
        Some((1000, 2))
    );
    assert_eq!(config.config.on_build, ["RUN x"]);
    assert_eq!(config.config.stop_timeout, Some(3));
    assert!(config.config.args_escaped);
    assert_eq!(config.config.extra["Hostname"], "h");
    assert_eq!(config.extra["moby.buildkit.cache.v0"], "x");
    let again = ImageConfig::parse(&serde_json::to_vec(&config).expect("write")).expect("parse");
    assert_eq!(again, config);
    let theirs: oci_spec::image::ImageConfiguration =
        serde_json::from_slice(&serde_json::to_vec(&config).expect("write")).expect("oracle");
    assert_eq!(theirs.rootfs().diff_ids().len(), 1);
    assert_eq!(
        theirs
            .config()
            .as_ref()
            .and_then(|c| c.stop_signal().clone())
            .as_deref(),
        Some("SIGQUIT")
    );
}

#[test]
fn the_smallest_configurations_are_read() {
    for text in [
        "{}",
        r#"{"config":null,"rootfs":null,"history":null}"#,
        r#"{"config":{"Env":null,"Labels":null}}"#,
    ] {
        ImageConfig::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    assert!(ImageConfig::parse(b"[]").is_err());
    assert!(ImageConfig::parse(b"").is_err());
}

fn body(fields: &str) -> Vec<u8> {
    let hex = "b".repeat(64);
    let config = format!(
        r#"{{"mediaType":"{}","digest":"sha256:{hex}","size":2}}"#,
        media_type::DOCKER_CONFIG
    );
    fields.replace("CONFIG", &config).into_bytes()
}

#[test]
fn documents_are_told_apart() {
    let manifest = body(r#"{"schemaVersion":2,"config":CONFIG,"layers":[CONFIG]}"#);
    let index = body(r#"{"schemaVersion":2,"manifests":[CONFIG]}"#);
    for announced in [
        "",
        "application/json",
        media_type::OCI_MANIFEST,
        "application/vnd.oci.image.manifest.v1+json; x=y",
    ] {
        assert!(
            matches!(Document::parse(announced, &manifest), Ok(Document::Manifest(_))),
            "{announced}"
        );
    }
    assert!(matches!(Document::parse("", &index), Ok(Document::Index(_))));
    let document = Document::parse(media_type::DOCKER_LIST, &index).expect("index");
    assert_eq!(document.media_type(), media_type::OCI_INDEX);
    assert!(matches!(
        Document::parse("text/html", b"<html>"),
        Err(Error::Json { .. })
    ));
    assert!(matches!(Document::parse("", b"{}"), Err(Error::MediaType(_))));
    assert!(matches!(
        Document::parse("", br#"{"schemaVersion":1,"config":{}}"#),
        Err(Error::Schema1)
    ));
    let both = body(r#"{"schemaVersion":2,"config":CONFIG,"layers":[],"manifests":[]}"#);
    assert!(matches!(Document::parse("", &both), Err(Error::Ambiguous)));
    let negative = br#"{"schemaVersion":2,"manifests":[{"mediaType":"","digest":"sha256:x","size":-1}]}"#;
    assert!(matches!(Document::parse("", negative), Err(Error::Json { .. })));
}

#[test]
fn what_we_write_the_specification_reads() {
    let digest = Digest::from_sha256(&[7; 32]);
    let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest.clone(), 5);
    descriptor.platform = Some(Platform::new("linux", "arm", "v7"));
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests: vec![descriptor],
        annotations: BTreeMap::new(),
    };
    let theirs: oci_spec::image::ImageIndex =
        serde_json::from_slice(&serde_json::to_vec(&index).expect("write")).expect("oracle");
    let platform = theirs.manifests()[0].platform().clone().expect("platform");
    assert_eq!(platform.variant().as_deref(), Some("v7"));
    assert_eq!(theirs.manifests()[0].size(), 5);
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor::new(media_type::OCI_CONFIG, digest.clone(), 1),
        layers: vec![Descriptor::new(media_type::OCI_LAYER_ZSTD, digest, 1)],
        annotations: BTreeMap::new(),
    };
    let theirs: oci_spec::image::ImageManifest =
        serde_json::from_slice(&serde_json::to_vec(&manifest).expect("write")).expect("oracle");
    assert_eq!(
        *theirs.layers()[0].media_type(),
        oci_spec::image::MediaType::ImageLayerZstd
    );
}

proptest! {
    #[test]
    fn no_bytes_bring_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse("", &bytes);
        let _ = ImageConfig::parse(&bytes);
    }
}
