//! What can be asked for: the words that `features` tells of and that checks know.

/// Every mount option that is understood.
pub fn mount_options() -> Vec<&'static str> {
    let mut all: Vec<_> = gantry_sys::mount::Options::known().collect();
    all.sort_unstable();
    all
}

/// Every kind of namespace.
pub fn namespaces() -> Vec<&'static str> {
    vec!["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
}

/// Every mode and every flag of memory policies.
pub fn memory_policies() -> (Vec<&'static str>, Vec<&'static str>) {
    let names = |table: &'static [(&'static str, i32)]| table.iter().map(|(name, _)| *name).collect();
    (names(crate::init::MEMORY_MODES), names(crate::init::MEMORY_FLAGS))
}

/// Every architecture that filters of system calls are made for.
pub fn seccomp_architectures() -> Vec<&'static str> {
    let mut names: Vec<_> = gantry_seccomp::arch::Arch::ALL
        .iter()
        .map(|arch| arch.name())
        .collect();
    names.sort_unstable();
    names
}

/// Every flag of such filters, or those that this kernel knows.
pub fn seccomp_flags(supported: bool) -> Vec<&'static str> {
    let flags = gantry_seccomp::FLAGS.iter();
    let kept = flags.filter(|(name, _)| !supported || gantry_seccomp::load::is_supported(name));
    kept.map(|(name, _)| *name).collect()
}

/// Every capability.
pub fn capabilities() -> &'static [&'static str] {
    gantry_sys::caps::names()
}
