//! `--mount type=…,source=…,target=…`: comma-separated `key=value`. Must not know whether a source is
//! there, nor which kinds of mount an engine has.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{boolean, csv, size};

/// A mount of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, `image` …
    pub kind: String,
    /// A path, a volume or an image.
    pub source: String,
    /// Where it is in the container.
    pub target: String,
    /// Not to be written.
    pub read_only: bool,
    /// `consistent`, `cached`, `delegated`.
    pub consistency: String,
    /// What was said of a bind mount.
    pub bind: Option<Bind>,
    /// What was said of a volume.
    pub volume: Option<Volume>,
    /// What was said of an image: the folder in it.
    pub image_subpath: Option<String>,
    /// What was said of a file system in memory.
    pub tmpfs: Option<Tmpfs>,
}

/// What was said of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// `rprivate`, `private`, `rshared`, `shared`, `rslave`, `slave`.
    pub propagation: String,
    /// Without the mounts below it.
    pub non_recursive: bool,
    /// Read-only, but not what is mounted below it.
    pub read_only_non_recursive: bool,
    /// Read-only with all below it, or not at all.
    pub read_only_force_recursive: bool,
}

/// What was said of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Do not fill it from the image.
    pub no_copy: bool,
    /// The folder in it.
    pub subpath: String,
    /// Labels of a new one.
    pub labels: BTreeMap<String, String>,
    /// Its driver.
    pub driver: String,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
}

/// What was said of a file system in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tmpfs {
    /// In bytes; no limit if 0.
    pub size: i64,
    /// The mode of its root; the kernel's if 0.
    pub mode: u32,
}

/// Why a mount cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MountError {
    /// No comma-separated values.
    #[error(transparent)]
    Csv(#[from] csv::CsvError),
    /// A key without a value.
    #[error("invalid field '{0}' must be a key=value pair")]
    Field(String),
    /// An unknown key.
    #[error("unexpected key '{key}' in '{field}'")]
    Key {
        /// The key.
        key: String,
        /// With its value.
        field: String,
    },
    /// A value that its key does not take.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A value of `bind-recursive`.
    #[error(
        "invalid value for bind-recursive: {0} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
    )]
    Recursive(String),
    /// No target.
    #[error("target is required")]
    NoTarget,
    /// An option of another kind of mount.
    #[error("cannot mix '{option}-*' options with mount type '{kind}'")]
    Mixed {
        /// The options' prefix.
        option: &'static str,
        /// The mount.
        kind: String,
    },
    /// An option that needs another.
    #[error("option 'bind-recursive={0}' requires '{1}' to be specified in conjunction")]
    Requires(&'static str, &'static str),
}

/// Reads a mount.
pub fn parse(text: &str) -> Result<Mount, MountError> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in csv::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        mount.set(&key, value, &field)?;
    }
    mount.check()?;
    Ok(mount)
}

