//! What making a container and making it again by criu do alike: the cgroup that is claimed before it is there, filled with the
//! container's limits, and removed when nothing comes of it.

use gantry_cgroups::{FreezerState, Manager, Named};
use gantry_oci::runtime::{Linux, LinuxResources};

use crate::config::Config;
use crate::create::Options;
use crate::error::{Error, Result};
use crate::state::Claim;
use crate::{lifecycle, plan};

/// The container's cgroup, noted where the id was claimed. It is not made yet, and not somebody else's.
pub(crate) fn claim_cgroup(claim: &Claim, id: &str, config: &Config, options: &Options) -> Result<Manager> {
    let linux = config.linux();
    let cgroup = Manager::named(&Named {
        path: Some(&linux.cgroups_path),
        id,
        systemd: options.systemd_cgroup,
        rootless: options.rootless.unwrap_or_else(gantry_cgroups::rootless),
        annotations: Some(&config.spec.annotations),
    })?;
    refuse_foreign(&cgroup)?;
    claim.intend(&cgroup.note())?;
    Ok(cgroup)
}

/// A cgroup with processes in it is somebody else's.
fn refuse_foreign(cgroup: &Manager) -> Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    // Whoever was put into it would stop there.
    if cgroup.freezer_state()? != Some(FreezerState::Thawed) {
        return Err(Error::State("container's cgroup unexpectedly frozen".to_owned()));
    }
    match cgroup.pids()?.len() {
        0 => Ok(()),
        count => Err(Error::State(format!(
            "container's cgroup is not empty: {count} process(es) found"
        ))),
    }
}

/// The container's limits, with the devices that every container may use.
pub(crate) fn resources(linux: &Linux) -> LinuxResources {
    let mut resources = linux.resources.clone().unwrap_or_default();
    resources.devices.extend(plan::always_allowed());
    resources
}

/// A cgroup that is cleared and removed unless the container comes to be.
pub(crate) struct Unfinished<'a> {
    cgroup: &'a Manager,
    done: bool,
}

impl<'a> Unfinished<'a> {
    pub(crate) fn new(cgroup: &'a Manager) -> Self {
        Self { cgroup, done: false }
    }

    /// The container is there.
    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.done
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.done && self.cgroup.is_ours() {
            // Without a namespace of process ids there may be others than the one that was made.
            let _ = lifecycle::clear(self.cgroup);
            let _ = self.cgroup.destroy();
        }
    }
}
