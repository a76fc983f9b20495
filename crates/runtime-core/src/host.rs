//! What the command line asks about the process and the machine it is on, and says to them.

/// Whether root runs us.
pub fn is_root() -> bool {
    gantry_sys::process::euid() == 0
}

/// Whether the machine's cgroups are of version 2 alone.
pub fn cgroups_are_unified() -> bool {
    gantry_cgroups::Layout::detect().is_ok_and(|layout| layout.version == gantry_cgroups::Version::V2)
}

/// Who runs us: user and group.
pub fn ids() -> (u32, u32) {
    (gantry_sys::process::euid(), gantry_sys::process::egid())
}

/// Makes us adopt the container's orphans.
pub fn become_subreaper() -> crate::Result<()> {
    Ok(gantry_sys::process::set_subreaper()?)
}

/// Adds a line to the trace, if there is one.
pub fn trace(message: &str, took: std::time::Duration) {
    gantry_sys::trace::line("runtime", message, Some(took));
}
