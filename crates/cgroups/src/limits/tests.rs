//! Limits that the kernel of the machine really keeps: version 1's or version 2's, whichever it has. The virtual machine of
//! `cargo xtask vm test` has version 2.

use super::*;
use crate::Layout;
use gantry_sys::process::Pid;
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A cgroup of a test's own, gone when it is dropped.
struct Own(Manager, String);

impl Own {
    fn new(below: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = format!("/gantry-limits-{}-{number}", std::process::id());
        let manager = Manager::new(Some(&format!("{top}{below}")), "").unwrap();
        manager.create().unwrap();
        Self(manager, top)
    }

    fn set(&self, json: &str) -> Result<()> {
        self.0.set(&parse(json))
    }

    #[track_caller]
    fn is(&self, controller: &str, file: &str, expected: &str) {
        let folder = self.0.folder(controller).unwrap();
        assert_eq!(read(&folder.join(file)).unwrap().trim(), expected, "{file}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let top = Manager::new(Some(&self.1), "").unwrap();
        let _ = top.kill();
        top.destroy().unwrap();
    }
}

fn parse(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

fn is(version: Version) -> bool {
    Layout::detect().unwrap().version == version
}

/// An error with all that is below it.
fn said(result: Result<()>) -> String {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The number of a whole disk.
fn disk() -> Option<String> {
    let names = fs::read_dir("/sys/block")
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let disk = names.into_iter().find(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        ["vd", "sd", "nvme"].iter().any(|kind| name.starts_with(kind))
    })?;
    Some(fs::read_to_string(disk.join("dev")).ok()?.trim().to_owned())
}

#[test]
fn version_2_keeps_all_of_them() {
    if !is(Version::V2) {
        return;
    }
    let own = Own::new("/deep/down");
    own.set(
        r#"{"memory":{"limit":67108864,"swap":100663296,"reservation":33554432},"pids":{"limit":0},
        "cpu":{"shares":512,"quota":20000,"period":50000,"burst":5000,"cpus":"0","mems":"0"},
        "hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"unified":{"memory.high":"50331648"}}"#,
    )
    .unwrap();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("pids.max", "1"),
        ("cpu.weight", "59"),
        ("cpu.max", "20000 50000"),
        ("cpu.max.burst", "5000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
    ] {
        own.is("", file, value);
    }
    // What is not given stays, also where two are one value.
    own.set(r#"{"cpu":{"quota":30000}}"#).unwrap();
    own.is("", "cpu.max", "30000 50000");
    own.set(r#"{"cpu":{"period":100000}}"#).unwrap();
    own.is("", "cpu.max", "30000 100000");
    // A burst is at most the quota: growing both needs the other order.
    own.set(r#"{"cpu":{"quota":90000,"burst":80000}}"#).unwrap();
    own.is("", "cpu.max.burst", "80000");
    own.set(r#"{"cpu":{"idle":1},"memory":{"limit":-1},"pids":{"limit":-1}}"#)
        .unwrap();
    for (file, value) in [
        ("cpu.idle", "1"),
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("pids.max", "max"),
    ] {
        own.is("", file, value);
    }
}

#[test]
fn version_2_throttles_devices() {
    let (true, Some(disk)) = (is(Version::V2), disk()) else {
        return;
    };
    let own = Own::new("");
    let (major, minor) = disk.split_once(':').unwrap();
    own.set(&format!(
        r#"{{"blockIO":{{"weight":500,"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
        "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":100}}]}}}}"#
    ))
    .unwrap();
    own.is(
        "",
        "io.max",
        &format!("{disk} rbps=1048576 wbps=max riops=max wiops=100"),
    );
    let folder = own.0.folder("io").unwrap();
    match read(&folder.join("io.bfq.weight")) {
        Ok(text) => assert_eq!(text.trim(), "default 500"),
        Err(_) => own.is("", "io.weight", "default 4950"),
    }
}

