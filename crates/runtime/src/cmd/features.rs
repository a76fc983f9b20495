//! `features`: what this runtime can do, in the specification's form.

use gantry_runtime_core::{SPEC_VERSION, features as known};
use serde_json::json;

use super::Outcome;
use crate::args::{Args, unknown};

pub(super) fn features(mut args: Args) -> Outcome {
    if let Some(flag) = args.flag() {
        return Err(unknown(&flag));
    }
    args.end("features")?;
    let (modes, flags) = known::memory_policies();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": known::mount_options(),
        "linux": {
            "namespaces": known::namespaces(),
            "capabilities": known::capabilities(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                    "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
                "archs": known::seccomp_architectures(),
                "knownFlags": known::seccomp_flags(false),
                "supportedFlags": known::seccomp_flags(true),
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "memoryPolicy": { "modes": modes, "flags": flags },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": { "org.opencontainers.gantry-runtime.version": env!("CARGO_PKG_VERSION") },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    });
    println!("{features:#}");
    Ok(0)
}
