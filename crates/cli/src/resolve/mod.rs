//! What the flags of `run` and `create` ask an engine for. Pure: the environment, files and the current
//! folder come in as functions.

mod health;
mod mounts;
mod network;
mod security;

use std::collections::BTreeMap;
use std::io;

use gantry_api_types::Map;
use gantry_api_types::container::{
    Config, CreateRequest, DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
use gantry_opts as opts;

use crate::args::create::{Container, Create};

/// What is outside of the flags.
pub(crate) struct Inputs<'a> {
    /// A variable of the environment.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a file.
    pub(crate) read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// A path made absolute.
    pub(crate) absolute: &'a dyn Fn(&str) -> String,
}

impl Inputs<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        (self.read)(path).map_err(|error| format!("open {path}: {}", os_reason(&error)))
    }

    /// Variables of files, then those of flags.
    pub(crate) fn variables(&self, files: &[String], flags: &[String]) -> Result<Vec<String>, String> {
        let mut out = self.lines(files, self.env)?;
        out.extend(flags.iter().map(|flag| opts::env::complete(flag, self.env)));
        Ok(out)
    }

    fn lines(
        &self,
        files: &[String],
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        for file in files {
            let content = self.read(file)?;
            out.extend(opts::env::file(file, &content, lookup).map_err(|error| error.to_string())?);
        }
        Ok(out)
    }
}

/// An operating system's reason as Go says it.
pub(crate) fn os_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// What an engine is to create.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The request.
    pub(crate) request: CreateRequest,
    /// `always`, `missing` or `never`.
    pub(crate) pull: Pull,
}

/// When an image is pulled before a container is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    Always,
    Missing,
    Never,
}

/// What the flags ask for; a text is what Docker says of flags that do not go together.
pub(crate) fn create(args: &Create, inputs: &Inputs<'_>) -> Result<Resolved, String> {
    let pull = match args.pull.as_str() {
        "always" => Pull::Always,
        "missing" | "" => Pull::Missing,
        "never" => Pull::Never,
        other => {
            return Err(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ));
        }
    };
    let flags = &args.container;
    let (image, command) = args.image_and_command.split_first().ok_or("no image")?;
    let mut config = config(flags, inputs)?;
    config.image.clone_from(image);
    config.cmd = (!command.is_empty()).then(|| command.to_vec().into());
    let mut host_config = host_config(flags, inputs)?;
    mounts::apply(flags, inputs, &mut config, &mut host_config)?;
    let networking_config = network::apply(flags, &mut config, &mut host_config)?;
    if host_config.auto_remove && !matches!(host_config.restart_policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    let request = CreateRequest {
        config,
        host_config,
        networking_config,
    };
    Ok(Resolved { request, pull })
}

fn config(flags: &Container, inputs: &Inputs<'_>) -> Result<Config, String> {
    let attached = |stream: &str| flags.attach.iter().any(|a| a == stream);
    let default = flags.attach.is_empty();
    let mut config = Config {
        hostname: flags.hostname.clone(),
        domainname: flags.domainname.clone(),
        user: flags.user.clone(),
        attach_stdin: attached("stdin") || (default && flags.interactive),
        attach_stdout: attached("stdout") || default,
        attach_stderr: attached("stderr") || default,
        tty: flags.tty,
        open_stdin: flags.interactive,
        env: inputs.variables(&flags.env_file, &flags.env)?,
        working_dir: flags.workdir.clone(),
        entrypoint: flags.entrypoint.clone().map(|e| vec![e].into()),
        labels: pairs(
            inputs
                .lines(&flags.label_file, &|_| None)?
                .iter()
                .chain(&flags.label),
        ),
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: flags.stop_timeout,
        healthcheck: health::check(flags)?,
        ..Config::default()
    };
    // With `-i` standard input is attached whatever else is.
    config.attach_stdin |= flags.interactive;
    // A client that leaves closes the standard input that it alone fed.
    config.stdin_once = config.open_stdin && config.attach_stdin;
    Ok(config)
}

