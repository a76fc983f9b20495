//! A supervisor behind a unix socket: ours or a real containerd. Connects when first used and again whenever the
//! connection was lost; while nobody listens every call answers `Unavailable`.

mod content;
mod events;
mod leases;
mod snapshots;
mod stores;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_supervisor_core::lease::Leases;
use gantry_supervisor_core::{Error, Labels, Result, Services, Supervisor, Version, validate_identifier};
use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::convert::{from_status, required, to_mask};
use crate::proto::containerd::services::namespaces::v1 as api;
use crate::proto::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use crate::proto::containerd::services::version::v1::version_client::VersionClient;
use crate::socket;

/// The largest message either side takes, as containerd's.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// The supervisor that listens, or will listen, on a unix socket. Must be called within a tokio runtime. Fails only for
/// what no socket can be at.
pub fn connect(path: impl AsRef<Path>) -> Result<Arc<dyn Supervisor>> {
    connect_with(path, Options::default())
}

/// What is asked of a supervisor beside its socket.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A lease that everything written is put under, so that no collector of garbage takes it.
    pub lease: Option<String>,
    /// Where links to attach sockets are, as `FOLDER/CONTAINER/NAME`: a supervisor that is not ours knows of none.
    pub attach: Option<(PathBuf, &'static str)>,
}

/// As [`connect`], with options.
pub fn connect_with(path: impl AsRef<Path>, options: Options) -> Result<Arc<dyn Supervisor>> {
    let path = path.as_ref().to_owned();
    if path.file_name().is_none() {
        return Err(Error::invalid(format!(
            "{} is no path of a socket",
            path.display()
        )));
    }
    // The address is never resolved: the connector below knows the only one.
    let endpoint = Endpoint::from_static("http://localhost")
        .connect_timeout(Duration::from_secs(10))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20));
    let connector = tower::service_fn(move |_: Uri| {
        let path: PathBuf = path.clone();
        async move { socket::connect(&path).map(TokioIo::new) }
    });
    let lease = options.lease.as_deref().map(|lease| header("lease", lease));
    Ok(Arc::new(Remote {
        channel: endpoint.connect_with_connector_lazy(connector),
        lease: lease.transpose()?,
        attach: options.attach.map(Arc::new),
    }))
}

type Header = MetadataValue<tonic::metadata::Ascii>;

fn header(what: &str, value: &str) -> Result<Header> {
    MetadataValue::try_from(value)
        .map_err(|source| Error::invalid(format!("{what} {value:?} is no header")).with_source(source))
}

struct Remote {
    channel: Channel,
    lease: Option<Header>,
    attach: Option<Arc<(PathBuf, &'static str)>>,
}

/// The connection, bound to one namespace.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) channel: Channel,
    pub(crate) namespace: Header,
    lease: Option<Header>,
    pub(crate) attach: Option<Arc<(PathBuf, &'static str)>>,
}

impl Bound {
    /// A request that carries the namespace.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        request
    }
}

/// One call on a client made from a [`Bound`]: `call!(self, TasksClient, start(message))`.
macro_rules! call {
    ($bound:expr, $client:ident, $method:ident($message:expr)) => {
        $client::new($bound.channel.clone())
            .max_decoding_message_size($crate::client::MAX_MESSAGE)
            .max_encoding_message_size($crate::client::MAX_MESSAGE)
            .$method($bound.request($message))
            .await
            .map(tonic::Response::into_inner)
            .map_err($crate::convert::from_status)
    };
}
pub(crate) use call;

impl Remote {
    fn bound(&self, namespace: &str) -> Result<Bound> {
        validate_identifier(namespace)?;
        Ok(Bound {
            channel: self.channel.clone(),
            namespace: header("namespace", namespace)?,
            lease: self.lease.clone(),
            attach: self.attach.clone(),
        })
    }

    /// A request about a namespace. containerd tells of what changes in that which the request carries, and refuses one
    /// that carries none.
    fn about<T>(&self, namespace: &str, message: T) -> Result<Request<T>> {
        Ok(self.bound(namespace)?.request(message))
    }
}

#[async_trait]
impl Supervisor for Remote {
    fn namespace(&self, name: &str) -> Result<Services> {
        let bound = Arc::new(self.bound(name)?);
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
        let mut client = NamespacesClient::new(self.channel.clone());
        let answer = client
            .list(api::ListNamespacesRequest::default())
            .await
            .map_err(from_status)?
            .into_inner();
        Ok(answer
            .namespaces
            .into_iter()
            .map(|n| (n.name, n.labels))
            .collect())
    }

    async fn create_namespace(&self, name: &str, labels: Labels) -> Result<()> {
        let namespace = Some(api::Namespace {
            name: name.to_owned(),
            labels,
        });
        let mut client = NamespacesClient::new(self.channel.clone());
        client
            .create(self.about(name, api::CreateNamespaceRequest { namespace })?)
            .await
            .map(drop)
            .map_err(from_status)
    }

    async fn update_namespace(&self, name: &str, labels: Labels, replace: bool) -> Result<Labels> {
        let paths: Vec<String> = match replace {
            true => Vec::new(),
            false => labels.keys().map(|key| format!("labels.{key}")).collect(),
        };
        let mut client = NamespacesClient::new(self.channel.clone());
        if replace || !paths.is_empty() {
            let request = api::UpdateNamespaceRequest {
                namespace: Some(api::Namespace {
                    name: name.to_owned(),
                    labels,
                }),
                update_mask: to_mask(&paths),
            };
            client
                .update(self.about(name, request)?)
                .await
                .map_err(from_status)?;
        }
        // containerd's answer to the update is empty.
        let request = api::GetNamespaceRequest {
            name: name.to_owned(),
        };
        let answer = client
            .get(self.about(name, request)?)
            .await
            .map_err(from_status)?
            .into_inner();
        Ok(required(answer.namespace, "namespace")?.labels)
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        let mut client = NamespacesClient::new(self.channel.clone());
        let request = api::DeleteNamespaceRequest {
            name: name.to_owned(),
        };
        client
            .delete(self.about(name, request)?)
            .await
            .map(drop)
            .map_err(from_status)
    }

    async fn version(&self) -> Result<Version> {
        let mut client = VersionClient::new(self.channel.clone());
        let answer = client.version(()).await.map_err(from_status)?.into_inner();
        Ok(Version {
            version: answer.version,
            revision: answer.revision,
        })
    }

    fn leases(&self, namespace: &str) -> Result<Arc<dyn Leases>> {
        Ok(Arc::new(self.bound(namespace)?))
    }
}
