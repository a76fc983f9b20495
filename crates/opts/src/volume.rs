//! `--volume [source:]target[:options]`. Must not know whether a source is there.

use thiserror::Error;

/// A volume of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// A path or the name of a volume; none for an anonymous volume.
    pub source: Option<String>,
    /// Where it is in the container.
    pub target: String,
    /// What comes after the target, not yet explained.
    pub options: Vec<String>,
}

/// Why a volume cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VolumeError {
    /// Nothing is there.
    #[error("invalid empty volume spec")]
    Empty,
    /// Nothing before or after a colon.
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    /// More than source, target and options.
    #[error("invalid spec: {0}: too many colons")]
    TooMany(String),
}

/// Reads a volume.
pub fn parse(text: &str) -> Result<Volume, VolumeError> {
    let empty = || VolumeError::EmptySection(text.to_owned());
    let options = |text: &str| text.split(',').map(str::to_owned).collect();
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [""] => Err(VolumeError::Empty),
        [target] => Ok(Volume {
            source: None,
            target: target.to_owned(),
            options: Vec::new(),
        }),
        _ if parts.contains(&"") => Err(empty()),
        [source, target] => Ok(Volume {
            source: Some(source.to_owned()),
            target: target.to_owned(),
            options: Vec::new(),
        }),
        [source, target, list] => Ok(Volume {
            source: Some(source.to_owned()),
            target: target.to_owned(),
            options: options(list),
        }),
        _ => Err(VolumeError::TooMany(text.to_owned())),
    }
}

impl Volume {
    /// Whether the source is a path, rather than the name of a volume.
    pub fn is_bind(&self) -> bool {
        let first = self.source.as_ref().and_then(|source| source.chars().next());
        matches!(first, Some('.' | '/' | '~'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        let volume = parse("/a:/b:ro,z").expect("volume");
        assert_eq!(
            (volume.source.as_deref(), volume.target.as_str()),
            (Some("/a"), "/b")
        );
        assert_eq!(volume.options, ["ro", "z"]);
        assert!(volume.is_bind());
        assert!(!parse("name:/b").expect("volume").is_bind());
        assert_eq!(parse("/d").expect("volume").source, None);
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("", "invalid empty volume spec"),
            (":/x", "invalid spec: :/x: empty section between colons"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            ("/a:/b:ro:z", "invalid spec: /a:/b:ro:z: too many colons"),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
    }
}
