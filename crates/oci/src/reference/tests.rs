//! Cases of names, good and bad, and what holds for all of them.

use proptest::prelude::*;

use super::*;

#[test]
fn good_names() {
    let hex = "a".repeat(64);
    let by_digest = format!("debian@sha256:{hex}");
    let both = format!("localhost:5000/a/b:1@sha256:{hex}");
    for (text, full, familiar) in [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        (
            "index.docker.io/library/debian",
            "docker.io/library/debian",
            "debian",
        ),
        ("index.docker.io/debian", "docker.io/library/debian", "debian"),
        (
            "user/app:v1.2-rc_3",
            "docker.io/user/app:v1.2-rc_3",
            "user/app:v1.2-rc_3",
        ),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        (
            "localhost:5000/app:1",
            "localhost:5000/app:1",
            "localhost:5000/app:1",
        ),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("ghcr.io/a/b/c/d", "ghcr.io/a/b/c/d", "ghcr.io/a/b/c/d"),
        ("Host/app", "Host/app", "Host/app"),
        ("a__b", "docker.io/library/a__b", "a__b"),
        ("a---b", "docker.io/library/a---b", "a---b"),
        ("a.b_c-d", "docker.io/library/a.b_c-d", "a.b_c-d"),
        ("debian:_x", "docker.io/library/debian:_x", "debian:_x"),
        (&by_digest, &format!("docker.io/library/{by_digest}"), &by_digest),
        (&both, &both, &both),
    ] {
        let reference = Reference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.to_string(), full);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(Reference::parse(full).as_ref(), Ok(&reference));
        assert_eq!(Reference::parse(familiar).as_ref(), Ok(&reference));
    }
}

#[test]
fn bad_names() {
    let hex = "a".repeat(64);
    for (text, message) in [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a-", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:-b", "invalid reference format"),
        ("host:port/a", "invalid reference format"),
        ("host:/a", "invalid reference format"),
        ("-h.x/a", "invalid reference format"),
        ("[zz]:1/a", "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("../etc", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        (
            "Foo",
            "invalid reference format: repository name (library/Foo) must be lowercase",
        ),
        (
            "user/Foo:Tag",
            "invalid reference format: repository name (user/Foo) must be lowercase",
        ),
        (
            "x.io/A",
            "invalid reference format: repository name (A) must be lowercase",
        ),
        (
            &format!("a@sha256:{}", "a".repeat(40)),
            "invalid checksum digest length",
        ),
        (
            &format!("a@md9:{}", "a".repeat(40)),
            "unsupported digest algorithm",
        ),
        (
            &hex,
            &format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings"),
        ),
        (
            &format!("a/{}", "b".repeat(255)),
            "repository name must not be more than 255 characters",
        ),
        (&format!("a:{}", "b".repeat(129)), "invalid reference format"),
    ] {
        assert_eq!(
            Reference::parse(text).map_err(|e| e.to_string()),
            Err(message.to_owned()),
            "{text:?}"
        );
    }
}

#[test]
fn parts_are_exchanged() {
    let digest = Digest::from_sha256(&[1; 32]);
    let plain = Reference::parse("debian").expect("good");
    assert_eq!(plain.clone().with_default_tag().familiar(), "debian:latest");
    assert_eq!(
        plain.with_tag("12").expect("good").with_default_tag().familiar(),
        "debian:12"
    );
    assert_eq!(plain.with_tag("a b"), Err(ParseError::Tag));
    let pinned = plain.with_digest(digest.clone());
    assert_eq!(pinned.clone().with_default_tag().tag(), None);
    assert_eq!(pinned.digest(), Some(&digest));
    assert_eq!(pinned.without_tag_and_digest(), plain);
}

proptest! {
    #[test]
    fn what_is_read_reads_the_same_again(text in "\\PC{0,60}|[a-zA-Z0-9._/:@-]{0,60}|[a-z0-9]{1,5}([./:_-][a-z0-9]{1,4}){0,4}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference.clone()));
            prop_assert_eq!(Reference::parse(&reference.familiar()), Ok(reference.clone()));
            prop_assert!(reference.name().len() <= 255);
        }
    }
}
