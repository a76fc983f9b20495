//! The engine itself: what it is made of, how much it holds, what it tells.

use futures_util::stream::BoxStream;
use gantry_api_types::event::Message;
use gantry_api_types::system::{
    Commit, ComponentVersion, ContainerdInfo, ContainerdNamespaces, Info, Plugins, Runtime, SwarmInfo,
    Version,
};
use gantry_supervisor_core::Time;

use crate::container::state::Status;
use crate::{Engine, EventOptions, GANTRY_RUNTIME_NAME, Result, clock};

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).to_owned()
}

impl Engine {
    /// The part of `/version` that the engine knows: its components' versions. The daemon adds its own.
    pub async fn version(&self) -> Result<Version> {
        let component = |name: &str, details: &[(&str, &str)]| ComponentVersion {
            name: name.to_owned(),
            version: self.config.version.clone(),
            details: details
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let kernel = read("/proc/sys/kernel/osrelease");
        let own = [
            ("ApiVersion", gantry_api_types::API_VERSION),
            ("Arch", architecture()),
            ("BuildTime", ""),
            ("Experimental", "false"),
            ("GitCommit", ""),
            ("GoVersion", ""),
            ("KernelVersion", &kernel),
            ("MinAPIVersion", gantry_api_types::MIN_API_VERSION),
            ("Os", "linux"),
        ];
        let commit = [("GitCommit", "")];
        Ok(Version {
            components: vec![
                component("Engine", &own),
                component("gantry-supervisor", &commit),
                component("gantry-runtime", &commit),
            ],
            os: "linux".to_owned(),
            arch: architecture().to_owned(),
            kernel_version: kernel.clone(),
            ..Version::default()
        })
    }

    /// What it holds and what the host is.
    pub async fn info(&self) -> Result<Info> {
        let all = self.all.list();
        let count = |wanted: fn(Status) -> bool| {
            all.iter().filter(|c| c.read(|r| wanted(r.state.status))).count() as i64
        };
        let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let memory = read("/proc/meminfo");
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<i64>().ok());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut runtimes: gantry_api_types::Map<Runtime> = gantry_api_types::Map::new();
        runtimes.insert(
            GANTRY_RUNTIME_NAME.to_owned(),
            Runtime {
                path: "gantry-runtime".to_owned(),
                ..Runtime::default()
            },
        );
        for (name, path) in &self.config.runtimes {
            runtimes.insert(
                name.clone(),
                Runtime {
                    path: path.display().to_string(),
                    ..Runtime::default()
                },
            );
        }
        Ok(Info {
            id: self.id.clone(),
            containers: all.len() as i64,
            containers_running: count(|status| matches!(status, Status::Running | Status::Restarting)),
            containers_paused: count(|status| status == Status::Paused),
            containers_stopped: count(|status| !status.is_up()),
            images: self.image_count().await?,
            driver: "overlayfs".to_owned(),
            driver_status: vec![["driver-type".to_owned(), "io.containerd.snapshotter.v1".to_owned()]],
            plugins: Plugins {
                volume: names(&["local"]),
                network: names(&["host", "null"]),
                log: names(&["json-file", "none"]),
                ..Plugins::default()
            },
            memory_limit: true,
            swap_limit: true,
            cpu_cfs_period: true,
            cpu_cfs_quota: true,
            cpu_shares: true,
            cpu_set: true,
            pids_limit: true,
            ipv4_forwarding: read("/proc/sys/net/ipv4/ip_forward") == "1",
            debug: self.config.debug,
            oom_kill_disable: !unified,
            system_time: clock::rfc3339(Time::now()),
            logging_driver: "json-file".to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: if unified { "2" } else { "1" }.to_owned(),
            n_events_listener: self.events.listeners() as i64,
            kernel_version: read("/proc/sys/kernel/osrelease"),
            operating_system: os_name(),
            os_type: "linux".to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            ncpu: std::thread::available_parallelism().map_or(1, usize::from) as i64,
            mem_total: total.unwrap_or_default() * 1024,
            docker_root_dir: self.config.data_root.display().to_string(),
            name: read("/proc/sys/kernel/hostname"),
            labels: self.config.labels.clone(),
            server_version: self.config.version.clone(),
            runtimes,
            default_runtime: self.config.default_runtime.clone(),
            swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
            live_restore_enabled: true,
            init_binary: "docker-init".to_owned(),
            containerd_commit: Commit { id: self.config.version.clone() },
            runc_commit: Commit { id: self.config.version.clone() },
            security_options: names(&["name=seccomp,profile=builtin"]),
            containerd: Some(ContainerdInfo {
                address: self.config.supervisor_address.clone(),
                namespaces: ContainerdNamespaces {
                    containers: self.services.namespace.clone(),
                    plugins: format!("plugins.{}", self.services.namespace),
                },
            }),
            warnings: vec![
                "WARNING: no bridge network yet: a container without --network host has the loopback interface only".to_owned(),
            ],
            ..Info::default()
        })
    }

    /// What happens from now on, and a little of what has.
    pub async fn events(&self, options: EventOptions) -> Result<BoxStream<'static, Message>> {
        self.events.subscribe(&options)
    }
}
