//! Images: index, manifest and configuration, OCI's and Docker's schema 2.
//!
//! These types are for reading what an image says and for writing new ones. What is digested and stored are always
//! the bytes as they came: nothing here promises that reading and writing gives the same bytes. Properties that are
//! not known are kept in `extra`, JSON's `null` is the same as nothing.
//!
//! Source: <https://github.com/opencontainers/image-spec>, `image-index.md`, `manifest.md`, `config.md`; Docker's
//! additions: <https://github.com/moby/docker-image-spec>.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::media_type;
use crate::platform::Platform;

#[cfg(test)]
mod tests;

/// A list of manifests, mostly one for each platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// One image: its configuration and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was built, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By whom.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// Go's name of the architecture.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// The variant of the architecture.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
    /// Go's name of the operating system.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// Its version, mostly for Windows.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// What it must offer, mostly for Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// How a container of it runs.
    #[serde(default, deserialize_with = "nullable")]
    pub config: ContainerConfig,
    /// The layers by the digests of their uncompressed tars.
    #[serde(default, deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// How each layer came about.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// What is not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    pub kind: String,
    /// The digests of the uncompressed tars, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
    /// By whom.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// Why.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub comment: String,
    /// Whether it made no layer.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// What is not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a container of an image runs when nothing else is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// User and group, by name or number.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports, `80/tcp`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Map<String, Value>>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command's fixed part; nothing and empty differ in a Dockerfile, not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Windows: the command is escaped already.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Anonymous volumes by path.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Map<String, Value>>,
    /// The working directory.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// Seconds between that signal and SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to find out whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Dockerfile instructions for images built on this one.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of a Dockerfile's shell form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// What is not known here (`Hostname`, `AttachStdin` … of old images).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How to find out whether a container works. Durations are nanoseconds; 0 means inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// Empty: inherit; `NONE`; `CMD` and arguments; `CMD-SHELL` and a command.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one check.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// In which failures do not count.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks in the start period.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// What a body fetched as an image turned out to be.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // held once per image, never in bulk
pub enum Document {
    /// An index or manifest list.
    Index(Index),
    /// A manifest.
    Manifest(Manifest),
}

/// Why bytes are not an image's document.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON that it should be.
    #[error("failed to parse {what}")]
    Json {
        /// What was expected.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Docker's first format.
    #[error("manifest of schema version 1 is not supported")]
    Schema1,
    /// Another media type.
    #[error("unsupported manifest media type {0:?}")]
    MediaType(String),
    /// One document that could be read as both, which a signer could abuse.
    #[error("ambiguous manifest: it has the fields of both a manifest and an index")]
    Ambiguous,
}

impl Document {
    /// Reads a body that was announced as `media_type` (empty or generic: the document's own word counts, then its
    /// shape).
    pub fn parse(media_type: &str, body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            #[serde(default)]
            schema_version: u32,
            #[serde(default)]
            media_type: String,
            manifests: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        let json = |what| move |source| Error::Json { what, source };
        let probe: Probe = serde_json::from_slice(body).map_err(json("manifest"))?;
        if probe.manifests.is_some() && (probe.config.is_some() || probe.layers.is_some()) {
            return Err(Error::Ambiguous);
        }
        let announced = media_type.split(';').next().unwrap_or_default().trim();
        let known = |t: &str| media_type::is_index(t) || media_type::is_manifest(t);
        let kind = [announced, &probe.media_type]
            .into_iter()
            .find(|t| known(t))
            .or(match (&probe.manifests, &probe.config) {
                (Some(_), _) => Some(media_type::OCI_INDEX),
                (None, Some(_)) => Some(media_type::OCI_MANIFEST),
                _ => None,
            })
            .unwrap_or_default();
        if matches!(
            announced,
            media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED
        ) || probe.schema_version == 1
        {
            return Err(Error::Schema1);
        }
        if media_type::is_index(kind) {
            Ok(Self::Index(
                serde_json::from_slice(body).map_err(json("image index"))?,
            ))
        } else if media_type::is_manifest(kind) {
            Ok(Self::Manifest(
                serde_json::from_slice(body).map_err(json("image manifest"))?,
            ))
        } else {
            let named = if announced.is_empty() {
                &probe.media_type
            } else {
                announced
            };
            Err(Error::MediaType(named.to_owned()))
        }
    }

    /// The media type under which it is stored: its own word, or OCI's for its shape.
    pub fn media_type(&self) -> &str {
        let (own, default) = match self {
            Self::Index(index) => (&index.media_type, media_type::OCI_INDEX),
            Self::Manifest(manifest) => (&manifest.media_type, media_type::OCI_MANIFEST),
        };
        if own.is_empty() { default } else { own }
    }
}

impl ImageConfig {
    /// Reads one.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(body).map_err(|source| Error::Json {
            what: "image configuration",
            source,
        })
    }

    /// What it runs on, normalised.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normalize()
    }
}

pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}
