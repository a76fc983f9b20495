//! Extended attributes of open files.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::{Result, c_text, check};

/// Sets an attribute of what a descriptor is open on.
pub fn set(fd: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<()> {
    let text = c_text(name)?;
    // SAFETY: the text lives until the call returns; the pointer and length are those of live data.
    let result = unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            text.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    check(result, || format!("set the attribute {name}")).map(drop)
}

/// Sets an attribute of a path, symbolic links not followed.
pub fn set_path(path: &std::path::Path, name: &str, value: &[u8]) -> Result<()> {
    let (path_text, text) = (crate::error::c_path(path)?, c_text(name)?);
    // SAFETY: the texts live until the call returns; the pointer and length are those of live data.
    let result = unsafe {
        libc::lsetxattr(
            path_text.as_ptr(),
            text.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    check(result, || {
        format!("set the attribute {name} of {}", path.display())
    })
    .map(drop)
}
