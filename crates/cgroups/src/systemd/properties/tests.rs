//! What becomes of limits, in systemd's words.

use super::*;

fn said(json: &str, cgroup: Version, version: u32) -> Vec<String> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let limits = limits(&resources, cgroup, version).unwrap();
    limits
        .into_iter()
        .map(|(name, value)| match value {
            Value::Uint64(INFINITY) => format!("{name}=infinity"),
            Value::Uint64(value) => format!("{name}={value}"),
            other => format!("{name}={other:?}"),
        })
        .collect()
}

#[test]
fn limits_for_version_2() {
    let json = r#"{"memory":{"limit":1000,"swap":1000,"reservation":500},"pids":{"limit":0},
        "cpu":{"shares":1024,"quota":5000,"period":1000,"cpus":"0,9"},"blockIO":{"weight":10}}"#;
    assert_eq!(
        said(json, Version::V2, 252),
        [
            "MemoryMax=1000",
            "MemoryLow=500",
            "MemorySwapMax=0",
            "CPUWeight=100",
            "CPUQuotaPeriodUSec=1000",
            "CPUQuotaPerSecUSec=5000000",
            "AllowedCPUs=Array(\"y\", [Byte(1), Byte(2)])",
            "TasksMax=1",
        ]
    );
    assert_eq!(
        said(
            r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"quota":-1}}"#,
            Version::V2,
            252
        ),
        [
            "MemoryMax=infinity",
            "MemorySwapMax=infinity",
            "CPUQuotaPerSecUSec=infinity",
            "TasksMax=infinity"
        ]
    );
}

#[test]
fn limits_for_version_1_and_an_old_systemd() {
    let json = r#"{"memory":{"limit":1000,"swap":2000},"cpu":{"shares":5,"period":1000,"cpus":"1"},"blockIO":{"weight":10}}"#;
    assert_eq!(
        said(json, Version::V1, 239),
        [
            "MemoryLimit=1000",
            "CPUShares=5",
            "CPUQuotaPerSecUSec=infinity",
            "BlockIOWeight=10"
        ]
    );
}

#[test]
fn an_idle_one_has_no_weight() {
    let json = r#"{"cpu":{"shares":1024,"idle":1}}"#;
    assert_eq!(said(json, Version::V2, 252), ["CPUWeight=0"]);
    assert_eq!(said(json, Version::V2, 251), ["CPUWeight=100"]);
    let warned = |json: &str, version| ignored(&serde_json::from_str(json).unwrap(), version).is_some();
    let unified = r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#;
    assert!(warned(json, 252) && warned(unified, 252));
    assert!(!warned(json, 251) && !warned(unified, 251));
    assert!(!warned(r#"{"cpu":{"shares":1024,"idle":0}}"#, 252));
    assert!(!warned(r#"{"cpu":{"idle":1},"unified":{"cpu.weight":"8"}}"#, 252));
}

#[test]
fn files_of_version_2_have_properties() {
    let json = r#"{"unified":{"cpu.max":"max 50000","cpu.weight":"7","cpu.idle":"0","memory.high":"max",
        "memory.swap.max":"12","pids.max":"0","io.max":"8:0 rbps=1"}}"#;
    assert_eq!(
        said(json, Version::V2, 252),
        [
            "CPUQuotaPeriodUSec=50000",
            "CPUQuotaPerSecUSec=infinity",
            "CPUWeight=7",
            "MemoryHigh=infinity",
            "MemorySwapMax=12",
            "TasksMax=1",
        ]
    );
    for (json, error) in [
        (
            r#"{"unified":{"a/b.c":"1"}}"#,
            "unified resource \"a/b.c\" must be a file name (no slashes)",
        ),
        (
            r#"{"unified":{"pids.max":"x"}}"#,
            "unified resource \"pids.max\" value conversion error",
        ),
        (
            r#"{"cpu":{"cpus":"2-1"}}"#,
            "resources.CPU.Cpus=\"2-1\" conversion error: invalid range: 2-1",
        ),
    ] {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        let said = limits(&resources, Version::V2, 252).unwrap_err();
        assert!(said.starts_with(error), "{said}");
    }
}

#[test]
fn a_quota_is_rounded_up_to_a_percent() {
    let resources: LinuxResources = serde_json::from_str(r#"{"cpu":{"quota":3333,"period":50000}}"#).unwrap();
    assert_eq!(rounded(&resources).cpu.unwrap().quota, Some(3500));
    assert_eq!(
        said(r#"{"cpu":{"quota":3333,"period":50000}}"#, Version::V2, 252)[1],
        "CPUQuotaPerSecUSec=70000"
    );
    let whole: LinuxResources = serde_json::from_str(r#"{"cpu":{"quota":50000}}"#).unwrap();
    assert_eq!(rounded(&whole), whole);
}

#[test]
fn devices_are_lists_of_what_is_allowed() {
    let said = |json: &str| {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        devices(&rules).unwrap()
    };
    let allowed = said(
        r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","access":"m"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"wr"},{"allow":true,"type":"b","major":8,"access":"rwm"},
            {"allow":true,"type":"c","minor":5,"access":"r"}]"#,
    );
    let entry = |path: &str, access: &str| Value::Struct(vec![Value::text(path), Value::text(access)]);
    assert_eq!(allowed[0].1, Value::Array("(ss)".into(), vec![]));
    assert_eq!(allowed[1], property("DevicePolicy", Value::text("strict")));
    assert_eq!(
        allowed[2].1,
        Value::Array(
            "(ss)".into(),
            vec![
                entry("char-*", "m"),
                entry("/dev/char/1:3", "rw"),
                entry("block-8", "rwm")
            ]
        )
    );
    let free = said(r#"[{"allow":true,"access":"rwm"}]"#);
    assert_eq!(free[1], property("DevicePolicy", Value::text("auto")));
    let denied = said(r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"w"}]"#);
    assert_eq!((denied.len(), &denied[1].1), (2, &Value::text("strict")));
    assert!(said("[]").is_empty());
}
