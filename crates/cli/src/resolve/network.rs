//! Networks, ports and links of the flags.

use gantry_api_types::container::{Config, HostConfig};
use gantry_api_types::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig, PortBinding};
use gantry_api_types::{Empty, Map};
use gantry_opts as opts;

use crate::args::create::Container;

/// Adds them; the result is a container's place in its networks.
pub(super) fn apply(
    flags: &Container,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<NetworkingConfig, String> {
    for text in &flags.publish {
        for published in opts::port::parse(text).map_err(|error| error.to_string())? {
            let port = published.container.to_string();
            config.exposed_ports.insert(port.clone(), Some(Empty {}));
            let binding = PortBinding {
                host_ip: published.host_ip,
                host_port: published.host_port,
            };
            host.port_bindings
                .entry(port)
                .or_default()
                .get_or_insert_default()
                .push(binding);
        }
    }
    for text in &flags.expose {
        for port in opts::port::expose(text).map_err(|error| error.to_string())? {
            config
                .exposed_ports
                .entry(port.to_string())
                .or_insert(Some(Empty {}));
        }
    }
    host.links.clone_from(&flags.link);
    if !flags.mac_address.is_empty() && !is_mac(&flags.mac_address) {
        return Err(format!("{} is not a valid mac address", flags.mac_address));
    }
    let mut networks = Vec::new();
    for text in &flags.network {
        networks.push(network(text)?);
    }
    if networks.is_empty() {
        networks.push(("default".to_owned(), EndpointSettings::default()));
    }
    host.network_mode.clone_from(&networks[0].0);
    merge_flags(flags, &mut networks[0])?;
    let user_defined = |(name, _): &(String, EndpointSettings)| is_user_defined(name);
    if networks.iter().any(user_defined) && !networks.iter().all(user_defined) {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    let mut endpoints: Map<Option<EndpointSettings>> = Map::new();
    // One network of which nothing more is said is said once, as the mode.
    if let [(name, settings)] = networks.as_slice()
        && *settings == EndpointSettings::default()
        && name != "default"
    {
        networks.clear();
    }
    for (name, settings) in networks {
        if endpoints.insert(name.clone(), Some(settings)).is_some() {
            return Err(format!("network {name:?} is specified multiple times"));
        }
    }
    Ok(NetworkingConfig {
        endpoints_config: endpoints,
    })
}

/// The flags that speak of the first network.
fn merge_flags(flags: &Container, first: &mut (String, EndpointSettings)) -> Result<(), String> {
    let (name, settings) = first;
    let user_defined =
        !matches!(name.as_str(), "default" | "bridge" | "host" | "none") && !name.starts_with("container:");
    let both = |what: &str, flag: &str| {
        format!("conflicting options: cannot specify both --{flag} and per-network {what}")
    };
    if !flags.network_alias.is_empty() {
        if !settings.aliases.is_empty() {
            return Err(both("alias", "network-alias"));
        }
        settings.aliases.clone_from(&flags.network_alias);
    }
    if !flags.link.is_empty() && user_defined {
        settings.links.clone_from(&flags.link);
    }
    if !flags.mac_address.is_empty() {
        if !settings.mac_address.is_empty() {
            return Err(both("MAC address", "mac-address"));
        }
        settings.mac_address.clone_from(&flags.mac_address);
    }
    let ipam = settings.ipam_config.take().unwrap_or_default();
    let merged = EndpointIpamConfig {
        ipv4_address: one(&ipam.ipv4_address, &flags.ip).ok_or_else(|| both("IPv4 address", "ip"))?,
        ipv6_address: one(&ipam.ipv6_address, &flags.ip6).ok_or_else(|| both("IPv6 address", "ip6"))?,
        link_local_ips: if flags.link_local_ip.is_empty() {
            ipam.link_local_ips
        } else {
            flags.link_local_ip.clone()
        },
    };
    if merged != EndpointIpamConfig::default() {
        settings.ipam_config = Some(merged);
    }
    Ok(())
}

fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// The one of two texts that is not empty; nothing if both are there.
fn one(a: &str, b: &str) -> Option<String> {
    match (a.is_empty(), b.is_empty()) {
        (false, false) => None,
        (true, _) => Some(b.to_owned()),
        (_, true) => Some(a.to_owned()),
    }
}

/// A network by its name, or by `name=…,alias=…,ip=…`.
fn network(text: &str) -> Result<(String, EndpointSettings), String> {
    let mut settings = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), settings));
    }
    let mut name = String::new();
    let mut ipam = EndpointIpamConfig::default();
    for field in opts::csv::fields(text).map_err(|error| error.to_string())? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim().to_lowercase().as_str() {
            "name" => value.clone_into(&mut name),
            "alias" => settings.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut ipam.ipv4_address),
            "ip6" => value.clone_into(&mut ipam.ipv6_address),
            "mac-address" if is_mac(value) => value.clone_into(&mut settings.mac_address),
            "mac-address" => return Err(format!("{value} is not a valid mac address")),
            "link-local-ip" => ipam.link_local_ips.push(value.to_owned()),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or("invalid key value pair format in driver options")?;
                settings.driver_opts.insert(key.to_lowercase(), value.to_owned());
            }
            "gw-priority" => {
                settings.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    if ipam != EndpointIpamConfig::default() {
        settings.ipam_config = Some(ipam);
    }
    Ok((name, settings))
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}
