//! Networks, and a container's place in them.

use crate::go::{Map, null_if_empty, zero};

go_struct! {
    /// The networks a container is to join.
    pub struct NetworkingConfig {
        #[serde(serialize_with = "null_if_empty")]
        pub endpoints_config: Map<Option<EndpointSettings>>,
    }

    /// A container's end of one network.
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpamConfig>,
        #[serde(serialize_with = "null_if_empty")]
        pub links: Vec<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub aliases: Vec<String>,
        pub mac_address: String,
        #[serde(serialize_with = "null_if_empty")]
        pub driver_opts: Map<String>,
        pub gw_priority: i64,
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        #[serde(rename = "DNSNames", serialize_with = "null_if_empty")]
        pub dns_names: Vec<String>,
    }

    /// The addresses asked for.
    pub struct EndpointIpamConfig {
        #[serde(rename = "IPv4Address", skip_serializing_if = "zero")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "zero")]
        pub ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "zero")]
        pub link_local_ips: Vec<String>,
    }

    /// Where a port of a container is published.
    pub struct PortBinding {
        pub host_ip: String,
        pub host_port: String,
    }

    /// One network, in a list or alone.
    pub struct Network {
        pub name: String,
        pub id: String,
        pub created: String,
        pub scope: String,
        pub driver: String,
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        pub ipam: Ipam,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_from: ConfigReference,
        pub config_only: bool,
        pub containers: Map<EndpointResource>,
        pub options: Map<String>,
        pub labels: Map<String>,
    }

    /// The address management of a network.
    pub struct Ipam {
        pub driver: String,
        #[serde(serialize_with = "null_if_empty")]
        pub options: Map<String>,
        #[serde(serialize_with = "null_if_empty")]
        pub config: Vec<IpamConfig>,
    }

    /// One address pool of a network.
    pub struct IpamConfig {
        #[serde(skip_serializing_if = "zero")]
        pub subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "zero")]
        pub ip_range: String,
        #[serde(skip_serializing_if = "zero")]
        pub gateway: String,
    }

    /// The network that another takes its configuration from.
    pub struct ConfigReference {
        pub network: String,
    }

    /// A container in a network.
    pub struct EndpointResource {
        pub name: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub mac_address: String,
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }

    /// The answer to a prune of networks.
    pub struct PruneReport {
        #[serde(serialize_with = "null_if_empty")]
        pub networks_deleted: Vec<String>,
    }
}
