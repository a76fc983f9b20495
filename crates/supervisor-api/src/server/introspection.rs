//! The services that tell what this server is: version, introspection, health.

use futures_util::{StreamExt, stream};
use gantry_supervisor_core::filter::Filters;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Answers, Api, unimplemented};
use crate::convert::{any, from_any, to_status};
use crate::proto::containerd::services::introspection::v1 as api;
use crate::proto::containerd::services::version::v1 as version;
use crate::proto::containerd::types::{Platform, RuntimeRequest};
use crate::proto::grpc::health::v1 as health;
use health::health_check_response::ServingStatus;

/// What clients look for by containerd's names of its parts.
const PLUGINS: &[(&str, &str)] = &[
    ("io.containerd.content.v1", "content"),
    ("io.containerd.snapshotter.v1", "overlayfs"),
    ("io.containerd.metadata.v1", "bolt"),
    ("io.containerd.differ.v1", "walking"),
    ("io.containerd.event.v1", "exchange"),
    ("io.containerd.runtime.v2", "task"),
    ("io.containerd.grpc.v1", "containers"),
    ("io.containerd.grpc.v1", "content"),
    ("io.containerd.grpc.v1", "diff"),
    ("io.containerd.grpc.v1", "events"),
    ("io.containerd.grpc.v1", "healthcheck"),
    ("io.containerd.grpc.v1", "images"),
    ("io.containerd.grpc.v1", "introspection"),
    ("io.containerd.grpc.v1", "leases"),
    ("io.containerd.grpc.v1", "namespaces"),
    ("io.containerd.grpc.v1", "snapshots"),
    ("io.containerd.grpc.v1", "tasks"),
    ("io.containerd.grpc.v1", "version"),
];

/// The one that can be asked about a shim.
const RUNTIME: (&str, &str) = ("io.containerd.runtime.v2", "task");

fn plugin(kind: &str, id: &str) -> api::Plugin {
    api::Plugin {
        r#type: kind.to_owned(),
        id: id.to_owned(),
        platforms: vec![Platform {
            os: "linux".into(),
            architecture: architecture().into(),
            ..Platform::default()
        }],
        ..api::Plugin::default()
    }
}

/// The processor in OCI's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[tonic::async_trait]
impl api::introspection_server::Introspection for Api {
    async fn plugins(
        &self,
        request: Request<api::PluginsRequest>,
    ) -> Result<Response<api::PluginsResponse>, Status> {
        let filters = Filters::parse(&request.get_ref().filters).map_err(to_status)?;
        let plugins = PLUGINS
            .iter()
            .filter(|(kind, id)| {
                filters.matches(&|path: &[String]| match path.first().map(String::as_str) {
                    Some("type") => Some((*kind).to_owned()),
                    Some("id") => Some((*id).to_owned()),
                    _ => None,
                })
            })
            .map(|(kind, id)| plugin(kind, id))
            .collect();
        Ok(Response::new(api::PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<api::ServerResponse>, Status> {
        use std::os::unix::fs::MetadataExt;
        let pidns = std::fs::metadata("/proc/self/ns/pid")
            .map(|meta| meta.ino())
            .unwrap_or_default();
        let pid = u64::from(std::process::id());
        let deprecations = Vec::new();
        Ok(Response::new(api::ServerResponse {
            uuid: self.uuid.to_string(),
            pid,
            pidns,
            deprecations,
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<api::PluginInfoRequest>,
    ) -> Result<Response<api::PluginInfoResponse>, Status> {
        let r = request.into_inner();
        if !PLUGINS.contains(&(r.r#type.as_str(), r.id.as_str())) {
            return Err(Status::not_found(format!(
                "plugin {}.{} not found",
                r.r#type, r.id
            )));
        }
        let extra = match r.options {
            None => None,
            Some(_) if (r.r#type.as_str(), r.id.as_str()) != RUNTIME => {
                return Err(unimplemented("information about this plugin"));
            }
            Some(options) => {
                if options.type_url.rsplit('/').next() != Some("containerd.types.RuntimeRequest") {
                    let message = format!("unknown request type {:?}: not implemented", options.type_url);
                    return Err(Status::unimplemented(message));
                }
                let asked = RuntimeRequest::decode(options.value.as_slice())
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                let options = asked.options.map(from_any);
                let info = self.supervisor.runtime_info(&asked.runtime_path, options).await;
                Some(any(info.map_err(to_status)?))
            }
        };
        let plugin = Some(plugin(&r.r#type, &r.id));
        Ok(Response::new(api::PluginInfoResponse { plugin, extra }))
    }
}

#[tonic::async_trait]
impl version::version_server::Version for Api {
    async fn version(&self, _: Request<()>) -> Result<Response<version::VersionResponse>, Status> {
        let answer = self.supervisor.version().await.map_err(to_status)?;
        Ok(Response::new(version::VersionResponse {
            version: answer.version,
            revision: answer.revision,
        }))
    }
}

#[tonic::async_trait]
impl health::health_server::Health for Api {
    async fn check(
        &self,
        request: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        // The whole server has the empty name, its services have none of their own.
        match request.get_ref().service.as_str() {
            "" => Ok(Response::new(health::HealthCheckResponse {
                status: ServingStatus::Serving.into(),
            })),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    type WatchStream = Answers<health::HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let status = match request.get_ref().service.as_str() {
            "" => ServingStatus::Serving,
            _ => ServingStatus::ServiceUnknown,
        };
        let answer = health::HealthCheckResponse {
            status: status.into(),
        };
        // It never changes: a server that does not serve is not there to say so.
        let stream = stream::once(std::future::ready(Ok(answer))).chain(stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
