//! Hands a compiled profile to the kernel, for the calling process and all it becomes.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::compile::{FLAGS, Instruction, Program};

/// Why the kernel did not take it.
#[derive(Debug, thiserror::Error)]
#[error("failed to load the seccomp filter")]
pub struct LoadError(#[source] io::Error);

/// The argument of seccomp(2), `struct sock_fprog`.
#[repr(C)]
struct Filter {
    length: u16,
    code: *const Instruction,
}

const SET_MODE_FILTER: libc::c_uint = 1;

/// Loads the program. With a rule that notifies, the descriptor on which somebody hears of it is returned.
///
/// The process must have CAP_SYS_ADMIN or no_new_privs, and one thread.
pub fn install(program: &Program) -> Result<Option<OwnedFd>, LoadError> {
    let length =
        u16::try_from(program.code.len()).map_err(|_| LoadError(io::ErrorKind::InvalidInput.into()))?;
    let filter = Filter {
        length,
        code: program.code.as_ptr(),
    };
    let flags = program.kernel_flags();
    // SAFETY: the structure names the length and place of instructions that live until the call returns; `Instruction` has
    // the layout of `struct sock_filter`.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const filter) };
    if result < 0 {
        return Err(LoadError(io::Error::last_os_error()));
    }
    // SAFETY: with the flag the kernel returned a new descriptor of ours.
    Ok(program
        .notifies
        .then(|| unsafe { OwnedFd::from_raw_fd(result as i32) }))
}

/// Whether the kernel knows a flag of profiles. Nothing is loaded.
pub fn is_supported(flag: &str) -> bool {
    // One of them goes with a listener only.
    let program = |flags| Program {
        code: Vec::new(),
        flags,
        notifies: true,
    };
    FLAGS
        .iter()
        .any(|(name, number)| *name == flag && is_known(&program(*number)))
}

/// Whether the kernel knows all the flags of a program. Nothing is loaded.
pub fn is_known(program: &Program) -> bool {
    // SAFETY: flags are looked at before the filter, whose address is none: it is refused without being read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            program.kernel_flags(),
            0_usize,
        )
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
