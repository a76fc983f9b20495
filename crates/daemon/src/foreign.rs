//! A supervisor that the daemon did not start: a containerd, or one of ours. What must be said to a containerd, which collects
//! garbage and does not know our shim.

use std::path::Path;
use std::sync::Arc;

use gantry_engine::{ATTACH_LINK, Foreign};
use gantry_errdefs::Result;
use gantry_supervisor_api::Supervisor;
use gantry_supervisor_api::client::{self, Options};

use crate::run::NAMESPACE;

/// The label of a lease, with the root of the daemon that took it.
const HOLDER: &str = "gantry.holder";

/// What the engine says with each container, if our shim is beside this program or in PATH.
pub(crate) fn described(exec: &Path) -> Option<Foreign> {
    let beside = std::env::current_exe().ok()?.parent().map(Path::to_owned);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = beside.into_iter().chain(std::env::split_paths(&folders));
    let shim = folders.find_map(|folder| {
        let path = folder.join("gantry-shim");
        (path.is_absolute() && path.is_file()).then_some(path)
    })?;
    Some(Foreign {
        shim,
        runtime_root: exec.join("runtime"),
    })
}

/// Connects under a lease: what is pulled or unpacked is not referred to by an image until it is all there. It is held until
/// the next daemon has its own, so that one that is killed leaves no more than that.
pub(crate) async fn connect(socket: &Path, data: &Path) -> Result<Arc<dyn Supervisor>> {
    let leases = client::connect(socket)?.leases(NAMESPACE)?;
    let holder = data.display().to_string();
    let before = leases.list(&[]).await?;
    let number = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let id = format!("gantryd-{}", number.trim());
    leases
        .create(&id, [(HOLDER.to_owned(), holder.clone())].into())
        .await?;
    for old in before
        .iter()
        .filter(|old| old.labels.get(HOLDER) == Some(&holder))
    {
        if let Err(error) = leases.delete(&old.id).await {
            tracing::warn!(
                id = old.id,
                "failed to delete the lease of a daemon before: {}",
                error.chain()
            );
        }
    }
    client::connect_with(
        socket,
        Options {
            lease: Some(id),
            attach: Some((data.join("containers"), ATTACH_LINK)),
        },
    )
}
