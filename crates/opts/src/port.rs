//! `--publish [[address:]host-port:]container-port[/protocol]` and `--expose port[/protocol]`, with
//! ranges. Must not know which ports are free.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::csv;

/// A port of a container, and where it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The port in the container.
    pub container: Port,
    /// The address on the host; all of them if empty.
    pub host_ip: String,
    /// A port or a range on the host; any if empty.
    pub host_port: String,
}

/// A port with its protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// Why a port cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PortError {
    /// No port of the container.
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    /// An address that is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// A port of the container that is none.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// A port of the host that is none.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// Ranges of different length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// In the container.
        container: String,
        /// On the host.
        host: String,
    },
    /// An unknown protocol.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// A range to expose.
    #[error("invalid range format for --expose: {text}, error: {reason}")]
    ExposeRange {
        /// What was given.
        text: String,
        /// Why.
        reason: String,
    },
    /// Something else to expose.
    #[error("invalid port format for --expose: {0}")]
    Expose(String),
    /// A field of the long form.
    #[error("invalid field {0}")]
    Field(String),
}

/// Reads what is to be published; one entry for each port of the container.
pub fn parse(text: &str) -> Result<Vec<Published>, PortError> {
    if text.contains('=') {
        return long_form(text);
    }
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (host, container) = match rest.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, rest),
    };
    if container.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    let (address, host_port) = match host {
        None => ("", ""),
        Some(host) => match host.rsplit_once(':') {
            Some((address, port)) => (address, port),
            None => ("", host),
        },
    };
    published(address, host_port, container, protocol)
}

fn published(
    address: &str,
    host: &str,
    container: &str,
    protocol: &str,
) -> Result<Vec<Published>, PortError> {
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(PortError::Address(address.to_owned()));
    }
    let (first, last) = range(container).ok_or_else(|| PortError::Container(container.to_owned()))?;
    let on_host = match host {
        "" => None,
        _ => Some(range(host).ok_or_else(|| PortError::Host(host.to_owned()))?),
    };
    let protocol = protocol.to_lowercase();
    if let Some((from, to)) = on_host
        && to - from != last - first
        && first != last
    {
        return Err(PortError::Ranges {
            container: container.to_owned(),
            host: host.to_owned(),
        });
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(PortError::Protocol(protocol));
    }
    let host_port = |at: u16| match on_host {
        None => String::new(),
        // One port of the container on whichever of the range is free.
        Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
        Some((from, _)) => (from + at).to_string(),
    };
    Ok((first..=last)
        .map(|number| Published {
            container: Port {
                number,
                protocol: protocol.clone(),
            },
            host_ip: bare.to_owned(),
            host_port: host_port(number - first),
        })
        .collect())
}

fn long_form(text: &str) -> Result<Vec<Published>, PortError> {
    let (mut target, mut host, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    let fields = csv::fields(text).map_err(|_| PortError::Field(text.to_owned()))?;
    for field in fields {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| PortError::Field(field.clone()))?;
        match key.to_lowercase().as_str() {
            "target" => value.clone_into(&mut target),
            "published" => value.clone_into(&mut host),
            "protocol" => value.clone_into(&mut protocol),
            "mode" => {}
            _ => return Err(PortError::Field(key.to_owned())),
        }
    }
    if target.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    published("", &host, &target, &protocol)
}

/// Reads what is to be exposed.
pub fn expose(text: &str) -> Result<Vec<Port>, PortError> {
    if text.contains(':') {
        return Err(PortError::Expose(text.to_owned()));
    }
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range(numbers).ok_or_else(|| PortError::ExposeRange {
        text: text.to_owned(),
        reason: format!("strconv.ParseUint: parsing {numbers:?}: invalid syntax"),
    })?;
    Ok((first..=last)
        .map(|number| Port {
            number,
            protocol: protocol.to_lowercase(),
        })
        .collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        None => number(text).map(|n| (n, n)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let list = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        list.into_iter()
            .map(|p| format!("{}|{}|{}", p.container, p.host_ip, p.host_port))
            .collect()
    }

    #[test]
    fn good() {
        for (text, want) in [
            ("80", &["80/tcp||"][..]),
            ("80/UDP", &["80/udp||"]),
            ("8080:80", &["80/tcp||8080"]),
            ("8080-8081:80-81", &["80/tcp||8080", "81/tcp||8081"]),
            ("127.0.0.1:80:80", &["80/tcp|127.0.0.1|80"]),
            ("[::1]:80:80", &["80/tcp|::1|80"]),
            ("80-81", &["80/tcp||", "81/tcp||"]),
            ("8000-8010:80", &["80/tcp||8000-8010"]),
            ("0.0.0.0::80", &["80/tcp|0.0.0.0|"]),
            (":80", &["80/tcp||"]),
            ("0:80", &["80/tcp||0"]),
            ("published=80,target=81", &["81/tcp||80"]),
            ("target=81,protocol=udp,published=5,mode=host", &["81/udp||5"]),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
        let exposed = expose("80-81/udp").expect("expose");
        assert_eq!(
            exposed.iter().map(Port::to_string).collect::<Vec<_>>(),
            ["80/udp", "81/udp"]
        );
        assert_eq!(expose("80/foo").expect("expose")[0].to_string(), "80/foo");
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("abc", "invalid containerPort: abc"),
            ("80/foo", "invalid proto: foo"),
            ("1:2:3:4", "invalid IP address: 1:2"),
            ("70000:1", "invalid hostPort: 70000"),
            ("80:", "no port specified: 80:<empty>"),
            ("target=x", "invalid containerPort: x"),
            ("80-79", "invalid containerPort: 80-79"),
            (
                "10-11:80-82",
                "invalid ranges specified for container and host Ports: 80-82 and 10-11",
            ),
            ("localhost:80:80", "invalid IP address: localhost"),
        ] {
            assert_eq!(
                parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
        for (text, message) in [
            (
                "abc",
                "invalid range format for --expose: abc, error: strconv.ParseUint: parsing \"abc\": invalid syntax",
            ),
            ("1:2", "invalid port format for --expose: 1:2"),
        ] {
            assert_eq!(expose(text).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
    }
}
