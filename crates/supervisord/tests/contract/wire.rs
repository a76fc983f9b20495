//! What clients of others ask, in the messages on the wire: what our traits have no word for.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use gantry_shim_api::messages::{RuntimeInfo, RuntimeRequest};
use gantry_supervisor_api::connect_socket;
use gantry_supervisor_api::convert::any;
use gantry_supervisor_api::proto::containerd::services::introspection::v1 as introspection;
use gantry_supervisor_api::proto::containerd::services::namespaces::v1 as namespaces;
use gantry_supervisor_api::proto::grpc::health::v1 as health;
use gantry_supervisor_core::Any;
use gantry_testkit::cmd::binaries;
use hyper_util::rt::TokioIo;
use introspection::introspection_client::IntrospectionClient;
use namespaces::namespaces_client::NamespacesClient;
use prost::Message;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::hosts::Host;

/// A connection to the server at a socket.
pub(crate) async fn channel(socket: &Path) -> Channel {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let path = path.clone();
        async move { connect_socket(&path).map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

pub(crate) async fn all(host: &Host, socket: &Path) {
    let channel = channel(socket).await;
    a_namespace_that_nothing_was_written_to(channel.clone()).await;
    health(channel.clone()).await;
    // containerd has that since 2.0.
    if host.ours {
        plugin_info(host, channel).await;
    }
}

/// dockerd asks for its namespace before it has written to it, and does not start when it is told that there is none.
async fn a_namespace_that_nothing_was_written_to(channel: Channel) {
    let name = "never-written-to".to_owned();
    let request = namespaces::GetNamespaceRequest { name: name.clone() };
    let answer = NamespacesClient::new(channel).get(request).await.unwrap();
    let labels = Default::default();
    assert_eq!(
        answer.into_inner().namespace,
        Some(namespaces::Namespace { name, labels })
    );
}

/// gRPC's own service: who watches is told at once, and then waits.
async fn health(channel: Channel) {
    use health::health_check_response::ServingStatus::{ServiceUnknown, Serving};
    let mut client = health::health_client::HealthClient::new(channel);
    let of = |service: &str| health::HealthCheckRequest {
        service: service.to_owned(),
    };
    assert_eq!(client.check(of("")).await.unwrap().get_ref().status(), Serving);
    let none = client.check(of("none")).await.unwrap_err();
    assert_eq!((none.code(), none.message()), (Code::NotFound, "unknown service"));
    for (service, status) in [("", Serving), ("none", ServiceUnknown)] {
        let mut watched = client.watch(of(service)).await.unwrap().into_inner();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), status);
        let more = tokio::time::timeout(Duration::from_millis(100), watched.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

async fn plugin_info(host: &Host, channel: Channel) {
    let mut client = IntrospectionClient::new(channel);
    let mut ask = async |kind: &str, id: &str, options: Option<Any>| {
        let request = introspection::PluginInfoRequest {
            r#type: kind.to_owned(),
            id: id.to_owned(),
            options: options.map(any),
        };
        client.plugin_info(request).await.map(tonic::Response::into_inner)
    };
    let plain = ask("io.containerd.snapshotter.v1", "overlayfs", None)
        .await
        .unwrap();
    assert_eq!(
        (plain.plugin.unwrap().id.as_str(), plain.extra),
        ("overlayfs", None)
    );
    let none = ask("io.containerd.snapshotter.v1", "none", None)
        .await
        .unwrap_err();
    assert_eq!(none.code(), Code::NotFound);

    // What a shim says of itself, asked with what a container of it has.
    let runtime = &host.runtimes[1];
    let asked = RuntimeRequest {
        runtime_path: binaries().join("gantry-shim").to_string_lossy().into_owned(),
        options: runtime.options.clone().map(|any| gantry_shim_api::messages::Any {
            type_url: any.type_url,
            value: any.value,
        }),
    };
    let asked = Any {
        type_url: "containerd.types.RuntimeRequest".to_owned(),
        value: asked.encode_to_vec(),
    };
    let said = ask("io.containerd.runtime.v2", "task", Some(asked.clone()))
        .await
        .unwrap();
    let extra = said.extra.unwrap();
    assert_eq!(extra.type_url, "containerd.types.RuntimeInfo");
    let info = RuntimeInfo::decode(extra.value.as_slice()).unwrap();
    assert_eq!(info.name, "io.containerd.gantry.v2");
    let features: serde_json::Value = serde_json::from_slice(&info.features.unwrap().value).unwrap();
    assert!(features["ociVersionMax"].is_string(), "{features}");

    let refused = ask("io.containerd.grpc.v1", "tasks", Some(asked))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let missing = RuntimeRequest {
        runtime_path: "io.containerd.nosuch.v7".to_owned(),
        options: None,
    };
    let missing = Any {
        type_url: "containerd.types.RuntimeRequest".to_owned(),
        value: missing.encode_to_vec(),
    };
    let refused = ask("io.containerd.runtime.v2", "task", Some(missing))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
