//! Version 1: every limit has its own file, in the specification's units.

use gantry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use super::{Write, memory_and_swap};

/// The file of the limit on memory alone.
pub(crate) const MEMORY_LIMIT: &str = "memory.limit_in_bytes";

/// Everything but the devices' rules, which are set once.
pub(crate) fn resources(resources: &LinuxResources) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        writes.extend(self::memory(memory)?);
    }
    if let Some(cpu) = &resources.cpu {
        writes.extend(self::cpu(cpu));
    }
    if let Some(limit) = resources
        .pids
        .as_ref()
        .and_then(|pids| pids.limit)
        .filter(|limit| *limit != 0)
    {
        writes.push(Write::new(
            "pids",
            "pids.max",
            if limit > 0 {
                limit.to_string()
            } else {
                "max".to_owned()
            },
        ));
    }
    if let Some(block_io) = &resources.block_io {
        writes.extend(self::block_io(block_io));
    }
    for page in &resources.hugepage_limits {
        writes.push(Write::new(
            "hugetlb",
            format!("hugetlb.{}.limit_in_bytes", page.page_size),
            page.limit,
        ));
        let reserved = format!("hugetlb.{}.rsvd.limit_in_bytes", page.page_size);
        writes.push(Write::new("hugetlb", reserved, page.limit).optional());
    }
    if let Some(network) = &resources.network {
        writes.extend(
            network
                .class_id
                .map(|class| Write::new("net_cls", "net_cls.classid", class)),
        );
        for priority in &network.priorities {
            let value = format!("{} {}", priority.name, priority.priority);
            writes.push(Write::new("net_prio", "net_prio.ifpriomap", value));
        }
    }
    for (device, limits) in &resources.rdma {
        let handles = limits.hca_handles.map_or("max".to_owned(), |n| n.to_string());
        let objects = limits.hca_objects.map_or("max".to_owned(), |n| n.to_string());
        let value = format!("{device} hca_handle={handles} hca_object={objects}");
        writes.push(Write::new("rdma", "rdma.max", value));
    }
    Ok(writes)
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    let (limit, swap) = memory_and_swap(memory)?;
    // The limit of both must never be below that of memory alone, at no moment: growing sets the sum first. Which one
    // this is cannot be told here, so that whoever applies tries the other order when the first is refused.
    let limit = limit.map(|limit| Write::new("memory", MEMORY_LIMIT, limit));
    let swap = swap.map(|swap| Write::new("memory", "memory.memsw.limit_in_bytes", swap));
    writes.extend(limit);
    writes.extend(swap);
    let set = |value: &Option<i64>| value.filter(|value| *value != 0);
    writes.extend(set(&memory.reservation).map(|v| Write::new("memory", "memory.soft_limit_in_bytes", v)));
    writes.extend(
        set(&memory.kernel_tcp).map(|v| Write::new("memory", "memory.kmem.tcp.limit_in_bytes", v).optional()),
    );
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", "1"));
    }
    if let Some(swappiness) = memory.swappiness {
        if swappiness > 100 {
            return Err(format!(
                "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            ));
        }
        writes.push(Write::new("memory", "memory.swappiness", swappiness));
    }
    Ok(writes)
}

fn cpu(cpu: &LinuxCpu) -> Vec<Write> {
    let mut writes = Vec::new();
    let set = |value: &Option<u64>| value.filter(|value| *value != 0);
    writes.extend(set(&cpu.shares).map(|v| Write::new("cpu", "cpu.shares", v)));
    writes.extend(cpu.idle.map(|v| Write::new("cpu", "cpu.idle", v)));
    writes.extend(set(&cpu.period).map(|v| Write::new("cpu", "cpu.cfs_period_us", v)));
    writes.extend(
        cpu.quota
            .filter(|quota| *quota != 0)
            .map(|v| Write::new("cpu", "cpu.cfs_quota_us", v)),
    );
    writes.extend(cpu.burst.map(|v| Write::new("cpu", "cpu.cfs_burst_us", v)));
    writes.extend(set(&cpu.realtime_period).map(|v| Write::new("cpu", "cpu.rt_period_us", v)));
    let runtime = cpu.realtime_runtime.filter(|v| *v != 0);
    writes.extend(runtime.map(|v| Write::new("cpu", "cpu.rt_runtime_us", v)));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    writes.extend(text(&cpu.cpus).map(|v| Write::new("cpuset", "cpuset.cpus", v)));
    writes.extend(text(&cpu.mems).map(|v| Write::new("cpuset", "cpuset.mems", v)));
    writes
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    let mut writes = Vec::new();
    let weight = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    writes.extend(weight(io.weight).map(|v| Write::new("blkio", "blkio.weight", v)));
    writes.extend(weight(io.leaf_weight).map(|v| Write::new("blkio", "blkio.leaf_weight", v)));
    for device in &io.weight_device {
        let name = format!("{}:{}", device.major, device.minor);
        let line = |v: u16| format!("{name} {v}");
        writes.extend(weight(device.weight).map(|v| Write::new("blkio", "blkio.weight_device", line(v))));
        writes.extend(
            weight(device.leaf_weight).map(|v| Write::new("blkio", "blkio.leaf_weight_device", line(v))),
        );
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

/// The rules for devices, in order; a rule for all devices replaces what was before it.
pub(crate) fn devices(rules: &[LinuxDeviceCgroup]) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
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
        let access = if rule.access.is_empty() {
            "rwm"
        } else {
            &rule.access
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
    fn limits_in_their_files() {
        let json = r#"{"memory":{"limit":1000,"swap":2000,"reservation":500,"swappiness":10},"pids":{"limit":-1},
            "cpu":{"shares":512,"quota":-1,"period":100000,"cpus":"0-1"},"blockIO":{"weight":100,
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}]}}"#;
        assert_eq!(
            written(json),
            [
                "memory.limit_in_bytes=1000",
                "memory.memsw.limit_in_bytes=2000",
                "memory.soft_limit_in_bytes=500",
                "memory.swappiness=10",
                "cpu.shares=512",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=-1",
                "cpuset.cpus=0-1",
                "pids.max=max",
                "blkio.weight=100",
                "blkio.throttle.read_bps_device=8:0 1024",
            ]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":-1}}"#),
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
        );
        assert!(written("{}").is_empty());
        let bad: LinuxResources = serde_json::from_str(r#"{"memory":{"limit":10,"swap":5}}"#).unwrap();
        assert!(resources(&bad).is_err());
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
    }
}
