//! Creating: the request is judged and joined with its image, recorded, and given a file system and a folder.

use std::fs;
use std::path::PathBuf;

use gantry_api_types::StrSlice;
use gantry_api_types::container::{Config, CreateRequest, CreateResponse, HostConfig};
use gantry_errdefs::Error;
use gantry_supervisor_core::Labels;

use crate::db::Refused;
use crate::image::ResolvedImage;
use crate::{Engine, Result, fail, names, record, spec};

use super::{Container, judge};

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
        let warnings = judge::request(&mut request.host_config)?;
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
        record.parent = self.image_ensure_unpacked(&image).await?;
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
    pub(super) async fn insert(&self, record: &mut record::Container, wanted: Option<String>) -> Result<()> {
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
    pub(super) async fn furnish(&self, record: &record::Container) -> Result<()> {
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
        // And until it is started nobody else knows of it: nothing but this keeps a collector of garbage away.
        let kept: Labels = [("containerd.io/gc.root".to_owned(), "true".to_owned())].into();
        let snapshots = &self.services.snapshots;
        snapshots
            .prepare("", &record.id, &record.parent, kept)
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
        .is_some_and(|words| !words.is_empty() && !words[0].is_empty());
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
