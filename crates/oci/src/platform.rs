//! Platforms: operating system, architecture and variant, as containerd writes, normalises and matches them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on, in Go's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64` …
    #[serde(default)]
    pub architecture: String,
    /// `linux` …
    #[serde(default)]
    pub os: String,
    /// The version of the system, for Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// What the system must offer, for Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "crate::image::nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// `v7` …; empty for most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A part has characters that it may not have, or is empty.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
    )]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// One word that is neither a system nor an architecture.
    #[error("{0:?}: unknown operating system or architecture")]
    Unknown(String),
    /// More than three parts.
    #[error("{0:?}: cannot parse platform specifier")]
    Form(String),
}

const SYSTEMS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "solaris",
    "windows",
];

const ARCHITECTURES: [&str; 17] = [
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64",
    "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm",
];

impl Platform {
    /// From an operating system and an architecture, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Self::default()
        }
        .normalize()
    }

    /// What this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture, "")
    }

    /// In containerd's normal form: `x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is `arm/v7` …
    #[must_use]
    pub fn normalize(mut self) -> Self {
        self.os = self.os.to_ascii_lowercase();
        if self.os == "macos" {
            "darwin".clone_into(&mut self.os);
        }
        let (architecture, variant) = normalize_architecture(
            &self.architecture.to_ascii_lowercase(),
            &self.variant.to_ascii_lowercase(),
        );
        self.architecture = architecture;
        self.variant = variant;
        self
    }

    /// How well something built for `candidate` runs here: 0 is best; `None` is not at all.
    ///
    /// An amd64 machine runs 386 too, an arm machine all older variants, and arm64 the 32-bit ones.
    pub fn preference(&self, candidate: &Self) -> Option<usize> {
        let (here, there) = (self.clone().normalize(), candidate.clone().normalize());
        if here.os != there.os {
            return None;
        }
        here.runs().iter().position(|(architecture, variant)| {
            *architecture == there.architecture && *variant == there.variant
        })
    }

    fn runs(&self) -> Vec<(String, String)> {
        let number = |variant: &str, default| {
            variant
                .strip_prefix('v')
                .and_then(|n| n.parse::<u32>().ok())
                .unwrap_or(default)
        };
        let pair = |architecture: &str, variant: &str| (architecture.to_owned(), variant.to_owned());
        let arm = |from: u32| (5..=from).rev().map(move |n| ("arm".to_owned(), format!("v{n}")));
        let mut all = vec![pair(&self.architecture, &self.variant)];
        match self.architecture.as_str() {
            "amd64" => {
                all.extend(
                    (2..number(&self.variant, 1))
                        .rev()
                        .map(|n| ("amd64".to_owned(), format!("v{n}"))),
                );
                if !self.variant.is_empty() {
                    all.push(pair("amd64", ""));
                }
                all.push(pair("386", ""));
            }
            "arm64" => {
                if !self.variant.is_empty() {
                    all.push(pair("arm64", ""));
                }
                all.extend(arm(8));
            }
            "arm" => all.extend(arm(number(&self.variant, 7).min(8).saturating_sub(1))),
            _ => {}
        }
        all
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match architecture {
        "i386" => ("386", ""),
        "x86_64" | "x86-64" | "amd64" => ("amd64", if variant == "v1" { "" } else { variant }),
        "aarch64" | "arm64" => (
            "arm64",
            if matches!(variant, "8" | "v8") {
                ""
            } else {
                variant
            },
        ),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        "arm" => (
            "arm",
            match variant {
                "" | "7" => "v7",
                "5" => "v5",
                "6" => "v6",
                "8" => "v8",
                other => other,
            },
        ),
        other => (other, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

impl FromStr for Platform {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            if part.is_empty()
                || !part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            {
                return Err(ParseError::Component {
                    part: (*part).to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        match parts[..] {
            [one] => {
                let host = Self::host();
                let as_system = Self::new(one, &host.architecture, &host.variant);
                if SYSTEMS.contains(&as_system.os.as_str()) {
                    return Ok(as_system);
                }
                let as_architecture = Self::new(&host.os, one, "");
                if ARCHITECTURES.contains(&as_architecture.architecture.as_str()) {
                    return Ok(as_architecture);
                }
                Err(ParseError::Unknown(text.to_owned()))
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(ParseError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_normalises() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(
                text.parse::<Platform>().map(|p| p.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        assert_eq!("linux".parse::<Platform>(), Ok(Platform::host()));
        assert_eq!(
            "arm64".parse::<Platform>().map(|p| p.architecture),
            Ok("arm64".to_owned())
        );
    }

    #[test]
    fn what_is_not_a_platform_is_refused() {
        for text in [
            "",
            "/",
            "linux/",
            "linux//v7",
            "plan nine",
            "linux/amd64/v1/x",
            "bogus",
            "li\nux/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_best_candidate_comes_first() {
        let order = |host: &str, candidates: &[&str]| -> Vec<String> {
            let host: Platform = host.parse().expect("host");
            let mut fit: Vec<(usize, String)> = candidates
                .iter()
                .filter_map(|c| Some((host.preference(&c.parse().expect("candidate"))?, (*c).to_owned())))
                .collect();
            fit.sort();
            fit.into_iter().map(|(_, c)| c).collect()
        };
        let all = [
            "linux/386",
            "linux/arm/v5",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64",
            "linux/amd64",
            "linux/amd64/v2",
        ];
        assert_eq!(order("linux/amd64", &all), ["linux/amd64", "linux/386"]);
        assert_eq!(
            order("linux/amd64/v3", &all),
            ["linux/amd64/v2", "linux/amd64", "linux/386"]
        );
        assert_eq!(
            order("linux/arm64", &all),
            ["linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
        );
        assert_eq!(order("linux/arm/v6", &all), ["linux/arm/v6", "linux/arm/v5"]);
        assert_eq!(order("linux/s390x", &all), Vec::<String>::new());
        assert_eq!(order("windows/amd64", &all), Vec::<String>::new());
    }
}
