//! `delete`: undoes what a shim that is gone has left, and says how its container ended.

use std::io::Write;
use std::time::SystemTime;

use gantry_shim_api::messages::{DeleteResponse, Timestamp};
use prost::Message;

use crate::args::Args;
use crate::runtime::{self, Runtime};
use crate::{bundle, mounts};

/// Does so; everything is tried even when something fails.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let kept = bundle::kept(&args.bundle).unwrap_or_else(|| bundle::Kept {
        runtime: runtime::default_binary(),
        runtime_root: std::path::Path::new(crate::task::RUNTIME_ROOT).join(&args.namespace),
    });
    let runtime = Runtime {
        binary: kept.runtime,
        root: kept.runtime_root,
        bundle: args.bundle.clone(),
        id: args.id.clone(),
        systemd_cgroup: false,
    };
    let deleted = runtime.run(runtime.delete(true), "delete");
    let unmounted = mounts::remove(&args.bundle.join("rootfs"));
    if let Some(address) = std::fs::read_to_string(args.bundle.join("address"))
        .ok()
        .as_deref()
        .and_then(|a| a.strip_prefix("unix://"))
    {
        let _ = std::fs::remove_file(address);
    }
    let answer = match bundle::exit_record(&args.bundle) {
        Some(record) => DeleteResponse {
            pid: record.pid,
            exit_status: record.exit_status,
            exited_at: bundle::timestamp(&record.exited_at),
        },
        // It was killed together with its shim, or by us just now.
        None => DeleteResponse {
            pid: runtime::read_pid(&args.bundle.join("init.pid"))
                .unwrap_or(0)
                .unsigned_abs(),
            exit_status: 137,
            exited_at: Some(Timestamp::from(SystemTime::now())),
        },
    };
    std::io::stdout()
        .write_all(&answer.encode_to_vec())
        .map_err(|error| error.to_string())?;
    deleted.and(unmounted).map_err(|error| error.chain())
}
