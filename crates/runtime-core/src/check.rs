//! What of a configuration is refused, before anything is made: what cannot be done, and what makes no sense.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gantry_oci::runtime::{
    IPC_SYSCTLS, Linux, LinuxIntelRdt, LinuxNamespaceType as Kind, Mount, Process, Scheduler, Spec,
};
use gantry_sys::mount::Options;

use crate::error::{Error, Result};
use crate::init;
use crate::sources::{is_bind, is_mapped};
use crate::sysctl;

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Config(text.into()))
}

/// Refuses what cannot be done or makes no sense.
pub fn check(spec: &Spec) -> Result<()> {
    match spec.oci_version.split('.').next() {
        Some("1") => {}
        _ => {
            return invalid(format!(
                "unsupported spec version {:?}: 1.x is supported",
                spec.oci_version
            ));
        }
    }
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    check_namespaces(spec, linux)?;
    for key in linux.sysctl.keys() {
        check_sysctl(key, linux)?;
    }
    for one in &spec.mounts {
        check_mount(one)?;
    }
    for device in &linux.devices {
        if !matches!(device.typ.as_str(), "c" | "b" | "u" | "p") {
            return invalid(format!(
                "invalid device type {:?} of {}: c, b, u or p",
                device.typ, device.path
            ));
        }
    }
    init::propagation(&linux.rootfs_propagation)?;
    check_net_devices(linux)?;
    if let Some(rdt) = &linux.intel_rdt {
        check_intel_rdt(rdt)?;
    }
    if let Some(policy) = &linux.memory_policy {
        init::memory_policy(policy)?;
    }
    if let Some(personality) = &linux.personality {
        init::domain(&personality.domain)?;
        if !personality.flags.is_empty() {
            return invalid("additional flags not supported by personality: they must be empty");
        }
    }
    let process = spec.process.as_ref();
    check_process(process.ok_or_else(|| Error::Config("process property must not be empty".to_owned()))?)
}

fn has(linux: &Linux, kind: Kind) -> bool {
    linux.namespaces.iter().any(|one| one.typ == kind)
}

fn path_of(linux: &Linux, kind: Kind) -> Option<&str> {
    linux
        .namespaces
        .iter()
        .find(|one| one.typ == kind)
        .map(|one| one.path.as_str())
}

fn check_namespaces(spec: &Spec, linux: &Linux) -> Result<()> {
    let mut seen = BTreeSet::new();
    for namespace in &linux.namespaces {
        if !seen.insert(namespace.typ) {
            let word = crate::plan::word(namespace.typ);
            return invalid(format!("malformed spec file: duplicated ns {word:?}"));
        }
        if !namespace.path.is_empty() && !Path::new(&namespace.path).is_absolute() {
            return invalid(format!("namespace path {:?} must be absolute", namespace.path));
        }
    }
    let has = |kind| has(linux, kind);
    if !spec.hostname.is_empty() && !has(Kind::Uts) {
        return invalid("unable to set hostname without a private UTS namespace");
    }
    if !spec.domainname.is_empty() && !has(Kind::Uts) {
        return invalid("unable to set domainname without a private UTS namespace");
    }
    if (!linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty()) && !has(Kind::Mount) {
        return invalid("unable to restrict sys entries without a private MNT namespace");
    }
    let maps = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    match path_of(linux, Kind::User) {
        Some("") if !maps => {
            return invalid(
                "user namespaces enabled, but no namespace path to join nor mappings to apply specified",
            );
        }
        Some("") if linux.uid_mappings.is_empty() => {
            return invalid("user namespaces enabled, but no uid mappings found");
        }
        Some("") if linux.gid_mappings.is_empty() => {
            return invalid("user namespaces enabled, but no gid mappings found");
        }
        None if maps => {
            return invalid(
                "user namespace mappings specified, but user namespace isn't enabled in the config",
            );
        }
        _ => {}
    }
    if gantry_sys::process::euid() != 0 {
        match path_of(linux, Kind::User) {
            None => return invalid("rootless container requires user namespaces"),
            Some("") if linux.uid_mappings.is_empty() => {
                return invalid("rootless containers requires at least one UID mapping");
            }
            Some("") if linux.gid_mappings.is_empty() => {
                return invalid("rootless containers requires at least one GID mapping");
            }
            _ => {}
        }
    }
    match path_of(linux, Kind::Time) {
        None if !linux.time_offsets.is_empty() => {
            invalid("time namespace offsets specified, but time namespace isn't enabled in the config")
        }
        Some(path) if !path.is_empty() && !linux.time_offsets.is_empty() => invalid(
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
        ),
        _ => Ok(()),
    }
}

