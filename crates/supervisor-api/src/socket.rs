//! Unix sockets of any path length. Knows nothing of what is spoken over them.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What fits into `sun_path` with its zero.
const LIMIT: usize = 107;

/// Calls `with` with a path for `path` that is short enough for `sun_path`: itself, or below `/proc/self/fd` with its
/// directory held open meanwhile.
pub(crate) fn short<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LIMIT {
        return with(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no path of a socket", path.display()),
        ));
    };
    let dir = std::fs::File::open(dir)?;
    let short: PathBuf = [
        Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())),
        Path::new(name),
    ]
    .iter()
    .collect();
    with(&short)
}

/// Connects; does not block, as connecting to a unix socket either succeeds at once or fails.
pub fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let stream = short(path, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Binds and listens; the name must be free.
pub(crate) fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let listener = short(path, |path| std::os::unix::net::UnixListener::bind(path))?;
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_paths_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let path = long.join("a.sock");
        let listener = bind(&path).unwrap();
        let (client, server) = (connect(&path), listener.accept().await);
        assert!(client.is_ok() && server.is_ok());
        assert_eq!(
            connect(&long.join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
