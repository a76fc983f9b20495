//! Keeps a container from writing to this program's file through `/proc/PID/exe` (CVE-2019-5736): the program goes on as
//! the same file on a read-only mount of its own, through which nothing can be opened for writing.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::Result;
use crate::{mount, path, process};

/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 0x1;

/// Makes sure that `/proc/self/exe` is on a read-only mount: it is, or this program is executed again with the same
/// arguments, and this call does not return. Without the right to mount (an ordinary user, who cannot write to the file
/// either if root owns it) nothing is done.
pub fn protect() -> Result<()> {
    let exe = path::open(Path::new("/proc/self/exe"), libc::O_PATH)?;
    if path::is_read_only(exe.as_fd())? {
        return Ok(());
    }
    let Ok(copy) = mount::open_tree(exe.as_fd(), "", false) else {
        return Ok(());
    };
    let read_only = mount::Attributes {
        set: RDONLY,
        ..Default::default()
    };
    mount::set_attributes(copy.as_fd(), read_only, false)?;
    let text = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).ok();
    let args: Vec<CString> = std::env::args_os().filter_map(|arg| text(&arg)).collect();
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut pair, value)| {
            pair.push("=");
            pair.push(value);
            text(&pair)
        })
        .collect();
    Err(process::exec_fd(copy.as_fd(), &args, &env))
}
