//! New limits and a new restart policy for a container, running or not.

use gantry_api_types::container::{HostConfig, UpdateConfig, UpdateResponse};
use gantry_errdefs::Error;
use gantry_supervisor_core::Any;

use super::Container;
use super::judge;
use crate::{Engine, Result, fail, spec};

const RESOURCES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

impl Engine {
    /// Changes what `update` says and leaves the rest. A running container has the new limits once this returns; when the
    /// kernel refuses them the record keeps the old ones.
    pub async fn container_update(&self, reference: &str, update: UpdateConfig) -> Result<UpdateResponse> {
        let container = self.find(reference)?;
        self.whole(async move |engine| engine.update(&container, update).await)
            .await
    }

    async fn update(&self, container: &Container, update: UpdateConfig) -> Result<UpdateResponse> {
        let _operation = container.operation.lock().await;
        let record = container.record();
        let cannot = |why: String| format!("Cannot update container {}: {why}", record.id);
        if record.state.removing {
            return Err(Error::failed_precondition(cannot(
                "container is marked for removal and cannot be \"update\"".to_owned(),
            )));
        }
        let host = merged(&record.host, &update).map_err(|e| Error::new(e.kind(), cannot(e.chain())))?;
        judge::restart(&host)?;
        judge::limits(&host)?;
        let limits = spec::limits(&host);
        if record.state.status.is_running() && limits != spec::limits(&record.host) {
            let value =
                serde_json::to_vec(&limits).map_err(|e| Error::internal(format!("encode limits: {e}")))?;
            let resources = Any {
                type_url: RESOURCES_TYPE.to_owned(),
                value,
            };
            let updated = self.services.tasks.update(&record.id, resources).await;
            updated.map_err(|e| Error::new(e.kind(), cannot(fail::flat(e).chain())))?;
        }
        let record = self.change(container, |record| record.host = host).await?;
        self.tell(&record, "update", &[]);
        Ok(UpdateResponse::default())
    }
}

/// The old configuration with what the update says: zero and empty say nothing.
fn merged(old: &HostConfig, update: &UpdateConfig) -> Result<HostConfig> {
    let conflict = |message: &str| Err(Error::failed_precondition(message));
    if update.nano_cpus > 0 && old.cpu_period > 0 {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if update.nano_cpus > 0 && old.cpu_quota > 0 {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
    }
    if update.cpu_period > 0 && old.nano_cpus > 0 {
        return conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
    }
    if update.cpu_quota > 0 && old.nano_cpus > 0 {
        return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    // A container without limits has a swap limit of zero: Docker refuses that too, and says how to do it.
    if update.memory != 0
        && update.memory_swap == 0
        && update.memory > old.memory_swap
        && old.memory_swap != -1
    {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let mut host = old.clone();
    if update.blkio_weight != 0 {
        host.blkio_weight = update.blkio_weight;
    }
    for (to, from) in [
        (&mut host.cpu_shares, update.cpu_shares),
        (&mut host.nano_cpus, update.nano_cpus),
        (&mut host.cpu_period, update.cpu_period),
        (&mut host.cpu_quota, update.cpu_quota),
        (&mut host.cpu_realtime_period, update.cpu_realtime_period),
        (&mut host.cpu_realtime_runtime, update.cpu_realtime_runtime),
        (&mut host.memory, update.memory),
        (&mut host.memory_swap, update.memory_swap),
        (&mut host.memory_reservation, update.memory_reservation),
    ] {
        if from != 0 {
            *to = from;
        }
    }
    for (to, from) in [
        (&mut host.cpuset_cpus, &update.cpuset_cpus),
        (&mut host.cpuset_mems, &update.cpuset_mems),
    ] {
        if !from.is_empty() {
            to.clone_from(from);
        }
    }
    if update.pids_limit.is_some() {
        host.pids_limit = update.pids_limit;
    }
    if !update.restart_policy.name.is_empty() {
        if host.auto_remove && update.restart_policy.name != "no" {
            return conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            );
        }
        host.restart_policy.clone_from(&update.restart_policy);
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(json: &str) -> UpdateConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_not_said_stays() {
        let old = HostConfig {
            memory: 1 << 20,
            memory_swap: 2 << 20,
            cpu_shares: 5,
            ..HostConfig::default()
        };
        let new = merged(&old, &update(r#"{"CpuShares":7,"PidsLimit":9}"#)).unwrap();
        assert_eq!(
            (new.memory, new.memory_swap, new.cpu_shares, new.pids_limit),
            (1 << 20, 2 << 20, 7, Some(9))
        );
        let new = merged(&old, &update(r#"{"RestartPolicy":{"Name":"always"}}"#)).unwrap();
        assert_eq!((new.restart_policy.name.as_str(), new.cpu_shares), ("always", 5));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let old = HostConfig {
            nano_cpus: 1,
            auto_remove: true,
            memory_swap: 8,
            ..HostConfig::default()
        };
        let refused = |json: &str| merged(&old, &update(json)).unwrap_err().to_string();
        assert!(refused(r#"{"CpuPeriod":1}"#).contains("CPU Period cannot be updated"));
        assert!(refused(r#"{"CpuQuota":1}"#).contains("CPU Quota cannot be updated"));
        assert!(refused(r#"{"Memory":9}"#).starts_with("Memory limit should be smaller"));
        assert!(refused(r#"{"RestartPolicy":{"Name":"always"}}"#).contains("AutoRemove"));
    }
}
