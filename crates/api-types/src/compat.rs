//! API versions: comparing them, and lifting old requests to the newest form, so that no handler
//! ever looks at a version.

use std::fmt;
use std::str::FromStr;

use crate::container;

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The number before the dot.
    pub major: u32,
    /// The number behind the dot.
    pub minor: u32,
}

impl ApiVersion {
    /// The newest version: [`crate::API_VERSION`].
    pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 50 };
    /// The oldest version: [`crate::MIN_API_VERSION`].
    pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };

    /// `1.minor`.
    pub const fn v1(minor: u32) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Not of the form `1.23`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadVersion(pub String);

impl fmt::Display for BadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid API version {:?}", self.0)
    }
}

impl std::error::Error for BadVersion {}

impl FromStr for ApiVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let number = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse().ok(),
            false => None,
        };
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(ApiVersion {
                    major: number(major)?,
                    minor: number(minor)?,
                })
            })
            .ok_or_else(|| BadVersion(text.to_owned()))
    }
}

/// Lifts the body of a create from `version` to the newest form.
pub fn lift_create(version: ApiVersion, request: &mut container::CreateRequest) {
    let host = &mut request.host_config;
    if version < ApiVersion::v1(40) {
        // Before 1.40 the default IPC mode was "shareable".
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
        host.kernel_memory_tcp = 0;
    }
    if version < ApiVersion::v1(41) {
        // Before 1.41 every container lived in its host's cgroup namespace.
        if host.cgroupns_mode.is_empty() {
            host.cgroupns_mode = "host".to_owned();
        }
    }
    if version < ApiVersion::v1(42) {
        for mount in &mut host.mounts {
            // A missing source was made: the old behaviour of `--mount type=bind` was an error, and
            // later clients say `CreateMountpoint` when they want it.
            if let Some(bind) = &mut mount.bind_options {
                bind.create_mountpoint = false;
            }
        }
    }
    if version < ApiVersion::v1(44) {
        if let Some(check) = &mut request.config.healthcheck {
            check.start_interval = 0;
        }
        for mount in &mut host.mounts {
            if let Some(bind) = &mut mount.bind_options {
                bind.read_only_non_recursive = false;
                bind.read_only_force_recursive = false;
                if bind.non_recursive && mount.read_only {
                    bind.read_only_non_recursive = true;
                }
            }
        }
        // The address was a property of the container; now it is one of its end of the network.
        let mac = std::mem::take(&mut request.config.mac_address);
        if !mac.is_empty() {
            let mode = match host.network_mode.as_str() {
                "" | "default" => "bridge",
                mode => mode,
            };
            request
                .networking_config
                .endpoints_config
                .entry(mode.to_owned())
                .or_default()
                .get_or_insert_default()
                .mac_address = mac;
        }
    }
    if version < ApiVersion::v1(45) {
        for mount in &mut host.mounts {
            if let Some(volume) = &mut mount.volume_options {
                volume.subpath.clear();
            }
        }
    }
    if version < ApiVersion::v1(48) {
        for endpoint in request.networking_config.endpoints_config.values_mut().flatten() {
            endpoint.gw_priority = 0;
        }
    }
    // Kernel memory limits are gone from the kernel and from 1.42 on from the API.
    host.kernel_memory = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>();
        assert!(version("1.9").expect("1.9") < version("1.10").expect("1.10"));
        assert_eq!(version(crate::API_VERSION), Ok(ApiVersion::NEWEST));
        assert_eq!(version(crate::MIN_API_VERSION), Ok(ApiVersion::OLDEST));
        for bad in ["", "1", "1.", ".1", "1.x", "1.+5", "1.2.3"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_old_create_is_lifted() {
        let mut request: container::CreateRequest = serde_json::from_str(
            r#"{"Image":"x","MacAddress":"02:42:ac:11:00:02","HostConfig":{"NetworkMode":"default"}}"#,
        )
        .expect("request");
        lift_create(ApiVersion::v1(24), &mut request);
        assert_eq!(request.host_config.ipc_mode, "shareable");
        assert_eq!(request.host_config.cgroupns_mode, "host");
        assert_eq!(request.config.mac_address, "");
        let end = request.networking_config.endpoints_config["bridge"]
            .as_ref()
            .expect("endpoint");
        assert_eq!(end.mac_address, "02:42:ac:11:00:02");

        let mut new = container::CreateRequest::default();
        lift_create(ApiVersion::NEWEST, &mut new);
        assert_eq!(new, container::CreateRequest::default());
    }
}
