//! `--add-host name:address`, `--dns`, `--link`, `--sysctl`. Must not know any resolver.

use std::net::IpAddr;

use gantry_oci::runtime::IPC_SYSCTLS;
use thiserror::Error;

/// Why one of these cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HostError {
    /// No name with an address.
    #[error("bad format for add-host: {0:?}")]
    Format(String),
    /// An address that is none.
    #[error("invalid IP address in add-host: {0:?}")]
    Address(String),
    /// An address of a name server.
    #[error("IP address is not correctly formatted: {0}")]
    Dns(String),
    /// A link.
    #[error("bad format for links: {0}")]
    Link(String),
    /// A kernel parameter that is not of a container.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
}

/// Stands for the address of the host.
pub const GATEWAY: &str = "host-gateway";

/// Reads `name:address` or `name=address`; an IPv6 address may stand in brackets. The result is
/// `name:address`.
pub fn add_host(text: &str) -> Result<String, HostError> {
    let bad = || HostError::Format(text.to_owned());
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    if bare != GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(HostError::Address(address.to_owned()));
    }
    Ok(format!("{name}:{bare}"))
}

/// Reads the address of a name server.
pub fn dns(text: &str) -> Result<String, HostError> {
    let address: IpAddr = text.trim().parse().map_err(|_| HostError::Dns(text.to_owned()))?;
    Ok(address.to_string())
}

/// Reads `container[:alias]`.
pub fn link(text: &str) -> Result<String, HostError> {
    if text.is_empty() || text.split(':').count() > 2 {
        return Err(HostError::Link(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// Reads `name=value` of a kernel parameter that a container has of its own.
pub fn sysctl(text: &str) -> Result<(String, String), HostError> {
    let bad = || HostError::Sysctl(text.to_owned());
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    if IPC_SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") {
        return Ok((name.to_owned(), value.to_owned()));
    }
    Err(bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        assert_eq!(add_host("a:1.2.3.4").as_deref(), Ok("a:1.2.3.4"));
        assert_eq!(add_host("foo:::1").as_deref(), Ok("foo:::1"));
        assert_eq!(add_host("foo=[::1]").as_deref(), Ok("foo:::1"));
        assert_eq!(add_host("foo:host-gateway").as_deref(), Ok("foo:host-gateway"));
        assert_eq!(dns(" 8.8.8.8").as_deref(), Ok("8.8.8.8"));
        assert!(link("a:b").is_ok());
        assert_eq!(
            sysctl("net.ipv4.ip_forward=1"),
            Ok(("net.ipv4.ip_forward".to_owned(), "1".to_owned()))
        );
    }

    #[test]
    fn bad() {
        let message = |r: Result<String, HostError>| r.expect_err("bad").to_string();
        assert_eq!(message(add_host("foo")), "bad format for add-host: \"foo\"");
        assert_eq!(
            message(add_host("foo:bar")),
            "invalid IP address in add-host: \"bar\""
        );
        assert_eq!(message(dns("foo")), "IP address is not correctly formatted: foo");
        assert_eq!(message(link("a:b:c")), "bad format for links: a:b:c");
        assert_eq!(
            sysctl("a.b=c").expect_err("bad").to_string(),
            "sysctl 'a.b=c' is not allowed"
        );
    }
}
