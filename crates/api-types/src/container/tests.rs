//! Golden JSON of the container types: what Docker sends and what it reads.

use super::*;

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("json")
}

#[test]
fn an_empty_config_is_as_docker_writes_it() {
    assert_eq!(
        json(&Config::default()),
        concat!(
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"#,
            r#""AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"#,
            r#""Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"#,
            r#""OnBuild":null,"Labels":{}}"#
        )
    );
}

#[test]
fn an_empty_host_config_is_as_docker_writes_it() {
    assert_eq!(
        json(&HostConfig::default()),
        concat!(
            r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"#,
            r#""NetworkMode":"","PortBindings":{},"RestartPolicy":{"Name":"","MaximumRetryCount":0},"#,
            r#""AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"#,
            r#""CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"#,
            r#""DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","#,
            r#""Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"#,
            r#""PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","#,
            r#""UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"#,
            r#""CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"#,
            r#""BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"#,
            r#""BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"#,
            r#""CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"#,
            r#""DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"#,
            r#""MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"#,
            r#""Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"#,
            r#""IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}"#
        )
    );
}

/// What `docker run -it --rm busybox sh` of CLI 28 sends.
const CLI_28: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":true,
"AttachStdout":true,"AttachStderr":true,"Tty":true,"OpenStdin":true,"StdinOnce":true,"Env":null,
"Cmd":["sh"],"Image":"busybox","Volumes":{},"WorkingDir":"","Entrypoint":null,"Labels":{},
"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},
"NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
"AutoRemove":true,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[40,120],"CapAdd":null,
"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,
"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"",
"Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"",
"UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,
"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],
"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,
"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"",
"Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,
"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,
"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,
"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,
"Links":null,"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"",
"EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"",
"GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}},"SomethingNew":{"a":1}}"#;

#[test]
fn the_create_of_cli_28_is_read() {
    let request: CreateRequest = serde_json::from_str(CLI_28).expect("request");
    assert_eq!(request.config.image, "busybox");
    assert_eq!(request.config.cmd, Some(vec!["sh".to_owned()].into()));
    assert_eq!(request.config.entrypoint, None);
    assert!(request.config.tty && request.host_config.auto_remove);
    assert_eq!(request.host_config.console_size, [40, 120]);
    assert_eq!(request.host_config.memory_swappiness, Some(-1));
    assert_eq!(request.host_config.masked_paths, None);
    assert!(request.networking_config.endpoints_config.contains_key("default"));
    let again: CreateRequest = serde_json::from_str(&json(&request)).expect("again");
    assert_eq!(again, request);
}

#[test]
fn null_is_a_zero_value_anywhere() {
    let request: CreateRequest = serde_json::from_str(
        r#"{"Image":"x","Tty":null,"Cmd":"echo hi","Entrypoint":[],"Labels":null,
            "ExposedPorts":{"80/tcp":null},"HostConfig":{"Memory":null,"PortBindings":{"80/tcp":null},
            "RestartPolicy":null,"ConsoleSize":null,"MaskedPaths":[]},
            "NetworkingConfig":{"EndpointsConfig":{"net":null}}}"#,
    )
    .expect("request");
    assert_eq!(request.config.cmd, Some(vec!["echo hi".to_owned()].into()));
    assert_eq!(request.config.entrypoint, Some(StrSlice::default()));
    assert!(request.config.exposed_ports.contains_key("80/tcp"));
    assert_eq!(request.host_config.port_bindings["80/tcp"], None);
    assert_eq!(request.host_config.masked_paths, Some(vec![]));
    assert_eq!(request.networking_config.endpoints_config["net"], None);

    let bare: CreateRequest =
        serde_json::from_str(r#"{"Image":"x","HostConfig":null,"NetworkingConfig":null}"#).expect("bare");
    assert_eq!(bare.host_config, HostConfig::default());
    assert!(serde_json::from_str::<CreateRequest>(r#"{"Image":3}"#).is_err());
}

#[test]
fn answers_keep_their_lists() {
    let created = CreateResponse {
        id: "abc".into(),
        warnings: vec![],
    };
    assert_eq!(json(&created), r#"{"Id":"abc","Warnings":[]}"#);
    assert_eq!(
        json(&WaitResponse {
            error: None,
            status_code: 42
        }),
        r#"{"StatusCode":42}"#
    );
    assert_eq!(
        json(&PruneReport::default()),
        r#"{"ContainersDeleted":null,"SpaceReclaimed":0}"#
    );
    let mount = MountPoint {
        r#type: "bind".into(),
        rw: true,
        ..MountPoint::default()
    };
    assert_eq!(
        json(&mount),
        r#"{"Type":"bind","Source":"","Destination":"","Mode":"","RW":true,"Propagation":""}"#
    );
}

#[test]
fn an_inspect_has_dockers_keys_in_dockers_order() {
    let state = State {
        status: "created".into(),
        started_at: crate::ZERO_TIME.into(),
        finished_at: crate::ZERO_TIME.into(),
        ..State::default()
    };
    assert_eq!(
        json(&state),
        concat!(
            r#"{"Status":"created","Running":false,"Paused":false,"Restarting":false,"#,
            r#""OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":0,"Error":"","#,
            r#""StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}"#
        )
    );
    let text = json(&Inspect::default());
    let mut last = 0;
    for key in [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "RestartCount",
        "Driver",
        "Platform",
        "MountLabel",
        "ProcessLabel",
        "AppArmorProfile",
        "ExecIDs",
        "HostConfig",
        "GraphDriver",
        "Mounts",
        "NetworkSettings",
    ] {
        let at = text
            .find(&format!("\"{key}\":"))
            .unwrap_or_else(|| panic!("{key}"));
        assert!(at >= last, "{key}");
        last = at;
    }
}
