//! The OCI specification of a container: the one place that makes one. Pure; what must be looked up comes in.

mod caps;
mod mounts;
mod process;
mod resources;

pub(crate) use caps::effective as capabilities;
pub(crate) use mounts::plan as plan_mounts;
pub(crate) use process::exec_process;
pub(crate) use resources::{describe as describe_device, limits};

use gantry_errdefs::Error;
use gantry_oci::runtime::{Linux, LinuxNamespace, LinuxNamespaceType as Ns, LinuxSeccomp, Root, Spec};

use crate::record;
use crate::user::User;

/// What was looked up for a specification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Who the process is.
    pub(crate) user: User,
    /// The folder with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) folder: std::path::PathBuf,
    /// Where the container's cgroup is made.
    pub(crate) cgroup_parent: String,
    /// Whether the host has cgroups of version 2 alone.
    pub(crate) unified: bool,
    /// The program that `--init` runs first.
    pub(crate) init: Option<String>,
    /// The filter of system calls.
    pub(crate) seccomp: Option<LinuxSeccomp>,
    /// The process of the container whose namespaces are joined, by kind.
    pub(crate) joined: Vec<(Ns, u32)>,
    /// Every device of the host, for a privileged container.
    pub(crate) devices: Vec<gantry_oci::runtime::LinuxDevice>,
}

/// What nobody sees.
pub(crate) const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What nobody writes to.
pub(crate) const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Makes the specification.
pub(crate) fn make(record: &record::Container, facts: &Facts) -> Result<Spec, Error> {
    let host = &record.host;
    let options = security_options(&host.security_opt)?;
    let mut namespaces = Vec::new();
    let mut add = |kind: Ns, mode: &str| {
        let joined = facts
            .joined
            .iter()
            .find(|(joined, _)| *joined == kind)
            .map(|(_, pid)| *pid);
        match (mode, joined) {
            ("host", _) => {}
            (_, Some(pid)) => {
                let file = if kind == Ns::Network {
                    "net"
                } else if kind == Ns::Pid {
                    "pid"
                } else {
                    "ipc"
                };
                namespaces.push(LinuxNamespace {
                    typ: kind,
                    path: format!("/proc/{pid}/ns/{file}"),
                });
            }
            _ => namespaces.push(LinuxNamespace {
                typ: kind,
                path: String::new(),
            }),
        }
    };
    add(Ns::Mount, "");
    add(Ns::Network, &host.network_mode);
    add(Ns::Uts, &host.uts_mode);
    add(Ns::Pid, &host.pid_mode);
    add(Ns::Ipc, &host.ipc_mode);
    let cgroupns = match host.cgroupns_mode.as_str() {
        "" if facts.unified => "private",
        "" => "host",
        mode => mode,
    };
    add(Ns::Cgroup, cgroupns);

    let paths = |chosen: &Option<Vec<String>>, default: &[&str]| match chosen {
        Some(chosen) => chosen.clone(),
        None if host.privileged || options.unconfined_paths => Vec::new(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let own_uts = host.uts_mode != "host";
    let linux = Linux {
        namespaces,
        cgroups_path: format!("{}/{}", facts.cgroup_parent.trim_end_matches('/'), record.id),
        resources: Some(resources::make(host)?),
        devices: resources::devices(host, &facts.devices)?,
        masked_paths: paths(&host.masked_paths, MASKED),
        readonly_paths: paths(&host.readonly_paths, READ_ONLY),
        sysctl: host.sysctls.clone(),
        seccomp: if host.privileged {
            None
        } else {
            facts.seccomp.clone()
        },
        ..Linux::default()
    };
    Ok(Spec {
        oci_version: "1.2.0".to_owned(),
        process: Some(process::make(record, facts, &options)?),
        root: Some(Root {
            path: "rootfs".to_owned(),
            readonly: host.readonly_rootfs,
        }),
        hostname: if own_uts {
            record.config.hostname.clone()
        } else {
            String::new()
        },
        domainname: if own_uts {
            record.config.domainname.clone()
        } else {
            String::new()
        },
        mounts: mounts::make(record, facts, cgroupns == "private")?,
        linux: Some(linux),
        annotations: host.annotations.clone(),
        ..Spec::default()
    })
}

/// `--security-opt`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    /// The text of a profile, or `unconfined`; none: the default.
    pub(crate) seccomp: Option<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) apparmor: Option<String>,
    pub(crate) label: Vec<String>,
    pub(crate) unconfined_paths: bool,
}

/// Reads them. Docker's words for what is none.
pub(crate) fn security_options(options: &[String]) -> Result<SecurityOptions, Error> {
    let mut read = SecurityOptions::default();
    for option in options {
        if option == "no-new-privileges" {
            read.no_new_privileges = true;
            continue;
        }
        let pair = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((key, value)) = pair else {
            return Err(Error::invalid(format!("invalid --security-opt 1: {option:?}")));
        };
        match key {
            "seccomp" => read.seccomp = Some(value.to_owned()).filter(|profile| profile != "builtin"),
            "apparmor" => read.apparmor = Some(value.to_owned()),
            "label" => read.label.push(value.to_owned()),
            "systempaths" if value == "unconfined" => read.unconfined_paths = true,
            "no-new-privileges" => {
                read.no_new_privileges = value
                    .parse()
                    .map_err(|_| Error::invalid(format!("invalid --security-opt 2: {option:?}")))?;
            }
            _ => return Err(Error::invalid(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
