//! `spec`: a configuration to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Outcome;
use crate::args::{Args, unknown};

pub(super) fn spec(mut args: Args) -> Outcome {
    let (mut bundle, mut rootless) = (PathBuf::from("."), false);
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "bundle" | "b" => bundle = args.value(flag)?.into(),
            "rootless" => rootless = flag.on()?,
            _ => return Err(unknown(&flag)),
        }
    }
    args.end("spec")?;
    let path = bundle.join("config.json");
    let mut text = serde_json::to_string_pretty(&example(rootless)).map_err(|error| error.to_string())?;
    text.push('\n');
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("file {} exists. Remove it first", path.display()),
        _ => format!("failed to make {}: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    Ok(0)
}

/// What `runc spec` writes: a shell on a terminal, read-only, with three capabilities.
fn example(rootless: bool) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": gantry_runtime_core::SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "gantry",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    // With version 1 a container sees only its own cgroup anyway, by what is mounted.
    let without_cgroup = !gantry_runtime_core::host::cgroups_are_unified();
    if let (true, Some(namespaces)) = (without_cgroup, config["linux"]["namespaces"].as_array_mut()) {
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
    if rootless {
        let (uid, gid) = gantry_runtime_core::host::ids();
        config["linux"]["namespaces"] = json!([
            { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }, { "type": "user" },
        ]);
        config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
        config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
        if let (true, Some(namespaces)) = (without_cgroup, config["linux"]["namespaces"].as_array_mut()) {
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        config["linux"]["resources"] = json!({});
        if let Some(mounts) = config["mounts"].as_array_mut() {
            for mount in mounts {
                if mount["destination"] == "/sys" {
                    *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
                }
                if mount["destination"] == "/dev/pts" {
                    mount["options"] =
                        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
                }
            }
        }
    }
    config
}
