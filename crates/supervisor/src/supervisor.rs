//! The supervisor as a value: its roots and stores joined, and the handles that are bound to one namespace.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gantry_content::Store;
use gantry_snapshots::{Overlay, Snapshotter};
use gantry_supervisor_core::lease::Leases;
use gantry_supervisor_core::{Any, Error, Labels, Result, Services, Version, validate_identifier};

use crate::events::Exchange;
use crate::metadata::db::Db;
use crate::metadata::namespaces;
use crate::tasks::Tasks;
use crate::tasks::shim::{Environment, Inputs};

/// How a supervisor is set up. Everything comes from outside: it takes no signal and no variable of the environment.
#[derive(Clone, Debug)]
pub struct Config {
    root: PathBuf,
    state: PathBuf,
    address: PathBuf,
    publisher: PathBuf,
}

impl Config {
    /// A supervisor that keeps what lasts below `root` and what a boot ends below `state`.
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self {
            root: root.into(),
            address: state.join("supervisor.sock"),
            publisher: "/bin/true".into(),
            state,
        }
    }

    /// The gRPC address that shims are told. Their events go to this path with `.ttrpc`.
    #[must_use]
    pub fn address(mut self, address: impl Into<PathBuf>) -> Self {
        self.address = address.into();
        self
    }

    /// The program that a shim without ttrpc would publish its events with.
    #[must_use]
    pub fn publisher(mut self, program: impl Into<PathBuf>) -> Self {
        self.publisher = program.into();
        self
    }

    /// The path of the events socket.
    pub fn events_address(&self) -> PathBuf {
        let mut path = self.address.clone().into_os_string();
        path.push(".ttrpc");
        path.into()
    }

    /// Opens the stores, finds the living shims again and finishes what was under way. Must be called within tokio.
    pub async fn open(self) -> Result<Arc<Supervisor>> {
        let make = |path: &Path, mode: u32| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .map_err(|error| Error::from(error).context(format!("failed to make {}", path.display())))
        };
        make(&self.root, 0o711)?;
        make(&self.state, 0o711)?;
        let snapshots = self.root.join("snapshots");
        make(&snapshots, 0o711)?;
        let db = Db::open(&self.root.join("supervisor.db")).map_err(|error| {
            let message = gantry_errdefs::chain(&error);
            Error::failed_precondition(message)
        })?;
        let content = Store::open(self.root.join("content")).map_err(Error::from)?;
        let overlay = Overlay::open(snapshots.join("overlayfs")).map_err(Error::from)?;
        overlay.cleanup().map_err(Error::from)?;
        let events = Arc::new(Exchange::default());
        let environment = Environment {
            sockets: self.state.join("s"),
            runtime_root: self.state.join("runtime"),
            address: self.address.clone(),
            publisher: self.publisher.clone(),
            inputs: Inputs::default(),
        };
        let tasks = Tasks::new(self.state.clone(), environment, events.clone());
        let shared = Arc::new(Shared {
            db,
            content: Arc::new(content),
            content_gate: tokio::sync::RwLock::new(()),
            overlay: Arc::new(overlay),
            events,
            tasks: Arc::new(tasks),
        });
        let supervisor = Arc::new(Supervisor {
            shared: shared.clone(),
            events_address: self.events_address(),
        });
        // A disk that cannot be tidied is no reason not to serve.
        if let Err(error) = crate::content::sweep(&shared).await {
            tracing::warn!("{}", error.chain());
        }
        // Before shims are connected to: they have events that waited for somebody to hear them.
        supervisor.serve_events()?;
        shared.tasks.recover(&shared.db).await;
        Ok(supervisor)
    }
}

/// The supervisor of one pair of roots. Dropping it ends nothing: shims and containers live on.
pub struct Supervisor {
    shared: Arc<Shared>,
    events_address: PathBuf,
}

/// All stores.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) content: Arc<Store>,
    /// Held together by those who make a blob a namespace's, alone by who takes one away.
    pub(crate) content_gate: tokio::sync::RwLock<()>,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) events: Arc<Exchange>,
    pub(crate) tasks: Arc<Tasks>,
}

/// The stores, bound to one namespace.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) shared: Arc<Shared>,
    pub(crate) namespace: String,
}

impl Bound {
    /// Tells of something that happened in this namespace.
    pub(crate) fn tell(&self, topic: &str, event: Any) {
        self.shared.events.publish(&self.namespace, topic, event);
    }
}

impl Supervisor {
    /// Hears what shims tell.
    fn serve_events(&self) -> Result<()> {
        let path = &self.events_address;
        let _ = std::fs::remove_file(path);
        let listener = gantry_sys::socket::listen(path)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener)
            })
            .map_err(|error| Error::from(error).context(format!("failed to listen on {}", path.display())))?;
        let tasks = self.shared.tasks.clone();
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(crate::tasks::hear(tasks.clone(), stream))),
                    Err(error) => {
                        tracing::warn!("failed to accept a shim's connection: {error}");
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
            }
        });
        Ok(())
    }

    fn bound(&self, namespace: &str) -> Result<Arc<Bound>> {
        validate_identifier(namespace)?;
        Ok(Arc::new(Bound {
            shared: self.shared.clone(),
            namespace: namespace.to_owned(),
        }))
    }
}

#[async_trait]
impl gantry_supervisor_core::Supervisor for Supervisor {
    fn namespace(&self, name: &str) -> Result<Services> {
        let bound = self.bound(name)?;
        Ok(Services {
            namespace: name.to_owned(),
            content: bound.clone(),
            images: bound.clone(),
            snapshots: bound.clone(),
            diff: bound.clone(),
            containers: bound.clone(),
            tasks: bound.clone(),
            events: bound,
        })
    }

    async fn namespaces(&self) -> Result<Vec<(String, Labels)>> {
        namespaces::list(&self.shared).await
    }

    async fn create_namespace(&self, name: &str, labels: Labels) -> Result<()> {
        namespaces::create(&self.shared, name, labels).await
    }

    async fn update_namespace(&self, name: &str, labels: Labels, replace: bool) -> Result<Labels> {
        namespaces::update(&self.shared, name, labels, replace).await
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        namespaces::delete(&self.shared, name).await
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: String::new(),
        })
    }

    async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<Any> {
        crate::runtime_info::ask(runtime, options).await
    }

    fn leases(&self, namespace: &str) -> Result<Arc<dyn Leases>> {
        Ok(self.bound(namespace)?)
    }
}

/// Runs work that touches the disk on a thread for such.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Error::internal("work on the disk was cut off")),
    }
}
