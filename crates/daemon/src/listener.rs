//! The sockets that are served: unix, TCP on loopback or wherever the user says, and those that systemd passed.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Why a host cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address.
    #[error("invalid host {host:?}: {why}")]
    Host {
        /// What was given.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The group of the socket does not exist.
    #[error("group {group:?} not found: give an existing group with --group")]
    Group {
        /// What was given.
        group: String,
    },
    /// The socket could not be made.
    #[error("failed to listen on {host}")]
    Listen {
        /// Where.
        host: String,
        /// Why.
        source: io::Error,
    },
}

/// One bound socket.
pub enum Listener {
    /// A unix socket, and the path to remove at the end.
    Unix(UnixListener, PathBuf),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// One connection.
pub enum Connection {
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

/// The group that owns the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid(u32);

impl Gid {
    /// Looks a group up by name or number.
    pub fn lookup(group: &str) -> Result<Self, ListenError> {
        if let Ok(number) = group.parse() {
            return Ok(Self(number));
        }
        let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let found = table.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group))
                .then(|| fields.nth(1)?.parse().ok())
                .flatten()
        });
        found.map(Self).ok_or_else(|| ListenError::Group {
            group: group.to_owned(),
        })
    }
}

impl Listener {
    /// Binds one `-H`. A unix socket that nobody serves any more is replaced.
    pub async fn bind(host: &str, group: Option<Gid>) -> Result<Self, ListenError> {
        let invalid = |why| ListenError::Host {
            host: host.to_owned(),
            why,
        };
        let failed = |source| ListenError::Listen {
            host: host.to_owned(),
            source,
        };
        if let Some(path) = host.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(invalid(
                    "the path of a unix socket must be absolute: unix:///PATH",
                ));
            }
            return unix(Path::new(path), group).map_err(failed);
        }
        if let Some(address) = host.strip_prefix("tcp://") {
            let address = address.trim_end_matches('/');
            let address = if address.contains(':') {
                address.to_owned()
            } else {
                format!("{address}:2375")
            };
            let listener = match address.parse::<SocketAddr>() {
                Ok(address) => TcpListener::bind(address).await,
                Err(_) => TcpListener::bind(address).await,
            };
            return listener.map(Self::Tcp).map_err(failed);
        }
        Err(invalid("must be unix:///PATH or tcp://HOST:PORT"))
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Unix(listener, _) => listener
                .accept()
                .await
                .map(|(stream, _)| Connection::Unix(stream)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
        }
    }

    /// Where it listens, for the log.
    pub fn describe(&self) -> String {
        match self {
            Self::Unix(_, path) => path.display().to_string(),
            Self::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn unix(path: &Path, group: Option<Gid>) -> io::Result<Listener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another daemon serves it",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    // Nobody but root may connect until the mode is what it is to be: bound under another name, then renamed.
    let hidden = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    let finish = || {
        if let Some(Gid(gid)) = group {
            std::os::unix::fs::chown(&hidden, None, Some(gid))?;
        }
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&hidden, path)
    };
    match finish() {
        Ok(()) => Ok(Listener::Unix(listener, path.to_owned())),
        Err(error) => {
            let _ = std::fs::remove_file(&hidden);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_served_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let host = format!("unix://{}", path.display());
        std::mem::forget(std::os::unix::net::UnixListener::bind(&path).map(drop));
        let listener = Listener::bind(&host, None).await.unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(
            Listener::bind(&host, None).await,
            Err(ListenError::Listen { .. })
        ));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_host_is_named() {
        for bad in ["", "http://x", "unix://relative", "npipe:////./x"] {
            assert!(
                matches!(Listener::bind(bad, None).await, Err(ListenError::Host { .. })),
                "{bad}"
            );
        }
        assert!(Gid::lookup("no such group").is_err());
        assert_eq!(Gid::lookup("root").unwrap(), Gid(0));
        assert_eq!(Gid::lookup("12").unwrap(), Gid(12));
    }
}
