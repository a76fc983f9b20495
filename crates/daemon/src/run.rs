//! The daemon's life: roots, pid file, supervisor, engine, sockets, and the wait for its end. Containers outlive it.

use std::fs::DirBuilder;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use gantry_engine::{Config, Engine, GANTRY_RUNTIME_NAME};

use crate::args::Args;
use crate::foreign;
use crate::listener::{Gid, ListenError, Listener};
use crate::pidfile::{PidFile, PidFileError};
use crate::server;
use crate::supervisor::{Launch, SupervisorError};

/// The namespace of the supervisor that holds Docker's containers, as dockerd's.
pub(crate) const NAMESPACE: &str = "moby";

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A root.
    #[error("failed to make the directory {path:?}")]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Flags that do not fit together.
    #[error("{0}")]
    Flags(String),
    /// The pid file.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The supervisor.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The engine.
    #[error("failed to open the engine")]
    Engine(#[source] gantry_errdefs::Error),
}

/// Runs until `shutdown` ends.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    for flag in args.without_effect() {
        tracing::warn!("{flag} has no effect on this daemon");
    }
    let data = absolute(&args.data_root)?;
    let exec = absolute(&args.exec_root)?;
    let pidfile = args.pidfile.clone().unwrap_or_else(|| exec.join("gantryd.pid"));
    let hosts = match args.hosts.is_empty() {
        true => vec![format!("unix://{}", exec.join("gantryd.sock").display())],
        false => args.hosts.clone(),
    };
    let group = args.group.as_deref().map(Gid::lookup).transpose()?;
    let (supervisor, launch) = match &args.containerd {
        Some(socket) => (socket.clone(), None),
        None => {
            let launch = Launch {
                root: data.clone(),
                state: exec.clone(),
                debug: args.debug,
            };
            (launch.socket(), Some(launch))
        }
    };
    let config = config(&args, &data, &exec, &supervisor)?;
    make_root(&data, 0o710)?;
    make_root(&exec, 0o711)?;

    let _pidfile = PidFile::take(&pidfile)?;
    // Bound before anything is started, so that a wrong address changes nothing; answered once the engine is open.
    let mut listeners = Vec::new();
    for host in &hosts {
        listeners.push(Listener::bind(host, group).await?);
    }
    let watch: Pin<Box<dyn Future<Output = ()> + Send>> = match launch {
        Some(launch) => Box::pin(launch.ensure().await?),
        None => Box::pin(std::future::pending()),
    };
    let watch = tokio::spawn(watch);
    let opened = async {
        let supervisor = match &config.foreign {
            Some(_) => foreign::connect(&supervisor, &config.data_root).await?,
            None => gantry_supervisor_api::client::connect(&supervisor)?,
        };
        Engine::open(config, supervisor.namespace(NAMESPACE)?).await
    };
    let engine = opened.await.map_err(RunError::Engine)?;
    for listener in &listeners {
        tracing::info!("API listen on {}", listener.describe());
    }
    server::serve(engine, listeners, shutdown).await;
    watch.abort();
    Ok(())
}

fn config(args: &Args, data: &Path, exec: &Path, supervisor: &Path) -> Result<Config, RunError> {
    let mut config = Config::new(data, exec);
    args.cgroup_parent.clone_into(&mut config.cgroup_parent);
    config.runtimes = args.add_runtime.iter().cloned().collect();
    if let Some(name) = &args.default_runtime {
        if name != GANTRY_RUNTIME_NAME && !config.runtimes.contains_key(name) {
            return Err(RunError::Flags(format!(
                "specified default runtime {name:?} does not exist: register it with --add-runtime {name}=PATH"
            )));
        }
        name.clone_into(&mut config.default_runtime);
    }
    args.insecure_registry.clone_into(&mut config.insecure_registries);
    args.dns.clone_into(&mut config.dns);
    args.label.clone_into(&mut config.labels);
    config.debug = args.debug;
    config.supervisor_address = supervisor.display().to_string();
    if args.containerd.is_some() {
        config.foreign = foreign::described(exec);
    }
    Ok(config)
}

fn absolute(path: &Path) -> Result<PathBuf, RunError> {
    std::path::absolute(path).map_err(|source| RunError::Root {
        path: path.to_owned(),
        source,
    })
}

fn make_root(path: &Path, mode: u32) -> Result<(), RunError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| RunError::Root {
            path: path.to_owned(),
            source,
        })
}
