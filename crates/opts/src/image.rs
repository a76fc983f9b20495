//! Names of images on the command line: what a pull asks for, and how Docker shows a name.

use gantry_oci::reference::{ParseError, Reference, is_identifier};

/// A name of an image taken apart for a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The repository, as Docker shows it (`busybox`, `localhost:5000/a/b`).
    pub repository: String,
    /// The tag or the digest; the tag `latest` if none was given.
    pub version: String,
    /// Whether the version is a digest.
    pub by_digest: bool,
    /// Whether no version was given.
    pub defaulted: bool,
    /// The whole name as Docker shows it.
    pub familiar: String,
    /// The whole name with its registry.
    pub full: String,
}

/// Reads a name.
pub fn parse(text: &str) -> Result<Name, ParseError> {
    let given = Reference::parse(text)?;
    let defaulted = given.tag().is_none() && given.digest().is_none();
    let reference = given.with_default_tag();
    let (version, by_digest) = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => (digest.as_str().to_owned(), true),
        (None, tag) => (tag.unwrap_or_default().to_owned(), false),
    };
    Ok(Name {
        repository: reference.familiar_name(),
        version,
        by_digest,
        defaulted,
        familiar: reference.familiar(),
        full: reference.to_string(),
    })
}

/// Reads a name, or nothing where the text is an image's id.
pub fn parse_any(text: &str) -> Result<Option<Name>, ParseError> {
    if is_identifier(text) || text.strip_prefix("sha256:").is_some_and(is_identifier) {
        return Ok(None);
    }
    parse(text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        let name = parse("busybox").expect("name");
        assert_eq!(
            (name.repository.as_str(), name.version.as_str()),
            ("busybox", "latest")
        );
        assert!(name.defaulted && !name.by_digest);
        assert_eq!(name.familiar, "busybox:latest");
        assert_eq!(name.full, "docker.io/library/busybox:latest");
        let name = parse("localhost:5000/a/b:1").expect("name");
        assert_eq!(
            (name.repository.as_str(), name.version.as_str()),
            ("localhost:5000/a/b", "1")
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        let name = parse(&format!("busybox@{digest}")).expect("name");
        assert!(name.by_digest && !name.defaulted);
        assert_eq!(name.version, digest);
        assert_eq!(parse_any(&digest), Ok(None));
        assert_eq!(parse_any(&"a".repeat(64)), Ok(None));
    }

    #[test]
    fn bad() {
        assert_eq!(
            parse("BAD IMAGE").map_err(|e| e.to_string()),
            Err("invalid reference format: repository name (library/BAD IMAGE) must be lowercase".to_owned())
        );
        assert!(parse("a:b:c").is_err());
    }
}