fn check_mount(one: &Mount) -> Result<()> {
    if one.destination.is_empty() {
        return invalid("a mount has no destination");
    }
    if [&one.source, &one.destination, &one.typ]
        .iter()
        .any(|text| text.contains('\0'))
    {
        return invalid("mount field contains null byte");
    }
    let options = Options::parse(one.options.iter().map(String::as_str));
    if is_mapped(one, &options) {
        if !is_bind(one, &options) {
            return invalid("id-mapped mounts are only supported for bind-mounts");
        }
        if gantry_sys::process::euid() != 0 {
            return invalid("id-mapped mounts are not supported for rootless containers");
        }
        if one.uid_mappings.is_empty() != one.gid_mappings.is_empty() {
            return invalid("id-mapped mounts must have both uid and gid mappings specified");
        }
    }
    if is_bind(one, &options) && !options.data.is_empty() {
        return invalid(format!(
            "invalid mount {:?}: bind mounts cannot have any filesystem-specific options applied: {}",
            one.destination, options.data
        ));
    }
    Ok(())
}

fn check_net_devices(linux: &Linux) -> Result<()> {
    let valid = |name: &str| {
        (1..=16).contains(&name.len()) && name != "." && name != ".." && !name.contains(['/', ':', ' '])
    };
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    if !has(linux, Kind::Network) {
        return invalid("unable to move network devices without a NET namespace");
    }
    if gantry_sys::process::euid() != 0 {
        return invalid("network devices are not supported for rootless containers");
    }
    for (name, device) in &linux.net_devices {
        for name in [name, &device.name].into_iter().filter(|name| !name.is_empty()) {
            if !valid(name) {
                return invalid(format!("invalid network device name {name:?}"));
            }
        }
    }
    Ok(())
}

/// Where Intel's resource director is driven from.
const RESCTRL: &str = "/sys/fs/resctrl";

fn check_intel_rdt(rdt: &LinuxIntelRdt) -> Result<()> {
    if !Path::new(RESCTRL).join("schemata").exists() {
        return invalid("intelRdt is specified in config, but Intel RDT is not enabled");
    }
    let id = rdt.clos_id.as_str();
    match id == "." || id == ".." || (id.len() > 1 && id.contains('/')) {
        true => invalid(format!("invalid intelRdt.ClosID {id:?}")),
        // Better than a container without the limits that somebody relies on.
        false => invalid("intelRdt is specified in config, but is not supported by this runtime"),
    }
}

/// Refuses a process that cannot be run.
pub fn check_process(process: &Process) -> Result<()> {
    if process.cwd.is_empty() {
        return invalid("Cwd property must not be empty");
    }
    if !Path::new(&process.cwd).is_absolute() {
        return invalid("Cwd must be an absolute path");
    }
    if process.args.is_empty() {
        return invalid("args must not be empty");
    }
    if !process.selinux_label.is_empty() && !Path::new("/sys/fs/selinux/enforce").exists() {
        return invalid("selinux label is specified in config, but selinux is disabled or not supported");
    }
    let mut seen = BTreeSet::new();
    for limit in &process.rlimits {
        if gantry_sys::rlimit::by_name(&limit.typ).is_none() {
            return invalid(format!("wrong rlimit value: {}", limit.typ));
        }
        if !seen.insert(&limit.typ) {
            return invalid(format!("rlimit {:?} is given twice", limit.typ));
        }
    }
    let texts = process.args.iter().chain(&process.env);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return invalid("args and env must not contain nul byte (\\x00)");
    }
    if let Some(scheduler) = &process.scheduler {
        check_scheduler(scheduler)?;
    }
    if let Some(io) = &process.io_priority {
        if !(0..=7).contains(&io.priority) {
            return invalid(format!("invalid ioPriority.Priority: {}", io.priority));
        }
        init::io_class(&io.class)
            .map_err(|_| Error::Config(format!("invalid ioPriority.Class: {:?}", io.class)))?;
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        for list in [&affinity.initial, &affinity.last]
            .into_iter()
            .filter(|list| !list.is_empty())
        {
            init::mask(list)?;
        }
    }
    Ok(())
}

fn check_scheduler(scheduler: &Scheduler) -> Result<()> {
    let policy = scheduler.policy.as_str();
    if policy.is_empty() {
        return invalid("scheduler policy is required");
    }
    init::policy(policy)?;
    let nice = scheduler.nice;
    if matches!(policy, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&nice) {
        return invalid(format!(
            "invalid scheduler.nice: {nice} when scheduler.policy is {policy}"
        ));
    }
    if scheduler.priority != 0 && !matches!(policy, "SCHED_FIFO" | "SCHED_RR") {
        return invalid("scheduler.priority can only be specified for SchedFIFO or SchedRR policy");
    }
    if policy != "SCHED_DEADLINE" && (scheduler.runtime, scheduler.deadline, scheduler.period) != (0, 0, 0) {
        return invalid("scheduler runtime/deadline/period can only be specified for SchedDeadline policy");
    }
    Ok(())
}