impl Mount {
    fn set(&mut self, key: &str, value: Option<&str>, field: &str) -> Result<(), MountError> {
        let bad = |value: &str| MountError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let truth = || match value {
            None => Ok(true),
            Some(text) => boolean::parse(text).map_err(|_| bad(text)),
        };
        match key {
            "readonly" | "ro" => {
                self.read_only = truth()?;
                return Ok(());
            }
            "volume-nocopy" => {
                self.volume().no_copy = truth()?;
                return Ok(());
            }
            "bind-nonrecursive" => {
                self.bind().non_recursive = truth()?;
                return Ok(());
            }
            _ => {}
        }
        let value = value.ok_or_else(|| MountError::Field(field.to_owned()))?;
        match key {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => self.bind().propagation = value.to_lowercase(),
            "bind-recursive" => {
                let bind = self.bind();
                match value {
                    "enabled" => {}
                    "disabled" => bind.non_recursive = true,
                    "writable" => bind.read_only_non_recursive = true,
                    "readonly" => bind.read_only_force_recursive = true,
                    _ => return Err(MountError::Recursive(value.to_owned())),
                }
            }
            "volume-subpath" => value.clone_into(&mut self.volume().subpath),
            "volume-driver" => value.clone_into(&mut self.volume().driver),
            "volume-label" => set_pair(&mut self.volume().labels, value),
            "volume-opt" => set_pair(&mut self.volume().options, value),
            "image-subpath" => self.image_subpath = Some(value.to_owned()),
            "tmpfs-size" => self.tmpfs().size = size::ram_in_bytes(value).map_err(|_| bad(value))?,
            "tmpfs-mode" => self.tmpfs().mode = u32::from_str_radix(value, 8).map_err(|_| bad(value))?,
            _ => {
                return Err(MountError::Key {
                    key: key.to_owned(),
                    field: field.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn bind(&mut self) -> &mut Bind {
        self.bind.get_or_insert_default()
    }

    fn volume(&mut self) -> &mut Volume {
        self.volume.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut Tmpfs {
        self.tmpfs.get_or_insert_default()
    }

    fn check(&self) -> Result<(), MountError> {
        if self.target.is_empty() {
            return Err(MountError::NoTarget);
        }
        for (option, said) in [
            ("volume", self.volume.is_some()),
            ("image", self.image_subpath.is_some()),
            ("bind", self.bind.is_some()),
            ("tmpfs", self.tmpfs.is_some()),
        ] {
            if said && self.kind != option {
                return Err(MountError::Mixed {
                    option,
                    kind: self.kind.clone(),
                });
            }
        }
        let Some(bind) = &self.bind else {
            return Ok(());
        };
        if bind.read_only_non_recursive && !self.read_only {
            return Err(MountError::Requires("writable", "readonly"));
        }
        if bind.read_only_force_recursive && !self.read_only {
            return Err(MountError::Requires("readonly", "readonly"));
        }
        if bind.read_only_force_recursive && bind.propagation != "rprivate" {
            return Err(MountError::Requires("readonly", "bind-propagation=rprivate"));
        }
        Ok(())
    }
}

fn set_pair(map: &mut BTreeMap<String, String>, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    map.insert(key.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        let mount = parse("type=bind,\"src=/a,b\",dst=/y,ro").expect("mount");
        assert_eq!((mount.source.as_str(), mount.target.as_str()), ("/a,b", "/y"));
        assert!(mount.read_only && mount.bind.is_none());
        let mount = parse("src=a,dst=/b,ro=false").expect("mount");
        assert_eq!((mount.kind.as_str(), mount.read_only), ("volume", false));
        let mount = parse(
            "type=volume,dst=/x,volume-opt=a=b,volume-label=x=y,volume-nocopy,volume-driver=d,volume-subpath=s",
        )
        .expect("mount");
        let volume = mount.volume.expect("volume");
        assert!(volume.no_copy);
        assert_eq!((volume.driver.as_str(), volume.subpath.as_str()), ("d", "s"));
        assert_eq!((&*volume.labels["x"], &*volume.options["a"]), ("y", "b"));
        let tmpfs = parse("TYPE=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777")
            .expect("mount")
            .tmpfs
            .expect("tmpfs");
        assert_eq!((tmpfs.size, tmpfs.mode), (1 << 20, 0o1777));
        let mount = parse("type=bind,src=/a,dst=/b,bind-recursive=readonly,ro,bind-propagation=rprivate");
        assert!(
            mount
                .expect("mount")
                .bind
                .expect("bind")
                .read_only_force_recursive
        );
        let image = parse("type=image,src=busybox,dst=/x,image-subpath=y").expect("mount");
        assert_eq!(image.image_subpath.as_deref(), Some("y"));
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("", "EOF"),
            ("type=bind", "target is required"),
            ("type=bind,dst=", "target is required"),
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("type=bind,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("readonly=maybe,dst=/b", "invalid value for readonly: maybe"),
            (
                "type=tmpfs,dst=/x,tmpfs-size=zz",
                "invalid value for tmpfs-size: zz",
            ),
            (
                "type=tmpfs,dst=/x,tmpfs-mode=9",
                "invalid value for tmpfs-mode: 9",
            ),
            (
                "type=bind,src=/a,dst=/b,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "type=volume,dst=/x,tmpfs-size=1",
                "cannot mix 'tmpfs-*' options with mount type 'volume'",
            ),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
            ),
        ] {
            assert_eq!(
                parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }
}