fn host_config(flags: &Container, inputs: &Inputs<'_>) -> Result<HostConfig, String> {
    if flags.memory_swappiness != -1 && !(0..=100).contains(&flags.memory_swappiness) {
        return Err(format!(
            "invalid value: {}. Valid memory swappiness range is 0-100",
            flags.memory_swappiness
        ));
    }
    for (name, mode, valid) in [
        (
            "--pid",
            &flags.pid,
            matches!(&*flags.pid, "" | "host") || is_container(&flags.pid),
        ),
        ("--uts", &flags.uts, matches!(&*flags.uts, "" | "host")),
        ("--userns", &flags.userns, matches!(&*flags.userns, "" | "host")),
        (
            "--cgroupns",
            &flags.cgroupns,
            matches!(&*flags.cgroupns, "" | "host" | "private"),
        ),
    ] {
        if !valid {
            let what = match name {
                "--pid" => "PID",
                "--uts" => "UTS",
                "--userns" => "USER",
                _ => "CGROUP",
            };
            debug_assert!(!mode.is_empty());
            return Err(format!("{name}: invalid {what} mode"));
        }
    }
    let restart = opts::restart::parse(&flags.restart).map_err(|error| error.to_string())?;
    let security = security::options(&flags.security_opt, inputs)?;
    let (devices, cdi) = devices(&flags.device)?;
    let mut requests = gpus(&flags.gpus)?;
    requests.extend(cdi);
    let caps = |list: &[String]| {
        let list = opts::cap::normalize_all(list.iter().map(String::as_str));
        (!list.is_empty()).then(|| list.into())
    };
    Ok(HostConfig {
        container_id_file: flags.cidfile.clone(),
        log_config: log_config(flags)?,
        restart_policy: RestartPolicy {
            name: restart.name,
            maximum_retry_count: restart.retries,
        },
        auto_remove: flags.rm,
        volume_driver: flags.volume_driver.clone(),
        volumes_from: flags.volumes_from.clone(),
        annotations: pairs(&flags.annotation),
        cap_add: caps(&flags.cap_add),
        cap_drop: caps(&flags.cap_drop),
        cgroupns_mode: flags.cgroupns.clone(),
        dns: flags.dns.clone(),
        dns_options: flags.dns_option.clone(),
        dns_search: flags.dns_search.clone(),
        extra_hosts: flags.add_host.clone(),
        group_add: flags.group_add.clone(),
        ipc_mode: flags.ipc.clone(),
        oom_score_adj: flags.oom_score_adj,
        pid_mode: flags.pid.clone(),
        privileged: flags.privileged,
        publish_all_ports: flags.publish_all,
        readonly_rootfs: flags.read_only,
        security_opt: security.options,
        masked_paths: security.masked_paths,
        readonly_paths: security.readonly_paths,
        storage_opt: storage(&flags.storage_opt)?,
        uts_mode: flags.uts.clone(),
        userns_mode: flags.userns.clone(),
        shm_size: flags.shm_size,
        sysctls: flags.sysctl.iter().cloned().collect(),
        runtime: flags.runtime.clone(),
        isolation: flags.isolation.clone(),
        cpu_shares: flags.cpu_shares,
        memory: flags.memory,
        nano_cpus: flags.cpus,
        cgroup_parent: flags.cgroup_parent.clone(),
        blkio_weight: flags.blkio_weight,
        blkio_weight_device: flags
            .blkio_weight_device
            .iter()
            .map(|(path, weight)| WeightDevice {
                path: path.clone(),
                weight: *weight,
            })
            .collect(),
        blkio_device_read_bps: throttles(&flags.device_read_bps),
        blkio_device_write_bps: throttles(&flags.device_write_bps),
        blkio_device_read_iops: throttles(&flags.device_read_iops),
        blkio_device_write_iops: throttles(&flags.device_write_iops),
        cpu_period: flags.cpu_period,
        cpu_quota: flags.cpu_quota,
        cpu_realtime_period: flags.cpu_rt_period,
        cpu_realtime_runtime: flags.cpu_rt_runtime,
        cpuset_cpus: flags.cpuset_cpus.clone(),
        cpuset_mems: flags.cpuset_mems.clone(),
        devices,
        device_cgroup_rules: flags.device_cgroup_rule.clone(),
        device_requests: requests,
        kernel_memory: flags.kernel_memory,
        memory_reservation: flags.memory_reservation,
        memory_swap: flags.memory_swap,
        memory_swappiness: Some(flags.memory_swappiness),
        oom_kill_disable: Some(flags.oom_kill_disable),
        pids_limit: Some(flags.pids_limit),
        ulimits: flags
            .ulimit
            .iter()
            .map(|limit| (limit.name.clone(), limit))
            // The last one of a name counts.
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .map(|limit| Ulimit {
                name: limit.name.clone(),
                hard: limit.hard,
                soft: limit.soft,
            })
            .collect(),
        init: flags.init,
        ..HostConfig::default()
    })
}

