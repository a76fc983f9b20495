//! A bundle's `config.json`, read and checked. Touches no kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use gantry_oci::runtime::{Linux, LinuxNamespaceType, Process, Spec};

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
    /// Reads and checks the configuration of the bundle in `folder`.
    pub fn load(folder: &Path) -> Result<Self> {
        let bundle = fs::canonicalize(folder).map_err(Error::file("failed to find the bundle", folder))?;
        let path = bundle.join("config.json");
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                Error::Config(format!("JSON specification file {} not found", path.display()))
            }
            _ => Error::File {
                what: "failed to read",
                path: path.clone(),
                source,
            },
        })?;
        let spec: Spec = serde_json::from_str(&text).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        let root = spec
            .root
            .as_ref()
            .ok_or_else(|| Error::Config("root must be specified".to_owned()))?;
        let rootfs = bundle.join(&root.path);
        let rootfs = fs::canonicalize(&rootfs).map_err(|_| {
            Error::Config(format!(
                "invalid rootfs: {} does not exist: give root.path an existing folder",
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

    /// Takes the cgroup's path for a name in systemd's form.
    pub fn name_cgroup_as_systemd(&mut self) {
        if let Some(linux) = &mut self.spec.linux {
            linux.cgroups_path = crate::plan::systemd_path(&linux.cgroups_path);
        }
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

/// Refuses what cannot be done or makes no sense.
pub fn check(spec: &Spec) -> Result<()> {
    let invalid = |text: String| Err(Error::Config(text));
    match spec.oci_version.split('.').next() {
        Some("1") => {}
        _ => {
            return invalid(format!(
                "unsupported spec version {:?}: 1.x is supported",
                spec.oci_version
            ));
        }
    }
    let linux = spec.linux.clone().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for namespace in &linux.namespaces {
        if !seen.insert(namespace.typ) {
            return invalid(format!("malformed spec file: duplicated ns {:?}", namespace.typ));
        }
        if !namespace.path.is_empty() && !Path::new(&namespace.path).is_absolute() {
            return invalid(format!("namespace path {:?} must be absolute", namespace.path));
        }
    }
    let has = |kind: LinuxNamespaceType| linux.namespaces.iter().any(|namespace| namespace.typ == kind);
    let own = |kind: LinuxNamespaceType| {
        linux
            .namespaces
            .iter()
            .any(|n| n.typ == kind && n.path.is_empty())
    };
    if !has(LinuxNamespaceType::Mount) {
        return invalid(
            "rootfs without a private mount namespace is not supported: add a mount namespace".to_owned(),
        );
    }
    if !spec.hostname.is_empty() && !own(LinuxNamespaceType::Uts) {
        return invalid("unable to set hostname without a private UTS namespace".to_owned());
    }
    if !spec.domainname.is_empty() && !own(LinuxNamespaceType::Uts) {
        return invalid("unable to set domainname without a private UTS namespace".to_owned());
    }
    if (!linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty()) && !has(LinuxNamespaceType::Mount)
    {
        return invalid("unable to restrict sys entries without a private MNT namespace".to_owned());
    }
    if own(LinuxNamespaceType::User) && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
        return invalid("user namespaces enabled, but no uid/gid mapping found".to_owned());
    }
    if !has(LinuxNamespaceType::User) && !linux.uid_mappings.is_empty() {
        return invalid(
            "user namespace mappings specified, but user namespace isn't enabled in the config".to_owned(),
        );
    }
    if !has(LinuxNamespaceType::Time) && !linux.time_offsets.is_empty() {
        return invalid(
            "time namespace offsets specified, but time namespace isn't enabled in the config".to_owned(),
        );
    }
    for key in linux.sysctl.keys() {
        check_sysctl(
            key,
            has(LinuxNamespaceType::Ipc),
            has(LinuxNamespaceType::Network),
            own(LinuxNamespaceType::Uts),
        )?;
    }
    for mount in &spec.mounts {
        if mount.destination.is_empty() {
            return invalid("a mount has no destination".to_owned());
        }
    }
    for device in &linux.devices {
        if !matches!(device.typ.as_str(), "c" | "b" | "u" | "p") {
            return invalid(format!(
                "{:?} is not a valid device type of {}: c, b, u or p",
                device.typ, device.path
            ));
        }
    }
    if let Some(process) = &spec.process {
        check_process(process)?;
    }
    Ok(())
}

/// Refuses a process that cannot be run.
pub fn check_process(process: &Process) -> Result<()> {
    let invalid = |text: String| Err(Error::Config(text));
    if process.args.is_empty() {
        return invalid("args must not be empty".to_owned());
    }
    if process.cwd.is_empty() {
        return invalid("cwd property must not be empty".to_owned());
    }
    if !Path::new(&process.cwd).is_absolute() {
        return invalid(format!("cwd must be an absolute path: {:?}", process.cwd));
    }
    let mut seen = BTreeSet::new();
    for limit in &process.rlimits {
        if gantry_sys::rlimit::by_name(&limit.typ).is_none() {
            return invalid(format!("rlimit {:?} is not valid", limit.typ));
        }
        if !seen.insert(&limit.typ) {
            return invalid(format!("rlimit {:?} is given twice", limit.typ));
        }
    }
    if process
        .args
        .iter()
        .chain(&process.env)
        .any(|text| text.contains('\0'))
    {
        return invalid("args and env must not contain NUL".to_owned());
    }
    Ok(())
}

/// Only what belongs to a namespace of the container may be set.
fn check_sysctl(key: &str, ipc: bool, net: bool, uts: bool) -> Result<()> {
    const IPC: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let name = key.replace('/', ".");
    let denied = |why: &str| Err(Error::Config(format!("sysctl {key:?} is not allowed: {why}")));
    if name.split('.').any(str::is_empty) {
        return denied("it is no name of a parameter");
    }
    if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        return if ipc {
            Ok(())
        } else {
            denied("it needs an IPC namespace")
        };
    }
    if name.starts_with("net.") {
        return if net {
            Ok(())
        } else {
            denied("it needs a network namespace")
        };
    }
    match name.as_str() {
        "kernel.domainname" if uts => Ok(()),
        "kernel.hostname" => denied("it conflicts with the OCI \"hostname\" field"),
        _ => denied("it is not in a separate kernel namespace"),
    }
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
    use super::*;

    fn checked(json: &str) -> String {
        let base = r#""ociVersion":"1.2.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"/"}"#;
        let spec: Spec = serde_json::from_str(&format!("{{{base}{json}}}")).unwrap();
        check(&spec).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let mount = r#","linux":{"namespaces":[{"type":"mount"}]}"#;
        assert_eq!(checked(mount), "ok");
        assert!(checked("").contains("mount namespace"));
        assert!(checked(&format!("{mount},\"hostname\":\"x\"")).contains("UTS"));
        let twice = r#","linux":{"namespaces":[{"type":"mount"},{"type":"mount"}]}"#;
        assert!(checked(twice).contains("duplicated"));
        let user = r#","linux":{"namespaces":[{"type":"mount"},{"type":"user"}]}"#;
        assert!(checked(user).contains("mapping"));
        let sysctl = r#","linux":{"namespaces":[{"type":"mount"}],"sysctl":{"kernel.panic":"1"}}"#;
        assert!(checked(sysctl).contains("kernel.panic"));
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
            key in "[a-z./]{0,20}",
            cwd in "[/.a-z]{0,6}",
        ) {
            let namespaces: Vec<_> = kinds
                .iter()
                .map(|at| serde_json::json!({ "type": crate::namespaces()[*at] }))
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
            let dots = key.replace('/', ".");
            assert!(!dots.split('.').any(str::is_empty) || judged.is_err(), "{key} was accepted");
        }
    }
}
