//! Labels of security modules, for the program that is executed next.

use std::fs;
use std::path::Path;

use gantry_oci::runtime::Process;

use crate::error::{Error, Result};

/// Asks for the process's profile and label.
pub(super) fn prepare(process: &Process) -> Result<()> {
    let profile = process.apparmor_profile.as_str();
    if !profile.is_empty() && profile != "unconfined" {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        if !enabled.starts_with('Y') {
            return Err(Error::Init(format!(
                "unable to apply apparmor profile: apparmor is not enabled ({profile})"
            )));
        }
        let own = Path::new("/proc/self/attr/apparmor/exec");
        let file = if own.exists() {
            own
        } else {
            Path::new("/proc/self/attr/exec")
        };
        fs::write(file, format!("exec {profile}"))
            .map_err(Error::file("unable to apply apparmor profile through", file))?;
    }
    if !process.selinux_label.is_empty() && Path::new("/sys/fs/selinux").exists() {
        let file = "/proc/self/attr/exec";
        fs::write(file, &process.selinux_label)
            .map_err(Error::file("unable to set the SELinux label through", file))?;
    }
    Ok(())
}
