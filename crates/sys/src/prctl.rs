//! What a process says of itself: dumpable, no new privileges, death signal, personality, scheduling.

use crate::error::{Result, check};

/// Hides this process's memory and links from everybody without CAP_SYS_PTRACE.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    // SAFETY: prctl with integers.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) };
    check(result, || "set dumpable".to_owned()).map(drop)
}

/// No program that is executed from now on gains privileges.
pub fn set_no_new_privs() -> Result<()> {
    // SAFETY: prctl with integers.
    check(
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        || "set no_new_privs".to_owned(),
    )
    .map(drop)
}

/// Keeps or drops the permitted capabilities when the user changes.
pub fn set_keep_caps(keep: bool) -> Result<()> {
    // SAFETY: prctl with integers.
    let result = unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) };
    check(result, || "set keep-caps".to_owned()).map(drop)
}

/// The signal this process gets when its parent dies.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    // SAFETY: prctl with integers.
    check(
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) },
        || "set the death signal".to_owned(),
    )
    .map(drop)
}

/// The name that `ps` shows.
pub fn set_name(name: &str) -> Result<()> {
    let name = crate::error::c_text(name)?;
    // SAFETY: the text lives until the call returns.
    check(
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) },
        || "set the process's name".to_owned(),
    )
    .map(drop)
}

/// The execution domain, for example that of 32-bit Linux.
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: an integer only.
    check(unsafe { libc::personality(domain) }, || {
        format!("set personality {domain:#x}")
    })
    .map(drop)
}

/// The I/O class and priority of this process.
pub fn set_io_priority(class: i32, priority: i32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: integers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0,
            (class << 13) | priority,
        )
    };
    check(result, || format!("set I/O class {class} priority {priority}")).map(drop)
}

/// The argument of sched_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // named as in sched_setattr(2)
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// The scheduling of this process.
pub fn set_scheduler(mut attr: SchedAttr) -> Result<()> {
    attr.size = size_of::<SchedAttr>() as u32;
    // SAFETY: the structure says its own size and lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    check(result, || format!("set scheduling policy {}", attr.policy)).map(drop)
}

/// Sets the umask; returns the one before.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: an integer only, never fails.
    unsafe { libc::umask(mask) }
}

/// The processors that this process may run on, as a mask of bits: those of the mask that its cgroup allows.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the pointer and length are those of a live slice.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    check(result, || "set the CPU affinity".to_owned()).map(drop)
}

/// The processors that this process runs on.
pub fn affinity() -> Result<[u64; 128]> {
    let mut mask = [0_u64; 128];
    // SAFETY: the pointer and length are those of a live array.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            0,
            size_of_val(&mask),
            mask.as_mut_ptr(),
        )
    };
    check(result, || "get the CPU affinity".to_owned()).map(|_| mask)
}

/// Where this process's memory comes from: a mode of set_mempolicy(2) with its flags, and the nodes as a mask of bits.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> Result<()> {
    let bits = nodes.len() * 64;
    let pointer = if nodes.is_empty() {
        std::ptr::null()
    } else {
        nodes.as_ptr()
    };
    // SAFETY: the pointer and length are those of a live slice, or null and zero. The kernel counts one bit too many.
    let result = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            mode,
            pointer,
            if bits == 0 { 0 } else { bits + 1 },
        )
    };
    check(result, || format!("set memory policy {mode:#x}")).map(drop)
}
