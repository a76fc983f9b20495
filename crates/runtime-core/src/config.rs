//! A bundle's `config.json`, read and checked.

use std::fs;
use std::path::{Component, Path, PathBuf};

use gantry_oci::runtime::{ContainerState, Linux, Spec, State};
use gantry_sys::process::Pid;

use crate::check::check;
use crate::error::{Error, Result};

/// A checked configuration with what it was read from.
#[derive(Debug)]
pub struct Config {
    /// The specification.
    pub spec: Spec,
    /// Its text, as it is kept in the container's state.
    pub text: String,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root file system's absolute path.
    pub rootfs: PathBuf,
}

impl Config {
    /// What a container of it is, for those who have no record of it yet.
    pub(crate) fn state(&self, id: &str, status: ContainerState, pid: Pid) -> State {
        State {
            oci_version: self.spec.oci_version.clone(),
            id: id.to_owned(),
            status,
            pid,
            bundle: self.bundle.display().to_string(),
            annotations: self.spec.annotations.clone(),
        }
    }

    /// Reads and checks the configuration of the bundle in `folder`.
    pub fn load(folder: &Path) -> Result<Self> {
        let bundle = fs::canonicalize(folder).map_err(Error::file("failed to find the bundle", folder))?;
        let path = bundle.join("config.json");
        let mut text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                Error::Config(format!("JSON specification file {} not found", path.display()))
            }
            _ => Error::File {
                what: "failed to read",
                path: path.clone(),
                source,
            },
        })?;
        let spec: Spec = match serde_json::from_str(&text) {
            Ok(spec) => spec,
            Err(source) => {
                let failed = |source| Error::Json {
                    path: path.clone(),
                    source,
                };
                text = folded(&text).ok_or_else(|| failed(source))?;
                serde_json::from_str(&text).map_err(failed)?
            }
        };
        let root = spec
            .root
            .as_ref()
            .ok_or_else(|| Error::Config("root must be specified".to_owned()))?;
        let rootfs = bundle.join(&root.path);
        let rootfs = fs::canonicalize(&rootfs).map_err(|_| {
            Error::Config(format!(
                "invalid rootfs: stat {}: no such file or directory",
                rootfs.display()
            ))
        })?;
        check(&spec)?;
        Ok(Self {
            spec,
            text,
            bundle,
            rootfs,
        })
    }

    /// The namespaces and the cgroup, as the trace shows them.
    pub fn summary(&self, id: &str) -> String {
        let linux = self.spec.linux.as_ref();
        let namespaces: Vec<&str> = linux
            .map(|linux| linux.namespaces.iter())
            .into_iter()
            .flatten()
            .map(|one| crate::plan::word(one.typ))
            .collect();
        let cgroup = linux.map_or("", |linux| linux.cgroups_path.as_str());
        let cgroup = if cgroup.is_empty() { id } else { cgroup };
        format!("namespaces={} cgroup={cgroup}", namespaces.join(","))
    }

    /// The part for Linux; empty when there is none.
    pub fn linux(&self) -> Linux {
        self.spec.linux.clone().unwrap_or_default()
    }
}

/// A configuration in which limits of processors are given twice, by names that readers in Go take for the same: the later one is
/// laid over the earlier. None if that is not what is wrong with it.
fn folded(text: &str) -> Option<String> {
    let mut config: serde_json::Value = serde_json::from_str(text).ok()?;
    let resources = config.pointer_mut("/linux/resources")?.as_object_mut()?;
    let over = resources.remove("CPU")?;
    let cpu = resources.get_mut("cpu")?.as_object_mut()?;
    for (name, value) in over.as_object()? {
        let mut letters = name.chars();
        let first = letters.next()?.to_ascii_lowercase();
        cpu.insert(std::iter::once(first).chain(letters).collect(), value.clone());
    }
    Some(config.to_string())
}

