//! Version 2: version 1's units converted as the runtime specification and runc do.

use gantry_oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Refused, Write, processes, rdma, set};

/// Everything but the devices' rules, which are a program. In runc's order.
///
/// Real-time scheduling, leaves' weights and switching the killer off are of version 1 only, and passed over as runc does.
pub(crate) fn resources(resources: &LinuxResources) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        writes.push(Write::new("pids", "pids.max", processes(limit)));
    }
    if let Some(memory) = &resources.memory {
        writes.extend(self::memory(memory)?);
    }
    if let Some(io) = &resources.block_io {
        writes.extend(self::block_io(io));
    }
    if let Some(cpu) = &resources.cpu {
        writes.extend(self::cpu(cpu));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        writes.extend(text(&cpu.cpus).map(|v| Write::new("cpuset", "cpuset.cpus", v)));
        writes.extend(text(&cpu.mems).map(|v| Write::new("cpuset", "cpuset.mems", v)));
    }
    for page in &resources.hugepage_limits {
        let (size, limit) = (&page.page_size, page.limit);
        writes.push(Write::new("hugetlb", format!("hugetlb.{size}.max"), limit));
        // What is only reserved counts as well, where the kernel can tell.
        let reserved = format!("hugetlb.{size}.rsvd.max");
        writes.push(Write::new("hugetlb", reserved, limit).refused(Refused::Missing));
    }
    writes.extend(resources.rdma.iter().map(|(device, limits)| rdma(device, limits)));
    for (file, value) in &resources.unified {
        check_unified(file)?;
        // A file of many lines takes one at a time.
        writes.extend(value.lines().map(|line| Write::new("", file.clone(), line)));
    }
    Ok(writes)
}

/// Whether a limit needs a controller that knows no threads: these cannot be in a cgroup of threads.
pub(crate) fn needs_domain(resources: &LinuxResources) -> bool {
    let memory = resources.memory.as_ref();
    let memory = memory
        .is_some_and(|m| set(m.limit).is_some() || set(m.swap).is_some() || set(m.reservation).is_some());
    let cpu = resources
        .cpu
        .as_ref()
        .is_some_and(|cpu| !self::cpu(cpu).is_empty());
    let io = resources
        .block_io
        .as_ref()
        .is_some_and(|io| !block_io(io).is_empty());
    memory || cpu || io || !resources.hugepage_limits.is_empty()
}

/// Whether any limit needs any controller.
pub(crate) fn needs_controllers(resources: &LinuxResources) -> bool {
    let cpu = resources.cpu.as_ref();
    needs_domain(resources)
        || resources.pids.as_ref().is_some_and(|pids| pids.limit.is_some())
        || cpu.is_some_and(|cpu| !cpu.cpus.is_empty() || !cpu.mems.is_empty())
}

/// Refuses the name of a file that is none of a cgroup's own.
pub(crate) fn check_unified(file: &str) -> Result<(), String> {
    if file.contains('/') {
        return Err(format!(
            "unified resource {file:?} must be a file name (no slashes)"
        ));
    }
    match file.find('.') {
        Some(1..) => Ok(()),
        _ => Err(format!(
            "unified resource {file:?} must be in the form CONTROLLER.PARAMETER"
        )),
    }
}

