//! What commands share: the engine, the user's configuration, the environment. It must not know any
//! command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gantry_client::{Client, Connection};
use gantry_opts::detach;
use serde::Deserialize;

use crate::args::Global;
use crate::failure::{Failure, Outcome};

/// Where `gantryd` listens unless it is told otherwise.
const DEFAULT_HOST: &str = "unix:///run/gantry/gantryd.sock";

/// What commands share.
pub(crate) struct Context {
    /// The engine.
    pub(crate) client: Arc<Client>,
    config_dir: Option<String>,
}

/// The user's configuration: Docker's `config.json`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Config {
    /// Keys that detach.
    pub(crate) detach_keys: String,
    /// The format of `ps`.
    pub(crate) ps_format: String,
    /// The format of `images`.
    pub(crate) images_format: String,
    /// The format of `stats`.
    pub(crate) stats_format: String,
    #[serde(flatten)]
    _rest: BTreeMap<String, serde_json::Value>,
}

impl Context {
    /// From the flags before the command and the environment.
    pub(crate) fn new(global: &Global) -> Outcome<Context> {
        if global.host.len() > 1 {
            return Err(Failure::new("Specify only one -H"));
        }
        let from_environment = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        if let Some(context) = global.context.as_deref().filter(|name| *name != "default") {
            return Err(Failure::new(format!(
                "context {context:?}: context not found: use -H or DOCKER_HOST to name an engine"
            )));
        }
        let host = match global.host.first() {
            Some(host) => host.clone(),
            None => from_environment().unwrap_or_else(|| DEFAULT_HOST.to_owned()),
        };
        let mut connection = Connection::to(&host)?;
        if let Some(version) = std::env::var("DOCKER_API_VERSION").ok().filter(|v| !v.is_empty()) {
            let parsed = version.trim_start_matches('v').parse();
            connection.version =
                Some(parsed.map_err(|_| Failure::new(format!("invalid API version: {version}")))?);
        }
        Ok(Context {
            client: Arc::new(Client::new(connection)),
            config_dir: global.config.clone(),
        })
    }

    /// The user's configuration, read when it is first needed; an unreadable one is said and ignored.
    pub(crate) fn config(&self) -> Config {
        let Some(path) = self.config_path() else {
            return Config::default();
        };
        let Ok(text) = std::fs::read(&path) else {
            return Config::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            crate::console::error_line(&format!(
                "WARNING: Error parsing config file ({}): {error}",
                path.display()
            ));
            Config::default()
        })
    }

    fn config_path(&self) -> Option<PathBuf> {
        let named = self
            .config_dir
            .clone()
            .or_else(|| std::env::var("DOCKER_CONFIG").ok());
        let dir = match named {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
        };
        Some(dir.join("config.json"))
    }

    /// The keys that detach: of a flag, of the configuration, or Docker's.
    pub(crate) fn detach_keys(&self, flag: Option<&str>) -> Outcome<Vec<u8>> {
        let configured;
        let text = match flag {
            Some(keys) => keys,
            None => {
                configured = self.config().detach_keys;
                configured.as_str()
            }
        };
        let text = if text.is_empty() { detach::DEFAULT } else { text };
        detach::parse(text).map_err(|error| Failure::new(format!("invalid detach keys ({text}): {error}")))
    }
}
