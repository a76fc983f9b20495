//! Specifications of records, by what a user of Docker knows of them.

use gantry_api_types::container::CreateRequest;

use super::*;

fn made(json: &str) -> Result<Spec, Error> {
    let request: CreateRequest = serde_json::from_str(json).unwrap();
    let image = crate::image::ResolvedImage::default();
    let command = request
        .config
        .cmd
        .as_deref()
        .cloned()
        .unwrap_or_else(|| vec!["sh".to_owned()]);
    let mounts = plan_mounts(&request.config, &request.host_config, std::path::Path::new("/v"))?;
    let record = record::Container::new(
        "a".repeat(64),
        "n".into(),
        command,
        request.config,
        request.host_config,
        mounts,
        &image,
    );
    let facts = Facts {
        folder: "/d/c".into(),
        cgroup_parent: "/gantry".into(),
        ..Facts::default()
    };
    make(&record, &facts)
}

#[test]
fn the_default_is_dockers() {
    let spec = made(r#"{"Image":"x","Hostname":"h"}"#).unwrap();
    let process = spec.process.unwrap();
    let caps = process.capabilities.unwrap();
    assert_eq!(caps.bounding.len(), 14);
    assert_eq!(
        (caps.effective.len(), caps.inheritable.len(), caps.ambient.len()),
        (14, 0, 0)
    );
    assert!(process.env.iter().any(|pair| pair == "HOSTNAME=h"));
    assert_eq!(process.oom_score_adj, Some(0));
    let linux = spec.linux.unwrap();
    let kinds: Vec<Ns> = linux.namespaces.iter().map(|namespace| namespace.typ).collect();
    assert_eq!(kinds, [Ns::Mount, Ns::Network, Ns::Uts, Ns::Pid, Ns::Ipc]);
    assert_eq!(linux.cgroups_path, format!("/gantry/{}", "a".repeat(64)));
    assert!(linux.masked_paths.contains(&"/proc/kcore".to_owned()));
    let places: Vec<&str> = spec
        .mounts
        .iter()
        .map(|mount| mount.destination.as_str())
        .collect();
    for place in [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
        "/etc/hosts",
    ] {
        assert!(places.contains(&place), "{place}");
    }
}

#[test]
fn privileged_and_unconfined_take_the_walls_away() {
    let spec =
        made(r#"{"Image":"x","HostConfig":{"Privileged":true,"PidMode":"host","NetworkMode":"host"}}"#)
            .unwrap();
    let linux = spec.linux.unwrap();
    assert!(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty() && linux.seccomp.is_none());
    assert!(spec.process.unwrap().capabilities.unwrap().bounding.len() > 30);
    assert!(
        !linux
            .namespaces
            .iter()
            .any(|n| matches!(n.typ, Ns::Pid | Ns::Network))
    );
    assert!(
        spec.mounts
            .iter()
            .any(|mount| mount.destination == "/sys" && mount.options.contains(&"rw".to_owned()))
    );
}

#[test]
fn limits_and_mounts_are_translated() {
    let json = r#"{"Image":"x","HostConfig":{"Memory":1048576,"NanoCpus":1500000000,"PidsLimit":7,"Binds":["/a:/b:ro","/c:/d"],
        "Tmpfs":{"/t":"size=1m"},"CapAdd":["NET_ADMIN"],"CapDrop":["CHOWN"],"ReadonlyRootfs":true,
        "Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}],"ShmSize":4096}}"#;
    let spec = made(json).unwrap();
    let linux = spec.linux.unwrap();
    let resources = linux.resources.unwrap();
    assert_eq!(resources.memory.as_ref().unwrap().limit, Some(1 << 20));
    assert_eq!(resources.memory.unwrap().swap, Some(2 << 20));
    let cpu = resources.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
    assert_eq!(resources.pids.unwrap().limit, Some(7));
    let of = |place: &str| {
        spec.mounts
            .iter()
            .find(|mount| mount.destination == place)
            .unwrap()
            .options
            .clone()
    };
    assert!(of("/b").contains(&"ro".to_owned()) && of("/d").contains(&"rw".to_owned()));
    assert!(of("/t").contains(&"size=1m".to_owned()) && of("/dev/shm").contains(&"size=4096".to_owned()));
    let process = spec.process.unwrap();
    let caps = process.capabilities.unwrap().bounding;
    assert!(caps.contains(&"CAP_NET_ADMIN".to_owned()) && !caps.contains(&"CAP_CHOWN".to_owned()));
    assert_eq!(
        (process.rlimits[0].typ.as_str(), process.rlimits[0].soft),
        ("RLIMIT_NOFILE", 10)
    );
    assert!(spec.root.unwrap().readonly);
}

#[test]
fn what_makes_no_sense_is_refused_in_dockers_words() {
    let refused = |json: &str| made(json).unwrap_err().to_string();
    assert!(
        refused(r#"{"HostConfig":{"CapAdd":["NOPE"]}}"#)
            .contains("invalid CapAdd: unknown capability: \"CAP_NOPE\"")
    );
    assert!(refused(r#"{"HostConfig":{"SecurityOpt":["x"]}}"#).contains("invalid --security-opt"));
    assert!(refused(r#"{"HostConfig":{"Binds":["relative:x"]}}"#).contains("invalid"));
    assert!(
        refused(r#"{"HostConfig":{"Devices":[{"PathOnHost":"/nonexistent","PathInContainer":"/d"}]}}"#)
            .contains("/nonexistent")
    );
}
