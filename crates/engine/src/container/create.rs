//! Creating: the request is judged and joined with its image, recorded, and given a file system and a folder.

use std::fs;
use std::path::PathBuf;

use gantry_api_types::StrSlice;
use gantry_api_types::container::{Config, CreateRequest, CreateResponse, HostConfig};
use gantry_errdefs::{Error, Kind};
use gantry_supervisor_core::Labels;

use crate::db::Refused;
use crate::image::ResolvedImage;
use crate::{Engine, Result, fail, names, record, spec};

use super::Container;

/// How often a random name may be taken.
const ATTEMPTS: u32 = 12;

impl Engine {
    /// Makes a container. When it fails nothing stays.
    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        mut request: CreateRequest,
    ) -> Result<CreateResponse> {
        if request.config.image.is_empty() {
            return Err(Error::invalid("no command specified"));
        }
        let wanted = name.map(names::validate).transpose()?.map(str::to_owned);
        let image = self.image_resolve(&request.config.image, platform).await?;
        let warnings = judge(&mut request.host_config)?;
        let config = merge(request.config, &image)?;
        let id = names::new_id()?;
        let (command, config) = commanded(config, &image, &id, &request.host_config)?;
        let mounts = spec::plan_mounts(
            &config,
            &request.host_config,
            &self.config.data_root.join("volumes"),
        )?;
        spec::capabilities(&request.host_config)?;
        spec::security_options(&request.host_config.security_opt)?;
        self.runtime(&request.host_config.runtime)?;
        if request.host_config.runtime.is_empty() {
            request
                .host_config
                .runtime
                .clone_from(&self.config.default_runtime);
        }
        let mut record = record::Container::new(
            id.clone(),
            String::new(),
            command,
            config,
            request.host_config,
            mounts,
            &image,
        );
        self.image_ensure_unpacked(&image).await?;
        self.whole(async move |engine| {
            engine.insert(&mut record, wanted).await?;
            if let Err(error) = engine.furnish(&record).await {
                if let Err(error) = engine.unfurnish(&record).await {
                    tracing::warn!(id, "{}", error.chain());
                }
                engine.db.delete_container(&id).await?;
                return Err(error);
            }
            engine.all.insert(Container::new(record.clone()));
            engine.tell(&record, "create", &[]);
            Ok(CreateResponse { id, warnings })
        })
        .await
    }

    /// Records a container under the wanted name, or one that is free.
    async fn insert(&self, record: &mut record::Container, wanted: Option<String>) -> Result<()> {
        let seed = u64::from_str_radix(&record.id[..16], 16).unwrap_or_default();
        for attempt in 0..ATTEMPTS {
            record.name = match &wanted {
                Some(name) => name.clone(),
                None => names::random(seed.rotate_left(attempt * 7), attempt),
            };
            match self
                .db
                .insert_container(&record.id, &record.name, record.encode()?)
                .await
            {
                Ok(()) => return Ok(()),
                Err(Refused::NameTaken { by }) if wanted.is_some() => {
                    return Err(fail::name_in_use(&record.name, &by));
                }
                Err(Refused::NameTaken { .. }) => {}
                Err(Refused::Failed(error)) => return Err(error),
            }
        }
        Err(Error::internal("found no free name: give one with --name"))
    }

    /// The container's folder.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.config.data_root.join("containers").join(id)
    }

    /// The container's log.
    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.folder(id).join(format!("{id}-json.log"))
    }

    /// Makes the file system and the folder of a recorded container.
    async fn furnish(&self, record: &record::Container) -> Result<()> {
        let folder = self.folder(&record.id);
        fs::create_dir_all(&folder).map_err(|error| fail::on_path("make", &folder, error))?;
        for point in record.mounts.iter().filter(|point| point.r#type == "volume") {
            fs::create_dir_all(&point.source)
                .map_err(|error| fail::on_path("make", point.source.as_ref(), error))?;
        }
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| fail::on_path("write", &path, error))
        };
        write("hostname", format!("{}\n", record.config.hostname))?;
        write("hosts", hosts(record))?;
        write("resolv.conf", resolv_conf(record, &self.config.dns))?;
        // Last: a container that has it is whole.
        let snapshots = &self.services.snapshots;
        snapshots
            .prepare("", &record.id, &record.chain_id, Labels::new())
            .await
            .map_err(fail::flat)
            .map(drop)
    }

    /// Takes away what [`Engine::furnish`] made. Everything is tried.
    pub(crate) async fn unfurnish(&self, record: &record::Container) -> Result<()> {
        let snapshot = fail::gone(self.services.snapshots.remove("", &record.id).await);
        let folder = self.folder(&record.id);
        let files = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(fail::on_path("remove", &folder, error))
            }
            _ => Ok(()),
        };
        snapshot.map_err(fail::flat).and(files)
    }

    /// The OCI runtime of a name.
    pub(crate) fn runtime(&self, name: &str) -> Result<Option<PathBuf>> {
        let name = if name.is_empty() {
            &self.config.default_runtime
        } else {
            name
        };
        match self.config.runtimes.get(name) {
            Some(path) => Ok(Some(path.clone())),
            None if name == crate::GANTRY_RUNTIME_NAME => Ok(None),
            None => Err(Error::invalid(format!("unknown or invalid runtime name: {name}"))),
        }
    }
}