#[test]
fn version_2_says_what_it_has_not() {
    if !is(Version::V2) {
        return;
    }
    let own = Own::new("");
    for (json, error) in [
        (
            r#"{"unified":{"rubbish.max":"1"}}"#,
            "unified resource \"rubbish.max\" can't be set: controller \"rubbish\" not available",
        ),
        (
            r#"{"unified":{"pids.max":"rubbish"}}"#,
            "unable to set unified resource \"pids.max\": failed to write",
        ),
        (
            r#"{"unified":{"memory.rubbish":"1"}}"#,
            "unable to set unified resource \"memory.rubbish\": openat2 ",
        ),
        (r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#, "openat2 "),
        (
            r#"{"memory":{"swap":5}}"#,
            "unable to set swap limit without memory limit",
        ),
    ] {
        let said = said(own.set(json));
        assert!(said.starts_with(error), "{said}");
    }
}

#[test]
fn memory_that_is_in_use_is_not_taken_away() {
    if !is(Version::V2) {
        return;
    }
    let own = Own::new("");
    let child = sleeper(&own.0);
    let json = |limit: u64| format!(r#"{{"memory":{{"limit":{limit},"checkBeforeUpdate":true}}}}"#);
    let refused = said(own.set(&json(4096)));
    assert!(
        refused.starts_with("rejecting memory limit 4096 <= usage "),
        "{refused}"
    );
    own.is("", "memory.max", "max");
    own.set(&json(1 << 30)).unwrap();
    let both = r#"{"memory":{"limit":4096,"swap":4096,"checkBeforeUpdate":true}}"#;
    assert!(said(own.set(both)).starts_with("rejecting memory+swap limit 4096 <= usage "));
    drop(child);
}

/// A process in the cgroup, killed when it is dropped.
struct Sleeper(std::process::Child);

fn sleeper(manager: &Manager) -> Sleeper {
    let child = Sleeper(std::process::Command::new("sleep").arg("1000").spawn().unwrap());
    manager.add(child.0.id() as Pid).unwrap();
    child
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn threads_are_no_home_for_memory() {
    if !is(Version::V2) {
        return;
    }
    let above = Own::new("");
    let folder = above.0.folder("").unwrap();
    fs::create_dir(folder.join("a")).unwrap();
    fs::write(folder.join("a/cgroup.type"), "threaded").unwrap();
    let path = format!("{}/a/b", above.1);
    let inside = Manager::new(Some(&path), "").unwrap();
    let limits = parse(r#"{"memory":{"limit":67108864}}"#);
    let refused = said(inside.create_for(0, &limits));
    assert!(
        refused.contains("with domain controllers -- it is in an invalid state"),
        "{refused}"
    );
    inside.create_for(0, &parse(r#"{"pids":{"limit":5}}"#)).unwrap();
    assert_eq!(
        read(&inside.folder("").unwrap().join("cgroup.type"))
            .unwrap()
            .trim(),
        "threaded"
    );
    let refused = said(inside.create_for(0, &limits));
    assert!(refused.contains("it is in threaded mode"), "{refused}");
}

#[test]
fn a_cgroup_is_given_away() {
    use std::os::unix::fs::MetadataExt;
    let own = Own::new("");
    own.0.delegate(12345).unwrap();
    let folder = own.0.folder("memory").unwrap();
    let owner = |name: &str| fs::metadata(folder.join(name)).unwrap().uid();
    let expected = if is(Version::V2) { 12345 } else { 0 };
    assert_eq!((owner("."), owner("cgroup.procs")), (expected, expected));
    let limit = if is(Version::V2) {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    assert_eq!(owner(limit), 0, "its limits stay whose they were");
}

#[test]
fn version_1_keeps_all_of_them() {
    if !is(Version::V1) {
        return;
    }
    let own = Own::new("/deep/down");
    own.set(
        r#"{"memory":{"limit":67108864,"swap":100663296,"reservation":33554432,"swappiness":10},"pids":{"limit":0},
        "cpu":{"shares":512,"quota":20000,"period":50000,"burst":5000,"cpus":"0","mems":"0"}}"#,
    )
    .unwrap();
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "10"),
        ("pids", "pids.max", "1"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_burst_us", "5000"),
        ("cpuset", "cpuset.cpus", "0"),
    ] {
        own.is(controller, file, value);
    }
    // Sums grow before their parts, and shrink after them.
    for limits in [
        (128 << 20, 128 << 20),
        (256 << 20, 256 << 20),
        (32 << 20, 64 << 20),
    ] {
        own.set(&format!(
            r#"{{"memory":{{"limit":{},"swap":{}}}}}"#,
            limits.0, limits.1
        ))
        .unwrap();
        own.is("memory", "memory.limit_in_bytes", &limits.0.to_string());
    }
    own.set(r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"idle":1}}"#)
        .unwrap();
    own.is("pids", "pids.max", "max");
    own.is("cpu", "cpu.idle", "1");
}

/// The kernel compares each part of a value with what is above: some pairs go only in one order.
#[test]
fn version_1_finds_the_order() {
    if !is(Version::V1) {
        return;
    }
    let above = Own::new("");
    above.set(r#"{"cpu":{"quota":50000,"period":100000}}"#).unwrap();
    let inside = Own(
        Manager::new(Some(&format!("{}/in", above.1)), "").unwrap(),
        above.1.clone(),
    );
    inside.0.create().unwrap();
    inside.set(r#"{"cpu":{"quota":50000,"period":100000}}"#).unwrap();
    // The shorter period alone would be twice of what is allowed above.
    inside
        .set(r#"{"cpu":{"quota":20000,"period":40000,"burst":10000}}"#)
        .unwrap();
    inside.is("cpu", "cpu.cfs_period_us", "40000");
    inside.is("cpu", "cpu.cfs_burst_us", "10000");
    let refused = said(inside.set(r#"{"cpu":{"quota":90000}}"#));
    assert!(
        refused.contains("cpu.cfs_quota_us: Invalid argument"),
        "{refused}"
    );
    std::mem::forget(inside);
}

#[test]
fn version_1_says_what_it_has_not() {
    if !is(Version::V1) {
        return;
    }
    let own = Own::new("");
    for (json, error) in [
        (
            r#"{"unified":{"pids.max":"1"}}"#,
            "invalid configuration: cannot use unified on cgroup v1",
        ),
        (r#"{"cpu":{"shares":1}}"#, "the minimum allowed cpu-shares is 2"),
        (
            r#"{"cpu":{"shares":1000000}}"#,
            "the maximum allowed cpu-shares is 262144",
        ),
    ] {
        assert_eq!(said(own.set(json)), error);
    }
}

#[test]
fn version_1_throttles_devices() {
    let (true, Some(disk)) = (is(Version::V1), disk()) else {
        return;
    };
    let own = Own::new("");
    let (major, minor) = disk.split_once(':').unwrap();
    own.set(&format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
        "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":100}}]}}}}"#
    ))
    .unwrap();
    own.is(
        "blkio",
        "blkio.throttle.read_bps_device",
        &format!("{disk} 1048576"),
    );
    own.is(
        "blkio",
        "blkio.throttle.write_iops_device",
        &format!("{disk} 100"),
    );
}

#[test]
fn nothing_is_allowed_that_no_rule_allows() {
    let own = Own::new("");
    let rules = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#;
    own.0.set_devices(&parse(rules)).unwrap();
    if is(Version::V1) {
        own.is("devices", "devices.list", "c 1:3 rwm");
    }
    let try_them = |devices: &str| {
        let doors = own.0.entrance().unwrap().doors;
        use std::os::fd::AsRawFd;
        let enter: Vec<String> = doors
            .iter()
            .map(|door| format!("echo 0 > /proc/{}/fd/{};", std::process::id(), door.as_raw_fd()))
            .collect();
        let script = format!("{} : < {devices}", enter.concat());
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", &script])
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(try_them("/dev/null") && !try_them("/dev/zero"));
    // New rules take the place of the old ones.
    let rules = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}]}"#;
    own.0.set_devices(&parse(rules)).unwrap();
    assert!(!try_them("/dev/null") && try_them("/dev/zero"));
}
