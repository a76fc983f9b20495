//! Where an engine listens. It must not know the environment: the caller says which address it is.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:///PATH`.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`, in plain text.
    Tcp {
        /// A name or an address, an IPv6 one without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// The port of an engine in plain text when the address names none.
const PLAIN_PORT: u16 = 2375;

impl Address {
    /// Reads `unix:///PATH`, `unix://PATH`, `tcp://HOST[:PORT]`, `http://HOST:PORT`, `HOST:PORT` or `/PATH`.
    pub fn parse(text: &str) -> Result<Address, Error> {
        let bad = || Error::BadHost(text.to_owned());
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            None if text.starts_with('/') => ("unix", text),
            None => ("tcp", text),
        };
        match scheme {
            "unix" if !rest.is_empty() => Ok(Address::Unix(rest.into())),
            "tcp" | "http" => {
                let rest = rest.trim_end_matches('/');
                if rest.contains('/') {
                    return Err(bad());
                }
                let (host, port) = match rest.rsplit_once(':') {
                    Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
                    _ => (rest, PLAIN_PORT),
                };
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Ok(Address::Tcp {
                    host: if host.is_empty() { "127.0.0.1" } else { host }.to_owned(),
                    port,
                })
            }
            "ssh" | "https" | "npipe" | "fd" => Err(Error::Scheme(scheme.to_owned())),
            _ => Err(bad()),
        }
    }

    /// The `Host` header of requests to it.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Address::Unix(_) => "api.moby.localhost".to_owned(),
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { .. } => write!(f, "tcp://{}", self.host_header()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("unix:///run/a.sock", "unix:///run/a.sock"),
            ("/run/a.sock", "unix:///run/a.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("127.0.0.1:1", "tcp://127.0.0.1:1"),
            ("tcp://example.org", "tcp://example.org:2375"),
            ("tcp://[::1]:99/", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://:5", "tcp://127.0.0.1:5"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), shown);
        }
        for text in ["unix://", "tcp://a:b", "foo://x", "tcp://a:1/v1"] {
            assert_eq!(
                Address::parse(text).expect_err(text).to_string(),
                format!("unable to parse docker host `{text}`")
            );
        }
        assert!(Address::parse("ssh://me@there").is_err());
    }
}
