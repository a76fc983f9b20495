//! Where a registry is: its addresses in the order in which they are tried. Pure.

use std::net::IpAddr;

use gantry_oci::reference::DEFAULT_DOMAIN;

/// Where images of Docker Hub are.
const HUB: &str = "registry-1.docker.io";

/// One address of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme and authority: `https://registry-1.docker.io`.
    pub(crate) base: String,
    /// Whether its certificate need not be right.
    pub(crate) insecure: bool,
    /// Whether a proxy is out of the question.
    pub(crate) direct: bool,
}

/// The addresses of the registry `domain`: only one that may be insecure is also spoken to without encryption.
pub(crate) fn endpoints(domain: &str, insecure: &[String]) -> Vec<Endpoint> {
    let host = if domain == DEFAULT_DOMAIN { HUB } else { domain };
    let direct = is_loopback(host);
    let insecure = direct || insecure.iter().any(|entry| covers(entry, domain));
    let schemes: &[&str] = if insecure { &["https", "http"] } else { &["https"] };
    schemes
        .iter()
        .map(|scheme| Endpoint {
            base: format!("{scheme}://{host}"),
            insecure,
            direct,
        })
        .collect()
}

/// The name or address of `host[:port]`.
pub(crate) fn name_of(domain: &str) -> &str {
    if let Some(rest) = domain.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match domain.rsplit_once(':') {
        Some((name, _)) => name,
        None => domain,
    }
}

fn is_loopback(domain: &str) -> bool {
    let name = name_of(domain);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an entry of the configuration means the registry: `host[:port]`, or a network as `10.0.0.0/8`.
fn covers(entry: &str, domain: &str) -> bool {
    let entry = entry
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    if let Some((network, length)) = entry.split_once('/') {
        let (Ok(network), Ok(address), Ok(length)) = (
            network.parse::<IpAddr>(),
            name_of(domain).parse::<IpAddr>(),
            length.parse::<u32>(),
        ) else {
            return false;
        };
        return within(network, length, address);
    }
    entry.eq_ignore_ascii_case(domain)
}

fn within(network: IpAddr, length: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(domain: &str, insecure: &[&str]) -> Vec<String> {
        let insecure: Vec<String> = insecure.iter().map(|&s| s.to_owned()).collect();
        endpoints(domain, &insecure).into_iter().map(|e| e.base).collect()
    }

    #[test]
    fn plain_http_only_where_it_may_be() {
        assert_eq!(bases("docker.io", &[]), ["https://registry-1.docker.io"]);
        assert_eq!(bases("ghcr.io", &[]), ["https://ghcr.io"]);
        for loopback in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            let both = [format!("https://{loopback}"), format!("http://{loopback}")];
            assert_eq!(bases(loopback, &[]), both);
        }
        for not in ["localhost.example.com", "128.0.0.1:5000", "[::2]:5000", "a:5000"] {
            assert_eq!(bases(not, &["b:5000", "10.0.0.0/8"]).len(), 1, "{not}");
        }
        for (domain, entry) in [
            ("a:5000", "a:5000"),
            ("a:5000", "http://a:5000/"),
            ("10.1.2.3:5000", "10.0.0.0/8"),
            ("[fd00::1]:80", "fd00::/8"),
            ("10.1.2.3", "0.0.0.0/0"),
        ] {
            assert_eq!(bases(domain, &[entry]).len(), 2, "{domain} {entry}");
        }
    }
}
