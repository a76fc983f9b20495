//! containerd's services over a [`Supervisor`]: reads the namespace from the request, translates, and calls. Decides
//! nothing itself.

mod attach;
mod content;
mod events;
mod introspection;
mod leases;
mod namespaces;
mod snapshots;
mod stores;
mod tasks;
mod trace;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use gantry_supervisor_core::{Services, Supervisor};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Status};

use crate::client::MAX_MESSAGE;
use crate::convert::to_status;
use crate::proto::containerd::services;
use crate::proto::gantry::services::attach::v1::attach_server::AttachServer;
use crate::proto::grpc::health::v1::health_server::HealthServer;
use crate::socket;

/// How long calls under way are waited for once the end was asked for. Streams of events never end by themselves.
const GRACE: Duration = Duration::from_millis(300);

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Every service, on one supervisor.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) supervisor: Arc<dyn Supervisor>,
    /// Names this run of the server.
    uuid: Arc<str>,
}

/// Binds the socket of a server, of mode 0600: one that nobody serves any more is replaced; one that is served, and what is
/// no socket, is left alone (`AddrInUse`, `AlreadyExists`). Paths may be of any length.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::io::{Error, ErrorKind};
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "there is something else than a socket",
            ));
        }
        Ok(_) => match gantry_sys::socket::connect_now(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Also one whose queue is full of those who wait.
            _ => return Err(Error::new(ErrorKind::AddrInUse, "another one serves it")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    socket::bind(path)
}

/// Serves until `shutdown` ends.
pub async fn serve(
    listener: UnixListener,
    supervisor: Arc<dyn Supervisor>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> gantry_supervisor_core::Result<()> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let api = Api {
        supervisor,
        uuid: uuid.trim().into(),
    };
    macro_rules! service {
        ($server:path) => {{
            use $server as Server;
            Server::new(api.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        }};
    }
    let (asked, ask) = tokio::sync::oneshot::channel::<()>();
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .layer(tower::layer::layer_fn(trace::Trace::new))
        .add_service(service!(services::version::v1::version_server::VersionServer))
        .add_service(service!(
            services::namespaces::v1::namespaces_server::NamespacesServer
        ))
        .add_service(service!(
            services::containers::v1::containers_server::ContainersServer
        ))
        .add_service(service!(services::images::v1::images_server::ImagesServer))
        .add_service(service!(services::content::v1::content_server::ContentServer))
        .add_service(service!(
            services::snapshots::v1::snapshots_server::SnapshotsServer
        ))
        .add_service(service!(services::diff::v1::diff_server::DiffServer))
        .add_service(service!(services::tasks::v1::tasks_server::TasksServer))
        .add_service(service!(services::events::v1::events_server::EventsServer))
        .add_service(service!(services::leases::v1::leases_server::LeasesServer))
        .add_service(service!(
            services::introspection::v1::introspection_server::IntrospectionServer
        ))
        .add_service(AttachServer::new(api.clone()))
        .add_service(HealthServer::new(api.clone()))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            shutdown.await;
            let _ = asked.send(());
        });
    let grace = async move {
        // An error: the server is gone, and with it this.
        let _ = ask.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result.map_err(|source| {
            gantry_supervisor_core::Error::internal("failed to serve gRPC").with_source(source)
        }),
        () = grace => Ok(()),
    }
}

impl Api {
    /// The services of the namespace a request names.
    pub(crate) fn services<T>(&self, request: &Request<T>) -> Result<Services, Status> {
        self.supervisor.namespace(namespace(request)?).map_err(to_status)
    }
}

/// The namespace a request names.
pub(crate) fn namespace<T>(request: &Request<T>) -> Result<&str, Status> {
    let header = request
        .metadata()
        .get("containerd-namespace")
        .and_then(|value| value.to_str().ok());
    match header {
        Some(namespace) if !namespace.is_empty() => Ok(namespace),
        _ => Err(Status::failed_precondition(
            "namespace is required: failed precondition",
        )),
    }
}

/// What is not built.
pub(crate) fn unimplemented(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not implemented"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn only_a_socket_that_nobody_serves_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = (dir.path().join("file"), dir.path().join("s"));
        std::fs::write(&file, "of another").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"of another");

        let served = bind(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(socket::connect(&path).is_ok());
        drop(served);
        assert!(path.exists());
        let served = bind(&path).unwrap();
        assert!(socket::connect(&path).is_ok());
        drop(served);

        // A link is not followed, wherever it leads.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}