/// `name=value` pairs as a map; the last one of a name counts.
pub(crate) fn pairs<'a>(list: impl IntoIterator<Item = &'a String>) -> Map<String> {
    list.into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair.clone(), String::new()),
        })
        .collect()
}

fn is_container(mode: &str) -> bool {
    mode.strip_prefix("container:")
        .is_some_and(|name| !name.is_empty())
}

fn throttles(list: &[(String, u64)]) -> Vec<ThrottleDevice> {
    list.iter()
        .map(|(path, rate)| ThrottleDevice {
            path: path.clone(),
            rate: *rate,
        })
        .collect()
}

fn storage(list: &[String]) -> Result<Map<String>, String> {
    if list.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    Ok(pairs(list))
}

fn log_config(flags: &Container) -> Result<LogConfig, String> {
    if flags.log_driver == "none" && !flags.log_opt.is_empty() {
        return Err("invalid logging opts for driver none".to_owned());
    }
    Ok(LogConfig {
        r#type: flags.log_driver.clone(),
        config: pairs(&flags.log_opt),
    })
}

fn devices(list: &[String]) -> Result<(Vec<DeviceMapping>, Option<DeviceRequest>), String> {
    let (cdi, plain): (Vec<&String>, Vec<&String>) = list.iter().partition(|d| opts::device::is_cdi(d));
    let mut devices = Vec::new();
    for text in plain {
        let device = opts::device::parse(text).map_err(|error| error.to_string())?;
        devices.push(DeviceMapping {
            path_on_host: device.host,
            path_in_container: device.container,
            cgroup_permissions: device.permissions,
        });
    }
    let request = (!cdi.is_empty()).then(|| DeviceRequest {
        driver: "cdi".to_owned(),
        device_ids: cdi.into_iter().cloned().collect(),
        ..DeviceRequest::default()
    });
    Ok((devices, request))
}

fn gpus(list: &[String]) -> Result<Vec<DeviceRequest>, String> {
    list.iter().map(|text| gpu(text)).collect()
}

fn gpu(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest {
        capabilities: vec![vec!["gpu".to_owned()]],
        ..DeviceRequest::default()
    };
    let mut counted = false;
    let fields = opts::csv::fields(text).map_err(|error| error.to_string())?;
    for field in &fields {
        let (key, value) = field.split_once('=').unwrap_or(("count", field));
        match key {
            "count" => {
                counted = true;
                request.count = match value {
                    "all" => -1,
                    n => n.parse().map_err(|_| {
                        format!("invalid count ({n}): value must be either \"all\" or an integer")
                    })?,
                };
            }
            "driver" => value.clone_into(&mut request.driver),
            "device" => request.device_ids = value.split(',').map(str::to_owned).collect(),
            "capabilities" => request.capabilities[0].extend(value.split(',').map(str::to_owned)),
            "options" => {
                let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
                request.options = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !counted && request.device_ids.is_empty() {
        request.count = 1;
    }
    Ok(request)
}
