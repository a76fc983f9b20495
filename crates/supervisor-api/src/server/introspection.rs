//! The services that tell what this server is: version, introspection, health.

use gantry_supervisor_core::filter::Filters;
use tonic::{Request, Response, Status};

use super::{Answers, Api, unimplemented};
use crate::convert::to_status;
use crate::proto::containerd::services::introspection::v1 as api;
use crate::proto::containerd::services::version::v1 as version;
use crate::proto::containerd::types::Platform;
use crate::proto::grpc::health::v1 as health;

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
        let platform = Platform {
            os: "linux".into(),
            architecture: architecture().into(),
            ..Platform::default()
        };
        let plugins = PLUGINS
            .iter()
            .filter(|(kind, id)| {
                filters.matches(&|path: &[String]| match path.first().map(String::as_str) {
                    Some("type") => Some((*kind).to_owned()),
                    Some("id") => Some((*id).to_owned()),
                    _ => None,
                })
            })
            .map(|(kind, id)| api::Plugin {
                r#type: (*kind).into(),
                id: (*id).into(),
                platforms: vec![platform.clone()],
                ..api::Plugin::default()
            })
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
        _: Request<api::PluginInfoRequest>,
    ) -> Result<Response<api::PluginInfoResponse>, Status> {
        Err(unimplemented("information about a plugin"))
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
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        let status = health::health_check_response::ServingStatus::Serving.into();
        Ok(Response::new(health::HealthCheckResponse { status }))
    }

    type WatchStream = Answers<health::HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(unimplemented("watching the health"))
    }
}
