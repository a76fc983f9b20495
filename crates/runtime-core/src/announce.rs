//! How callers are told of a process: by its descriptor at a socket, by its number in a file. Both are in folders of theirs,
//! which may be anybody's. Must not know whose process it is.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use gantry_sys::process::Pid;

use crate::error::{Error, Result};

/// Tells in those of the two ways that the caller named.
pub(crate) fn announce(
    pid: Pid,
    pidfd: BorrowedFd<'_>,
    socket: Option<&Path>,
    file: Option<&Path>,
) -> Result<()> {
    if let Some(path) = socket {
        gantry_sys::socket::send(connect(path)?.as_fd(), b"pidfd", Some(pidfd))?;
    }
    file.map_or(Ok(()), |path| write(path, pid))
}

/// Connects to a socket that the caller named.
pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    gantry_sys::socket::connect(path).map_err(Error::file("failed to connect to", path))
}

/// Writes the number so that it is there whole or not at all, readable as the caller's umask has it. Nothing that somebody put
/// there before is written to.
fn write(path: &Path, pid: Pid) -> Result<()> {
    const ATTEMPTS: u32 = 100;
    let failed = Error::file("failed to write", path);
    let mut at = 0;
    let (temporary, mut file) = loop {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.{at}", std::process::id()));
        let temporary = path.with_file_name(name);
        // A link is not followed either when the file must be new.
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(&temporary);
        match made {
            Ok(file) => break (temporary, file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && at < ATTEMPTS => at += 1,
            Err(error) => return Err(failed(error)),
        }
    };
    let written = file
        .write_all(pid.to_string().as_bytes())
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_pid_file_is_new_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("pid"), folder.path().join("victim"));
        fs::write(&victim, "kept").unwrap();
        let planted = format!(".pid.{}.0", std::process::id());
        symlink(&victim, folder.path().join(planted)).unwrap();
        symlink(&victim, &path).unwrap();
        write(&path, 42).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        // As the mode of the other file that was just made.
        assert_eq!(mode, fs::metadata(&victim).unwrap().permissions().mode());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
