//! Version 1: every limit has its own file, in the specification's units.

use gantry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use super::{Refused, Write, processes, rdma, set};

/// The file of the limit on memory alone.
pub(crate) const MEMORY_LIMIT: &str = "memory.limit_in_bytes";

/// The file of the shares of processor time: the kernel takes any number and keeps one within its range.
pub(crate) const CPU_SHARES: &str = "cpu.shares";

/// Everything but the devices' rules, which are set once. In runc's order.
pub(crate) fn resources(resources: &LinuxResources) -> Result<Vec<Write>, String> {
    if !resources.unified.is_empty() {
        return Err("invalid configuration: cannot use unified on cgroup v1".to_owned());
    }
    let mut writes = Vec::new();
    if let Some(cpu) = &resources.cpu {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        writes.extend(text(&cpu.cpus).map(|v| Write::new("cpuset", "cpuset.cpus", v)));
        writes.extend(text(&cpu.mems).map(|v| Write::new("cpuset", "cpuset.mems", v)));
    }
    if let Some(memory) = &resources.memory {
        writes.extend(self::memory(memory)?);
    }
    if let Some(cpu) = &resources.cpu {
        writes.extend(self::cpu(cpu));
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        writes.push(Write::new("pids", "pids.max", processes(limit)));
    }
    if let Some(block_io) = &resources.block_io {
        writes.extend(self::block_io(block_io));
    }
    for page in &resources.hugepage_limits {
        let (size, limit) = (&page.page_size, page.limit);
        writes.push(Write::new(
            "hugetlb",
            format!("hugetlb.{size}.limit_in_bytes"),
            limit,
        ));
        // What is only reserved counts as well, where the kernel can tell.
        let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        writes.push(Write::new("hugetlb", reserved, limit).refused(Refused::Missing));
    }
    if let Some(network) = &resources.network {
        writes.extend(set(network.class_id).map(|class| Write::new("net_cls", "net_cls.classid", class)));
        for priority in &network.priorities {
            let value = format!("{} {}", priority.name, priority.priority);
            writes.push(Write::new("net_prio", "net_prio.ifpriomap", value));
        }
    }
    writes.extend(resources.rdma.iter().map(|(device, limits)| rdma(device, limits)));
    Ok(writes)
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    let (limit, swap) = (set(memory.limit), set(memory.swap));
    // The limit of both must never be below that of memory alone, at no moment: growing sets the sum first. Which one
    // this is cannot be told here, so that whoever applies tries the other order when the first is refused.
    writes.extend(limit.map(|limit| Write::new("memory", MEMORY_LIMIT, limit).refused(Refused::Later)));
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    match (limit, swap) {
        // No limit on memory lifts that on swap too.
        (Some(-1), None) => writes.push(Write::new("memory", SWAP, -1).refused(Refused::Missing)),
        (_, swap) => writes.extend(swap.map(|swap| Write::new("memory", SWAP, swap))),
    }
    let reservation = set(memory.reservation);
    writes.extend(reservation.map(|v| Write::new("memory", "memory.soft_limit_in_bytes", v)));
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", "1"));
    }
    match memory.swappiness {
        // Some callers write -1 for nothing.
        None | Some(u64::MAX) => {}
        Some(swappiness @ 0..=100) => writes.push(Write::new("memory", "memory.swappiness", swappiness)),
        Some(swappiness) => {
            return Err(format!(
                "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            ));
        }
    }
    Ok(writes)
}

fn cpu(cpu: &LinuxCpu) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(set(cpu.shares).map(|v| Write::new("cpu", CPU_SHARES, v)));
    let quota = set(cpu.quota);
    // A period or burst that the old quota does not allow may go with the new one.
    let (period, burst) = match quota {
        Some(_) => (Refused::Later, Refused::MissingOrLater),
        None => (Refused::Fails, Refused::Missing),
    };
    writes.extend(set(cpu.period).map(|v| Write::new("cpu", "cpu.cfs_period_us", v).refused(period)));
    writes.extend(
        cpu.burst
            .map(|v| Write::new("cpu", "cpu.cfs_burst_us", v).refused(burst)),
    );
    writes.extend(quota.map(|v| Write::new("cpu", "cpu.cfs_quota_us", v)));
    writes.extend(cpu.idle.map(|v| Write::new("cpu", "cpu.idle", v)));
    let runtime = set(cpu.realtime_runtime);
    let period = if runtime.is_some() {
        Refused::Later
    } else {
        Refused::Fails
    };
    writes.extend(set(cpu.realtime_period).map(|v| Write::new("cpu", "cpu.rt_period_us", v).refused(period)));
    writes.extend(runtime.map(|v| Write::new("cpu", "cpu.rt_runtime_us", v)));
    writes
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    let mut writes = Vec::new();
    // With BFQ's scheduler the weights have files of another name.
    writes.extend(
        set(io.weight).map(|v| Write::new("blkio", "blkio.weight", v).instead("blkio.bfq.weight", v)),
    );
    writes.extend(set(io.leaf_weight).map(|v| Write::new("blkio", "blkio.leaf_weight", v)));
    for device in &io.weight_device {
        let line = |v: u16| format!("{}:{} {v}", device.major, device.minor);
        let weight = |v: u16| {
            Write::new("blkio", "blkio.weight_device", line(v)).instead("blkio.bfq.weight_device", line(v))
        };
        writes.extend(set(device.weight).map(weight));
        let leaf = |v: u16| Write::new("blkio", "blkio.leaf_weight_device", line(v));
        writes.extend(set(device.leaf_weight).map(leaf));
    }
    let mut throttle = |file: &str, devices: &[LinuxThrottleDevice]| {
        for device in devices {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            writes.push(Write::new("blkio", format!("blkio.throttle.{file}"), value));
        }
    };
    throttle("read_bps_device", &io.throttle_read_bps_device);
    throttle("write_bps_device", &io.throttle_write_bps_device);
    throttle("read_iops_device", &io.throttle_read_iops_device);
    throttle("write_iops_device", &io.throttle_write_iops_device);
    writes
}