fn maximum(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// The limit on swap alone: nothing if it is not to be touched, -1 if there is to be none.
pub(crate) fn swap(memory: &LinuxMemory) -> Result<Option<i64>, String> {
    match (set(memory.limit), set(memory.swap)) {
        // No limit on memory lifts that on swap too.
        (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(-1)) => Ok(Some(-1)),
        (Some(-1), Some(both)) => Ok(Some(both)),
        (None, Some(_)) => Err("unable to set swap limit without memory limit".to_owned()),
        (Some(limit), _) if limit < 0 => Err(format!("invalid memory value: {limit}")),
        (Some(limit), Some(both)) if both < limit => {
            Err("memory+swap limit should be >= memory limit".to_owned())
        }
        (Some(limit), Some(both)) => Ok(Some(both - limit)),
    }
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, String> {
    let mut writes = Vec::new();
    if let Some(swap) = swap(memory)? {
        // Without swap accounting there is no such file: no limit is no loss, and no swap is what there is.
        let refused = if swap <= 0 {
            Refused::Missing
        } else {
            Refused::Fails
        };
        writes.push(Write::new("memory", "memory.swap.max", maximum(swap)).refused(refused));
    }
    writes.extend(set(memory.limit).map(|limit| Write::new("memory", "memory.max", maximum(limit))));
    writes.extend(set(memory.reservation).map(|value| Write::new("memory", "memory.low", maximum(value))));
    Ok(writes)
}

/// Shares of 2 to 262144 as a weight of 1 to 10000, so that 1024 is 100, by the curve that runc and crun use.
pub(crate) fn weight(shares: u64) -> u64 {
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

fn cpu(cpu: &LinuxCpu) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(cpu.idle.map(|v| Write::new("cpu", "cpu.idle", v)));
    writes.extend(set(cpu.shares).map(|v| Write::new("cpu", "cpu.weight", weight(v))));
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    // A burst that the old quota does not allow may go with the new one.
    let refused = if quota.is_some() {
        Refused::Later
    } else {
        Refused::Fails
    };
    writes.extend(
        cpu.burst
            .map(|v| Write::new("cpu", "cpu.max.burst", v).refused(refused)),
    );
    if quota.is_some() || period.is_some() {
        let quota = maximum(quota.filter(|quota| *quota > 0).unwrap_or(-1));
        let value = format!("{quota} {}", period.unwrap_or(100_000));
        writes.push(Write::new("cpu", "cpu.max", value));
    }
    writes
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    // 10 to 1000 as 1 to 10000.
    let convert = |weight: u16| 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
    let mut writes = Vec::new();
    if let Some(weight) = set(io.weight) {
        // BFQ's file takes the value as it is; where it is not there the controller's own does.
        writes.push(Write::new("io", "io.bfq.weight", weight).instead("io.weight", convert(weight)));
    }
    for device in &io.weight_device {
        if let Some(weight) = set(device.weight) {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            writes.push(Write::new("io", "io.bfq.weight", value).refused(Refused::Missing));
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
        let json = r#"{"memory":{"limit":1000,"swap":1500,"reservation":500,"swappiness":5,"disableOOMKiller":true},
            "pids":{"limit":7},"cpu":{"shares":1024,"quota":50000,"burst":3,"idle":1,"realtimePeriod":9,"cpus":"0","mems":"0"},
            "hugepageLimits":[{"pageSize":"2MB","limit":4}],"rdma":{"mlx":{"hcaHandles":2,"hcaObjects":3}},
            "unified":{"memory.high":"900","io.max":"8:0 rbps=1\n8:16 rbps=2"}}"#;
        assert_eq!(
            written(json).unwrap(),
            [
                "pids.max=7",
                "memory.swap.max=500",
                "memory.max=1000",
                "memory.low=500",
                "cpu.idle=1",
                "cpu.weight=100",
                "cpu.max.burst=3",
                "cpu.max=50000 100000",
                "cpuset.cpus=0",
                "cpuset.mems=0",
                "hugetlb.2MB.max=4",
                "hugetlb.2MB.rsvd.max=4",
                "rdma.max=mlx hca_handle=2 hca_object=3",
                "io.max=8:0 rbps=1",
                "io.max=8:16 rbps=2",
                "memory.high=900",
            ]
        );
        for (json, writes) in [
            (r#"{"cpu":{"period":50000}}"#, vec!["cpu.max=max 50000"]),
            (r#"{"cpu":{"quota":-1}}"#, vec!["cpu.max=max 100000"]),
            (r#"{"pids":{"limit":0}}"#, vec!["pids.max=1"]),
            (r#"{"pids":{"limit":-1}}"#, vec!["pids.max=max"]),
            (r#"{"pids":{}}"#, vec![]),
        ] {
            assert_eq!(written(json).unwrap(), writes, "{json}");
        }
    }

    #[test]
    fn swap_is_what_is_more_than_memory() {
        for (json, writes) in [
            (
                r#"{"memory":{"limit":-1}}"#,
                vec!["memory.swap.max=max", "memory.max=max"],
            ),
            (
                r#"{"memory":{"limit":9,"swap":9}}"#,
                vec!["memory.swap.max=0", "memory.max=9"],
            ),
            (
                r#"{"memory":{"limit":9,"swap":-1}}"#,
                vec!["memory.swap.max=max", "memory.max=9"],
            ),
            (
                r#"{"memory":{"limit":-1,"swap":9}}"#,
                vec!["memory.swap.max=9", "memory.max=max"],
            ),
            (r#"{"memory":{"swap":-1}}"#, vec!["memory.swap.max=max"]),
        ] {
            assert_eq!(written(json).unwrap(), writes, "{json}");
        }
        for (json, why) in [
            (
                r#"{"memory":{"swap":5}}"#,
                "unable to set swap limit without memory limit",
            ),
            (
                r#"{"memory":{"limit":10,"swap":5}}"#,
                "memory+swap limit should be >= memory limit",
            ),
            (r#"{"memory":{"limit":-2,"swap":5}}"#, "invalid memory value: -2"),
        ] {
            assert_eq!(written(json).unwrap_err(), why, "{json}");
        }
    }

    #[test]
    fn files_of_other_places_are_refused() {
        for (name, why) in [
            (
                "../x",
                "unified resource \"../x\" must be a file name (no slashes)",
            ),
            (
                "..",
                "unified resource \"..\" must be in the form CONTROLLER.PARAMETER",
            ),
            (
                "x",
                "unified resource \"x\" must be in the form CONTROLLER.PARAMETER",
            ),
        ] {
            assert_eq!(
                written(&format!(r#"{{"unified":{{"{name}":"1"}}}}"#)).unwrap_err(),
                why
            );
        }
    }

    #[test]
    fn weights_and_throttles() {
        let json = r#"{"blockIO":{"weight":1000,"leafWeight":9,"weightDevice":[{"major":8,"minor":0,"weight":20}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":0}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":7}]}}"#;
        assert_eq!(
            written(json).unwrap(),
            [
                "io.bfq.weight=1000",
                "io.bfq.weight=8:0 20",
                "io.max=8:0 rbps=max",
                "io.max=8:0 wiops=7"
            ]
        );
        let read: LinuxResources = serde_json::from_str(json).unwrap();
        assert_eq!(
            resources(&read).unwrap()[0].instead,
            Some(("io.weight".into(), "10000".into()))
        );
    }

    #[test]
    fn who_needs_what() {
        let needs = |json: &str| {
            let read: LinuxResources = serde_json::from_str(json).unwrap();
            (needs_domain(&read), needs_controllers(&read))
        };
        assert_eq!(needs("{}"), (false, false));
        assert_eq!(needs(r#"{"pids":{"limit":5}}"#), (false, true));
        assert_eq!(needs(r#"{"cpu":{"cpus":"0"}}"#), (false, true));
        assert_eq!(needs(r#"{"memory":{"limit":5}}"#), (true, true));
    }

    #[test]
    fn shares_and_weights_meet_at_their_ends_and_middle() {
        for (shares, expected) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
