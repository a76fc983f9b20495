//! Unix sockets of any path length. Knows nothing of what is spoken over them.

use std::io;
use std::path::Path;

use gantry_sys::socket;

/// Connects; does not block, as connecting to a unix socket either succeeds at once or fails.
pub fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let stream = socket::connect(path)?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Binds and listens; the name must be free.
pub(crate) fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let listener = socket::listen(path)?;
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