/// The rules for devices, in order; a rule for all devices replaces what was before it, and nothing is allowed before.
pub(crate) fn devices(rules: &[LinuxDeviceCgroup]) -> Vec<Write> {
    let mut writes: Vec<Write> = vec![Write::new("devices", "devices.deny", "a")];
    for rule in rules {
        let file = if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        let number = |number: Option<i64>| match number {
            Some(number) if number >= 0 => number.to_string(),
            _ => "*".to_owned(),
        };
        let kind = if rule.typ.is_empty() { "a" } else { &rule.typ };
        // The kernel takes no other letters, runc passes over them.
        let letters: String = rule
            .access
            .chars()
            .filter(|letter| "rwm".contains(*letter))
            .collect();
        let access = match (rule.access.is_empty(), letters.is_empty()) {
            (true, _) => "rwm",
            (false, false) => &letters,
            (false, true) => continue,
        };
        let (major, minor) = (number(rule.major), number(rule.minor));
        if kind == "a" {
            writes.clear();
            writes.push(Write::new("devices", file, "a"));
        } else {
            writes.push(Write::new(
                "devices",
                file,
                format!("{kind} {major}:{minor} {access}"),
            ));
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Vec<String> {
        let read: LinuxResources = serde_json::from_str(json).unwrap();
        resources(&read)
            .unwrap()
            .into_iter()
            .map(|w| format!("{}={}", w.file, w.value))
            .collect()
    }

    #[test]
    fn limits_in_their_files_and_runcs_order() {
        let json = r#"{"memory":{"limit":1000,"swap":2000,"reservation":500,"swappiness":10,"kernelTCP":5,
            "disableOOMKiller":true},"pids":{"limit":-1},"cpu":{"shares":512,"quota":-1,"period":100000,"burst":7,
            "idle":0,"realtimePeriod":9,"realtimeRuntime":8,"cpus":"0-1","mems":"0"},"network":{"classID":5,
            "priorities":[{"name":"lo","priority":3}]},"rdma":{"mlx":{"hcaHandles":2}},
            "hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#;
        assert_eq!(
            written(json),
            [
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "memory.limit_in_bytes=1000",
                "memory.memsw.limit_in_bytes=2000",
                "memory.soft_limit_in_bytes=500",
                "memory.oom_control=1",
                "memory.swappiness=10",
                "cpu.shares=512",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_burst_us=7",
                "cpu.cfs_quota_us=-1",
                "cpu.idle=0",
                "cpu.rt_period_us=9",
                "cpu.rt_runtime_us=8",
                "pids.max=max",
                "hugetlb.2MB.limit_in_bytes=4",
                "hugetlb.2MB.rsvd.limit_in_bytes=4",
                "net_cls.classid=5",
                "net_prio.ifpriomap=lo 3",
                "rdma.max=mlx hca_handle=2",
            ]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":-1}}"#),
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
        );
        assert_eq!(written(r#"{"pids":{"limit":0}}"#), ["pids.max=1"]);
        assert!(
            written(r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0},"pids":{}}"#).is_empty()
        );
        for (json, why) in [
            (
                r#"{"unified":{"a.b":"1"}}"#,
                "invalid configuration: cannot use unified on cgroup v1",
            ),
            (
                r#"{"memory":{"swappiness":101}}"#,
                "invalid memory swappiness value: 101 (valid range is 0-100)",
            ),
        ] {
            let bad: LinuxResources = serde_json::from_str(json).unwrap();
            assert_eq!(resources(&bad).unwrap_err(), why);
        }
    }

    #[test]
    fn block_devices_in_their_files() {
        let json = r#"{"blockIO":{"weight":100,"leafWeight":50,
            "weightDevice":[{"major":8,"minor":0,"weight":20,"leafWeight":30}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":9}]}}"#;
        assert_eq!(
            written(json),
            [
                "blkio.weight=100",
                "blkio.leaf_weight=50",
                "blkio.weight_device=8:0 20",
                "blkio.leaf_weight_device=8:0 30",
                "blkio.throttle.read_bps_device=8:0 1024",
                "blkio.throttle.write_iops_device=8:16 9",
            ]
        );
        let read: LinuxResources = serde_json::from_str(json).unwrap();
        let instead = |at: usize| resources(&read).unwrap()[at].instead.clone();
        assert_eq!(instead(0), Some(("blkio.bfq.weight".into(), "100".into())));
        assert_eq!(
            instead(2),
            Some(("blkio.bfq.weight_device".into(), "8:0 20".into()))
        );
    }

    #[test]
    fn a_rule_for_all_devices_begins_anew() {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(
            r#"[{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},{"allow":false,"access":"rwm"},
                {"allow":true,"type":"b","access":"m"},{"allow":true,"type":"c","major":5,"minor":-1}]"#,
        )
        .unwrap();
        let lines: Vec<String> = devices(&rules)
            .into_iter()
            .map(|w| format!("{} {}", w.file, w.value))
            .collect();
        assert_eq!(
            lines,
            [
                "devices.deny a",
                "devices.allow b *:* m",
                "devices.allow c 5:* rwm"
            ]
        );
        let lines = devices(&rules[..1]);
        assert_eq!(
            (lines[0].file.as_str(), lines[1].value.as_str()),
            ("devices.deny", "c 1:3 rw")
        );
    }
}