/// Only what belongs to a namespace of the container may be set.
fn check_sysctl(key: &str, linux: &Linux) -> Result<()> {
    let name = sysctl::dotted(key);
    if sysctl::file(key).is_none() {
        return invalid(format!("sysctl {name:?} is not in a separate kernel namespace"));
    }
    if IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        return match has(linux, Kind::Ipc) {
            true => Ok(()),
            false => invalid(format!(
                "sysctl {name:?} is not allowed in the hosts ipc namespace"
            )),
        };
    }
    if name.starts_with("net.") {
        let host = match path_of(linux, Kind::Network) {
            None => true,
            Some("") => false,
            Some(path) => is_ours(path)?,
        };
        return match host {
            true => invalid(format!("sysctl {name:?} not allowed in host network namespace")),
            false => Ok(()),
        };
    }
    match name.as_str() {
        "kernel.domainname" if has(linux, Kind::Uts) => return Ok(()),
        "kernel.hostname" if has(linux, Kind::Uts) => {
            return invalid(format!(
                "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
            ));
        }
        _ => {}
    }
    match name.starts_with("user.") {
        true if has(linux, Kind::User) => Ok(()),
        true => invalid(format!(
            "setting ucounts without a user namespace not allowed: {name}"
        )),
        false => invalid(format!("sysctl {name:?} is not in a separate kernel namespace")),
    }
}

/// Whether a network namespace is the one that we are in.
fn is_ours(path: &str) -> Result<bool> {
    let identity = |path: &str| {
        let found = fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
        found.map_err(Error::file("invalid netns path:", path))
    };
    Ok(identity("/proc/self/ns/net")? == identity(path)?)
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
        assert!(checked(&format!("{mount},\"hostname\":\"x\"")).contains("UTS"));
        for (linux, why) in [
            (
                r#""namespaces":[{"type":"mount"},{"type":"mount"}]"#,
                "duplicated",
            ),
            (r#""namespaces":[{"type":"user"}]"#, "mappings"),
            (
                r#""namespaces":[{"type":"mount"}],"sysctl":{"kernel.panic":"1"}"#,
                "kernel.panic",
            ),
            (
                r#""namespaces":[{"type":"ipc"}],"sysctl":{"kernel/msgmax":"1"}"#,
                "ok",
            ),
            (r#""sysctl":{"kernel.msgmax":"1"}"#, "hosts ipc"),
            (
                r#""sysctl":{"net/ipv4/conf/eno2.100/rp_filter":"1"}"#,
                "host network",
            ),
            (
                r#""namespaces":[{"type":"network","path":"/proc/self/ns/net"}],"sysctl":{"net.x":"1"}"#,
                "host network",
            ),
            (
                r#""namespaces":[{"type":"network"}],"sysctl":{"net/../kernel/core_pattern":"1"}"#,
                "separate kernel namespace",
            ),
            (
                r#""namespaces":[{"type":"ipc"}],"sysctl":{"fs.mqueue.//.//.kernel.core_pattern":"1"}"#,
                "separate kernel namespace",
            ),
            (r#""sysctl":{"user.max_mnt_namespaces":"1"}"#, "ucounts"),
            (r#""maskedPaths":["/proc/kcore"]"#, "MNT"),
            (r#""timeOffsets":{"monotonic":{"secs":1}}"#, "time namespace"),
            (r#""memoryPolicy":{"mode":"MPOL_NO"}"#, "memory policy"),
            (r#""netDevices":{"eth0":{}}"#, "NET namespace"),
            (
                r#""namespaces":[{"type":"network"}],"netDevices":{"a/b":{}}"#,
                "invalid network device",
            ),
            (r#""personality":{"domain":"LINUX64"}"#, "personality"),
            (r#""intelRdt":{"closID":"x"}"#, "not enabled"),
        ] {
            let said = checked(&format!(",\"linux\":{{{linux}}}"));
            assert!(said.contains(why), "{linux}: {said}");
        }
        let bind = r#","mounts":[{"destination":"/a","source":"/b","options":["bind","size=1"]}]"#;
        assert!(checked(bind).contains("filesystem-specific"));
    }

    #[test]
    fn a_process_that_cannot_be_run_is_refused() {
        for (json, why) in [
            (r#"{"cwd":"/"}"#, "args must not be empty"),
            (r#"{"args":["a"]}"#, "Cwd property must not be empty"),
            (r#"{"args":["a"],"cwd":"x"}"#, "Cwd must be an absolute path"),
            (
                r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_X","hard":1,"soft":1}]}"#,
                "wrong rlimit value",
            ),
            (
                r#"{"args":["a"],"cwd":"/","scheduler":{"policy":"SCHED_X"}}"#,
                "invalid scheduler policy",
            ),
            (
                r#"{"args":["a"],"cwd":"/","scheduler":{"policy":"SCHED_OTHER","nice":99}}"#,
                "scheduler.nice",
            ),
            (
                r#"{"args":["a"],"cwd":"/","ioPriority":{"class":"IOPRIO_CLASS_RT","priority":9}}"#,
                "ioPriority.Priority",
            ),
            (
                r#"{"args":["a"],"cwd":"/","ioPriority":{"class":"X"}}"#,
                "ioPriority.Class",
            ),
            (
                r#"{"args":["a"],"cwd":"/","execCPUAffinity":{"initial":"x"}}"#,
                "invalid CPU list",
            ),
        ] {
            let process: Process = serde_json::from_str(json).unwrap();
            let said = check_process(&process).unwrap_err().to_string();
            assert!(said.contains(why), "{json}: {said}");
        }
    }
}