/// Refuses what cannot be, fills in what was left open, and says what has no effect.
fn judge(host: &mut HostConfig) -> Result<Vec<String>> {
    if host.network_mode.is_empty() || host.network_mode == "default" {
        host.network_mode = "default".to_owned();
    }
    match host.network_mode.as_str() {
        "default" | "none" | "host" => {}
        mode if mode.starts_with("container:") => {}
        mode => {
            return Err(Error::new(
                Kind::NotImplemented,
                format!("network {mode} is not implemented by this engine yet: use --network none or host"),
            ));
        }
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return Err(Error::not_implemented(
            "publishing ports is not implemented by this engine yet: use --network host",
        ));
    }
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".to_owned();
    }
    judge_restart(host)?;
    judge_limits(host)?;
    settle(host);
    if host.log_config.r#type.is_empty() {
        host.log_config.r#type = "json-file".to_owned();
    }
    if !matches!(host.log_config.r#type.as_str(), "json-file" | "none") {
        return Err(Error::invalid(format!(
            "logger: no log driver named '{}' is registered: json-file and none are",
            host.log_config.r#type
        )));
    }
    for limit in &host.ulimits {
        if limit.hard >= 0 && limit.soft > limit.hard {
            return Err(Error::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            )));
        }
    }
    Ok(Vec::new())
}

/// Writes Docker's defaults where nothing was said, so that `inspect` tells what holds.
fn settle(host: &mut HostConfig) {
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    host.memory_swappiness = host.memory_swappiness.filter(|swappiness| *swappiness != -1);
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
    if host.cgroupns_mode.is_empty() {
        host.cgroupns_mode = if unified() { "private" } else { "host" }.to_owned();
    }
    if !host.privileged {
        let default = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        let (masked, read_only) = match host
            .security_opt
            .iter()
            .any(|option| option == "systempaths=unconfined")
        {
            true => (Some(Vec::new()), Some(Vec::new())),
            false => (default(spec::MASKED), default(spec::READ_ONLY)),
        };
        host.masked_paths = host.masked_paths.take().or(masked);
        host.readonly_paths = host.readonly_paths.take().or(read_only);
    }
}