/// Refuses what is no id: letters, digits and `_+-.`.
pub fn check_id(id: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    let path = Path::new(id).components().collect::<Vec<_>>();
    match !id.is_empty()
        && id.len() <= 1024
        && id.chars().all(letter)
        && matches!(path[..], [Component::Normal(_)])
    {
        true => Ok(()),
        false => Err(Error::Id),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn limits_that_are_given_twice_are_one() {
        let text = r#"{"linux":{"resources":{"cpu":{"shares":7,"cpus":"0"},"CPU":{"Cpus":"1"}}}}"#;
        let folded: serde_json::Value = serde_json::from_str(&folded(text).unwrap()).unwrap();
        assert_eq!(
            folded["linux"]["resources"],
            serde_json::json!({ "cpu": { "shares": 7, "cpus": "1" } })
        );
        assert!(super::folded("{").is_none() && super::folded("{}").is_none());
    }

    #[test]
    fn ids_are_names_of_folders() {
        for good in ["a", "A-b_c.d+1", &"x".repeat(1024)] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "../x"] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    /// Whether a parameter's name has parts that are none of files: the first separator is that of the parts, and the
    /// other one stands for it in their names.
    fn leads_elsewhere(key: &str) -> bool {
        let (separator, other) = match key.find(['.', '/']).map(|at| &key[at..=at]) {
            Some("/") => ('/', '.'),
            _ => ('.', '/'),
        };
        // With slashes what is written is what is meant.
        let meant = |part: &str| match separator {
            '/' => part.to_owned(),
            _ => part.replace(other, "."),
        };
        key.split(separator)
            .any(|part| matches!(meant(part).as_str(), "" | "." | ".."))
    }

    proptest::proptest! {
        /// Whatever is taken for an id stays one folder below the root.
        #[test]
        fn an_id_never_leads_elsewhere(id in "\\PC{0,12}|[./a-z]{0,8}") {
            if check_id(&id).is_ok() {
                let joined = Path::new("/root").join(&id);
                assert_eq!(joined.parent(), Some(Path::new("/root")));
                assert_eq!(joined.file_name(), Some(std::ffi::OsStr::new(&id)));
            }
        }

        /// A configuration of any shape is read or refused, and never a reason to panic.
        #[test]
        fn any_configuration_is_judged(
            version in "[0-9.]{0,5}",
            kinds in proptest::collection::vec(0_usize..8, 0..9),
            key in "[a-z./]{0,20}|(net|user|fs[./]mqueue)([./]{1,3}(kernel|core_pattern)?){1,4}",
            cwd in "[/.a-z]{0,6}",
        ) {
            let namespaces: Vec<_> = kinds
                .iter()
                .map(|at| serde_json::json!({ "type": crate::features::namespaces()[*at] }))
                .collect();
            let spec = serde_json::json!({
                "ociVersion": version,
                "process": { "args": ["a"], "cwd": cwd },
                "linux": { "namespaces": namespaces, "sysctl": { key.as_str(): "1" } },
            });
            let spec: Spec = serde_json::from_value(spec).unwrap();
            let judged = check(&spec);
            let twice = kinds.iter().collect::<BTreeSet<_>>().len() != kinds.len();
            assert!(!(twice && judged.is_ok()), "duplicated namespaces were accepted");
            assert!(cwd.starts_with('/') || judged.is_err(), "a relative working directory was accepted");
            assert!(!leads_elsewhere(&key) || judged.is_err(), "{key} was accepted");
        }

        /// As above, of a configuration with which nothing else is wrong.
        #[test]
        fn a_parameter_never_leads_elsewhere(
            key in "[a-z./]{0,20}|(net|fs[./]mqueue|kernel)([./]{1,4}(ipv4|kernel|core_pattern)?){1,4}",
        ) {
            let spec = serde_json::json!({
                "ociVersion": "1.2.0",
                "root": { "path": "r" },
                "process": { "args": ["a"], "cwd": "/" },
                "linux": {
                    "namespaces": [{ "type": "mount" }, { "type": "network" }, { "type": "ipc" }],
                    "sysctl": { key.as_str(): "1" },
                },
            });
            let judged = check(&serde_json::from_value(spec).unwrap());
            assert!(!leads_elsewhere(&key) || judged.is_err(), "{key} was accepted");
            assert!(!key.starts_with("net.ipv4") || leads_elsewhere(&key) || judged.is_ok(), "{key} was refused");
        }
    }
}
