//! The session keyring.

use crate::error::{Result, c_text, check};

/// Joins a new session keyring of that name. A kernel without keyrings is no error.
pub fn join_session(name: &str) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    let name = c_text(name)?;
    // SAFETY: the text lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    match check(result, || "join a session keyring".to_owned()) {
        Err(error) if error.errno() == libc::ENOSYS => Ok(()),
        other => other.map(drop),
    }
}
