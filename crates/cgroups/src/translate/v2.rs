//! Version 2: version 1's units converted as the runtime specification and runc do.

use gantry_oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Write, memory_and_swap};

/// Everything but the devices' rules, which are a program.
pub(crate) fn resources(resources: &LinuxResources) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        writes.extend(self::memory(memory)?);
    }
    if let Some(cpu) = &resources.cpu {
        writes.extend(self::cpu(cpu)?);
    }
    if let Some(limit) = resources
        .pids
        .as_ref()
        .and_then(|pids| pids.limit)
        .filter(|limit| *limit != 0)
    {
        writes.push(Write::new("pids", "pids.max", maximum(limit)));
    }
    if let Some(io) = &resources.block_io {
        writes.extend(self::block_io(io));
    }
    for page in &resources.hugepage_limits {
        writes.push(Write::new(
            "hugetlb",
            format!("hugetlb.{}.max", page.page_size),
            page.limit,
        ));
        writes.push(
            Write::new(
                "hugetlb",
                format!("hugetlb.{}.rsvd.max", page.page_size),
                page.limit,
            )
            .optional(),
        );
    }
    for (device, limits) in &resources.rdma {
        let handles = limits.hca_handles.map_or("max".to_owned(), |n| n.to_string());
        let objects = limits.hca_objects.map_or("max".to_owned(), |n| n.to_string());
        let value = format!("{device} hca_handle={handles} hca_object={objects}");
        writes.push(Write::new("rdma", "rdma.max", value));
    }
    for (file, value) in &resources.unified {
        if file.contains('/') || file.starts_with('.') {
            return Err(format!(
                "unified resource {file:?} must be a file name (no slashes)"
            ));
        }
        writes.push(Write::new("", file.clone(), value));
    }
    Ok(writes)
}

fn maximum(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    let (limit, both) = memory_and_swap(memory)?;
    if let Some(both) = both {
        let swap = match (limit, both) {
            (_, -1) => -1,
            (Some(limit), both) if limit > 0 => both - limit,
            _ => return Err("unable to set swap limit without memory limit".to_owned()),
        };
        // Without swap accounting there is no such file, and no limit is no loss.
        let write = Write::new("memory", "memory.swap.max", maximum(swap));
        writes.push(if swap == -1 { write.optional() } else { write });
    }
    writes.extend(limit.map(|limit| Write::new("memory", "memory.max", maximum(limit))));
    let reservation = memory.reservation.filter(|value| *value != 0);
    writes.extend(reservation.map(|value| Write::new("memory", "memory.low", maximum(value))));
    Ok(writes)
}

/// Shares of 2 to 262144 as a weight of 1 to 10000, so that 1024 is 100, by the curve that runc and crun use.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

fn cpu(cpu: &LinuxCpu) -> Result<Vec<Write>, String> {
    if cpu.realtime_period.is_some_and(|v| v != 0) || cpu.realtime_runtime.is_some_and(|v| v != 0) {
        return Err("realtime scheduling of a cgroup is not possible with cgroup v2".to_owned());
    }
    let mut writes = Vec::new();
    writes.extend(
        cpu.shares
            .filter(|v| *v != 0)
            .map(|v| Write::new("cpu", "cpu.weight", weight(v))),
    );
    writes.extend(cpu.idle.map(|v| Write::new("cpu", "cpu.idle", v)));
    let (quota, period) = (cpu.quota.filter(|v| *v != 0), cpu.period.filter(|v| *v != 0));
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or("max".to_owned(), |quota| {
            maximum(if quota > 0 { quota } else { -1 })
        });
        writes.push(Write::new(
            "cpu",
            "cpu.max",
            format!("{quota} {}", period.unwrap_or(100_000)),
        ));
    }
    writes.extend(cpu.burst.map(|v| Write::new("cpu", "cpu.max.burst", v)));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    writes.extend(text(&cpu.cpus).map(|v| Write::new("cpuset", "cpuset.cpus", v)));
    writes.extend(text(&cpu.mems).map(|v| Write::new("cpuset", "cpuset.mems", v)));
    Ok(writes)
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    // 10 to 1000 as 1 to 10000.
    let convert = |weight: u16| 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    let mut writes = Vec::new();
    if let Some(weight) = set(io.weight) {
        // BFQ's file takes the value as it is; where it is not there the controller's own does.
        writes.push(Write::new("io", "io.bfq.weight", weight).optional());
        writes.push(Write::new("io", "io.weight", format!("default {}", convert(weight))).optional());
    }
    for device in &io.weight_device {
        if let Some(weight) = set(device.weight) {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            writes.push(Write::new("io", "io.bfq.weight", value).optional());
        }
    }
    let mut throttle = |key: &str, devices: &[LinuxThrottleDevice]| {
        for device in devices {
            let rate = if device.rate == 0 {
                "max".to_owned()
            } else {
                device.rate.to_string()
            };
            writes.push(Write::new(
                "io",
                "io.max",
                format!("{}:{} {key}={rate}", device.major, device.minor),
            ));
        }
    };
    throttle("rbps", &io.throttle_read_bps_device);
    throttle("wbps", &io.throttle_write_bps_device);
    throttle("riops", &io.throttle_read_iops_device);
    throttle("wiops", &io.throttle_write_iops_device);
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Result<Vec<String>, String> {
        let read: LinuxResources = serde_json::from_str(json).unwrap();
        Ok(resources(&read)?
            .into_iter()
            .map(|w| format!("{}={}", w.file, w.value))
            .collect())
    }

    #[test]
    fn units_are_converted() {
        let json = r#"{"memory":{"limit":1000,"swap":1500,"reservation":500},"pids":{"limit":7},
            "cpu":{"shares":1024,"quota":50000},"unified":{"memory.high":"900"}}"#;
        assert_eq!(
            written(json).unwrap(),
            [
                "memory.swap.max=500",
                "memory.max=1000",
                "memory.low=500",
                "cpu.weight=100",
                "cpu.max=50000 100000",
                "pids.max=7",
                "memory.high=900",
            ]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":-1}}"#).unwrap(),
            ["memory.swap.max=max", "memory.max=max"]
        );
        assert!(written(r#"{"unified":{"../x":"1"}}"#).is_err());
        assert!(written(r#"{"memory":{"swap":5}}"#).is_err());
    }

    #[test]
    fn shares_and_weights_meet_at_their_ends_and_middle() {
        for (shares, expected) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
