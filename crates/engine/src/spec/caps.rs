//! Which capabilities a container has.

use gantry_api_types::container::HostConfig;
use gantry_errdefs::Error;

const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Names in one form: `net_admin` is `CAP_NET_ADMIN`. `ALL` stays.
fn normal(names: &[String], what: &str) -> Result<Vec<String>, Error> {
    let one = |name: &String| {
        let upper = name.to_uppercase();
        if upper == "ALL" {
            return Ok(upper);
        }
        let full = if upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        };
        match ALL.contains(&full.as_str()) {
            true => Ok(full),
            false => Err(Error::invalid(format!(
                "invalid {what}: unknown capability: \"{full}\""
            ))),
        }
    };
    names.iter().map(one).collect()
}

/// The capabilities of a container.
pub(crate) fn effective(host: &HostConfig) -> Result<Vec<String>, Error> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let add = normal(host.cap_add.as_deref().map_or(&[], Vec::as_slice), "CapAdd")?;
    let drop = normal(host.cap_drop.as_deref().map_or(&[], Vec::as_slice), "CapDrop")?;
    if host.privileged {
        return Ok(owned(ALL));
    }
    let all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let mut caps = match (all(&add), all(&drop)) {
        (true, _) => owned(ALL),
        (false, true) => Vec::new(),
        (false, false) => owned(DEFAULT),
    };
    if !all(&drop) {
        caps.retain(|name| !drop.contains(name));
    } else if all(&add) {
        caps.clear();
    }
    for name in add.into_iter().filter(|name| name != "ALL") {
        if !caps.contains(&name) {
            caps.push(name);
        }
    }
    Ok(caps)
}