/// Whether the host has cgroups of version 2 alone.
pub(crate) fn unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Refuses a restart policy that is none.
pub(super) fn judge_restart(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    let refused = |why: String| Err(Error::invalid(format!("invalid restart policy: {why}")));
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if policy.maximum_retry_count > 0 => {
            refused("maximum retry count can only be used with 'on-failure'".to_owned())
        }
        "on-failure" if policy.maximum_retry_count < 0 => {
            refused("maximum retry count cannot be negative".to_owned())
        }
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        other => refused(format!(
            "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

/// Refuses limits that no container can have.
pub(super) fn judge_limits(host: &HostConfig) -> Result<()> {
    let refused = |why: &str| Err(Error::invalid(why));
    if host.memory != 0 && host.memory < 6 << 20 {
        return refused("Minimum memory limit allowed is 6MB");
    }
    if host.memory_swap > 0 && host.memory == 0 {
        return refused("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return refused("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory_reservation != 0 && host.memory_reservation < 6 << 20 {
        return refused("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return refused("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return Err(Error::invalid(format!(
            "invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refused("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refused("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    if host.nano_cpus < 0 || host.nano_cpus > cpus * 1_000_000_000 {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return refused(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1_000 {
        return refused("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refused("Range of blkio weight is from 10 to 1000");
    }
    Ok(())
}

/// The request's configuration with the image's where it says nothing.
fn merge(mut config: Config, image: &ResolvedImage) -> Result<Config> {
    let from = &image.config.config;
    if config.user.is_empty() {
        config.user.clone_from(&from.user);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&from.working_dir);
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&from.stop_signal);
    }
    let names: Vec<String> = config
        .env
        .iter()
        .map(|pair| pair.split('=').next().unwrap_or_default().to_owned())
        .collect();
    let inherited = from
        .env
        .iter()
        .filter(|pair| !names.iter().any(|name| pair.split('=').next() == Some(name)));
    config.env = config.env.iter().chain(inherited).cloned().collect();
    for (key, value) in &from.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for place in from.volumes.keys() {
        config
            .volumes
            .entry(place.clone())
            .or_insert(Some(gantry_api_types::Empty {}));
    }
    for port in from.exposed_ports.keys() {
        config
            .exposed_ports
            .entry(port.clone())
            .or_insert(Some(gantry_api_types::Empty {}));
    }
    // The request's entrypoint takes the image's command away too.
    let own_entrypoint = config
        .entrypoint
        .as_deref()
        .is_some_and(|words| !words.is_empty() && words[0] != "");
    let cleared = config
        .entrypoint
        .as_deref()
        .is_some_and(|words| words.len() == 1 && words[0].is_empty());
    if !own_entrypoint && !cleared {
        config.entrypoint = from.entrypoint.clone().map(StrSlice);
        if config.cmd.as_deref().is_none_or(Vec::is_empty) {
            config.cmd = from.cmd.clone().map(StrSlice);
        }
    }
    if cleared {
        config.entrypoint = None;
        if config.cmd.as_deref().is_none_or(Vec::is_empty) {
            config.cmd = from.cmd.clone().map(StrSlice);
        }
    }
    Ok(config)
}

/// The command, and the configuration with its host name.
fn commanded(
    mut config: Config,
    image: &ResolvedImage,
    id: &str,
    host: &HostConfig,
) -> Result<(Vec<String>, Config)> {
    let words = |words: &Option<StrSlice>| words.as_deref().cloned().unwrap_or_default();
    let mut command = words(&config.entrypoint);
    command.extend(words(&config.cmd));
    if command.is_empty() || command[0].is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    let _ = image;
    if host.uts_mode == "host" || (host.network_mode == "host" && config.hostname.is_empty()) {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        own.trim().clone_into(&mut config.hostname);
    }
    if config.hostname.is_empty() {
        id[..12].clone_into(&mut config.hostname);
    }
    Ok((command, config))
}

fn hosts(record: &record::Container) -> String {
    if record.host.network_mode == "host"
        && let Ok(text) = fs::read_to_string("/etc/hosts")
    {
        return text;
    }
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
        .to_owned();
    for pair in &record.host.extra_hosts {
        if let Some((name, address)) = pair.split_once(':') {
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    text
}

fn resolv_conf(record: &record::Container, default: &[String]) -> String {
    let host = &record.host;
    let servers = if host.dns.is_empty() { default } else { &host.dns };
    if servers.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty() {
        return fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    if !host.dns_search.is_empty() {
        text.push_str(&format!("search {}\n", host.dns_search.join(" ")));
    }
    if !host.dns_options.is_empty() {
        text.push_str(&format!("options {}\n", host.dns_options.join(" ")));
    }
    text
}
