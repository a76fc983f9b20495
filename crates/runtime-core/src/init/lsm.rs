//! Labels of security modules, for the program that is executed next.

use std::fs;
use std::path::{Path, PathBuf};

use gantry_oci::runtime::Process;

use super::restrict::{SELF, write_proc};
use crate::error::{Error, Result};

/// Asks for the process's profile and label.
pub(crate) fn prepare(process: &Process) -> Result<()> {
    let profile = process.apparmor_profile.as_str();
    if !profile.is_empty() && profile != "unconfined" {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        if !enabled.starts_with('Y') {
            return Err(Error::Init(format!(
                "unable to apply apparmor profile: apparmor is not enabled ({profile})"
            )));
        }
        let own = own("attr/apparmor/exec");
        let file = match Path::new("/proc").join(&own).exists() {
            true => own,
            false => self::own("attr/exec"),
        };
        write_proc(&file, &format!("exec {profile}"))
            .map_err(|error| Error::Init(format!("unable to apply apparmor profile: {}", error.chain())))?;
    }
    if !process.selinux_label.is_empty() && Path::new("/sys/fs/selinux").exists() {
        write_proc(&own("attr/exec"), &process.selinux_label)
            .map_err(|error| Error::Init(format!("unable to set the SELinux label: {}", error.chain())))?;
    }
    Ok(())
}

/// A file of ours below `/proc`.
fn own(file: &str) -> PathBuf {
    Path::new(SELF).join(file)
}
