//! What may be asked of a container, and Docker's defaults where nothing is asked. Pure but for what the host has.

use gantry_api_types::container::HostConfig;
use gantry_errdefs::{Error, Kind};

use crate::{Result, spec};

/// Refuses what cannot be, fills in what was left open, and says what has no effect.
pub(super) fn request(host: &mut HostConfig) -> Result<Vec<String>> {
    if host.network_mode.is_empty() || host.network_mode == "default" {
        host.network_mode = "default".to_owned();
    }
    match host.network_mode.as_str() {
        "default" | "none" | "host" => {}
        mode if mode.starts_with("container:") => {}
        mode => {
            return Err(Error::new(
                Kind::NotImplemented,
                format!("network {mode} is not implemented by this engine yet: use --network none or host"),
            ));
        }
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return Err(Error::not_implemented(
            "publishing ports is not implemented by this engine yet: use --network host",
        ));
    }
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".to_owned();
    }
    restart(host)?;
    limits(host)?;
    settle(host);
    if host.log_config.r#type.is_empty() {
        host.log_config.r#type = "json-file".to_owned();
    }
    if !matches!(host.log_config.r#type.as_str(), "json-file" | "none") {
        return Err(Error::invalid(format!(
            "logger: no log driver named '{}' is registered: json-file and none are",
            host.log_config.r#type
        )));
    }
    for limit in &host.ulimits {
        if limit.hard >= 0 && limit.soft > limit.hard {
            return Err(Error::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            )));
        }
    }
    Ok(Vec::new())
}

/// Writes Docker's defaults where nothing was said, so that `inspect` tells what holds.
fn settle(host: &mut HostConfig) {
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    host.memory_swappiness = host.memory_swappiness.filter(|swappiness| *swappiness != -1);
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
    if host.cgroupns_mode.is_empty() {
        host.cgroupns_mode = if unified() { "private" } else { "host" }.to_owned();
    }
    if !host.privileged {
        let default = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        let (masked, read_only) = match host
            .security_opt
            .iter()
            .any(|option| option == "systempaths=unconfined")
        {
            true => (Some(Vec::new()), Some(Vec::new())),
            false => (default(spec::MASKED), default(spec::READ_ONLY)),
        };
        host.masked_paths = host.masked_paths.take().or(masked);
        host.readonly_paths = host.readonly_paths.take().or(read_only);
    }
}

/// Whether the host has cgroups of version 2 alone.
pub(crate) fn unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Refuses a restart policy that is none.
pub(super) fn restart(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    let refused = |why: String| Err(Error::invalid(format!("invalid restart policy: {why}")));
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if policy.maximum_retry_count > 0 => {
            refused("maximum retry count can only be used with 'on-failure'".to_owned())
        }
        "on-failure" if policy.maximum_retry_count < 0 => {
            refused("maximum retry count cannot be negative".to_owned())
        }
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        other => refused(format!(
            "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

/// Refuses limits that no container can have.
pub(super) fn limits(host: &HostConfig) -> Result<()> {
    let refused = |why: &str| Err(Error::invalid(why));
    if host.memory != 0 && host.memory < 6 << 20 {
        return refused("Minimum memory limit allowed is 6MB");
    }
    if host.memory_swap > 0 && host.memory == 0 {
        return refused("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return refused("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory_reservation != 0 && host.memory_reservation < 6 << 20 {
        return refused("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return refused("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return Err(Error::invalid(format!(
            "invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refused("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refused("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    if host.nano_cpus < 0 || host.nano_cpus > cpus * 1_000_000_000 {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return refused(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1_000 {
        return refused("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refused("Range of blkio weight is from 10 to 1000");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(json: &str) -> HostConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_are_written_down() {
        let mut settled = host(r#"{"Memory":8388608,"MemorySwappiness":-1,"PidsLimit":0}"#);
        request(&mut settled).unwrap();
        assert_eq!(
            (settled.memory_swap, settled.memory_swappiness, settled.pids_limit),
            (16 << 20, None, None)
        );
        assert_eq!(
            (settled.ipc_mode.as_str(), settled.shm_size),
            ("private", 64 << 20)
        );
        assert_eq!(
            (
                settled.restart_policy.name.as_str(),
                settled.log_config.r#type.as_str()
            ),
            ("no", "json-file")
        );
        assert!(settled.masked_paths.unwrap().contains(&"/proc/kcore".to_owned()));
        let mut open = host(r#"{"SecurityOpt":["systempaths=unconfined"]}"#);
        request(&mut open).unwrap();
        assert_eq!(
            (open.masked_paths, open.readonly_paths),
            (Some(vec![]), Some(vec![]))
        );
    }

    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        for (json, words) in [
            (r#"{"Memory":1}"#, "Minimum memory limit allowed is 6MB"),
            (
                r#"{"MemorySwap":8388608}"#,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                r#"{"Memory":8388608,"MemorySwap":6388608}"#,
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                r#"{"NanoCpus":1000000000000000}"#,
                "range of CPUs is from 0.01 to",
            ),
            (
                r#"{"RestartPolicy":{"Name":"x"}}"#,
                "invalid restart policy: unknown policy 'x'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}"#,
                "maximum retry count can only be used with 'on-failure'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always"},"AutoRemove":true}"#,
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                r#"{"LogConfig":{"Type":"syslog"}}"#,
                "no log driver named 'syslog' is registered",
            ),
            (r#"{"NetworkMode":"bridge"}"#, "network bridge is not implemented"),
            (
                r#"{"PublishAllPorts":true}"#,
                "publishing ports is not implemented",
            ),
        ] {
            let error = request(&mut host(json)).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
