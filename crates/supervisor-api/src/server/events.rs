//! The service of events.

use futures_util::StreamExt;
use tonic::{Request, Response, Status};

use super::{Answers, Api};
use crate::convert::{from_any, required, to_status};
use crate::proto::containerd::services::events::v1 as api;
use crate::proto::containerd::types::Envelope;

#[tonic::async_trait]
impl api::events_server::Events for Api {
    async fn publish(&self, request: Request<api::PublishRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let request = request.into_inner();
        let event = required(request.event, "event").map_err(to_status)?;
        services
            .events
            .publish(&request.topic, from_any(event))
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn forward(&self, request: Request<api::ForwardRequest>) -> Result<Response<()>, Status> {
        let envelope = required(request.into_inner().envelope, "envelope").map_err(to_status)?;
        let services = self
            .supervisor
            .namespace(&envelope.namespace)
            .map_err(to_status)?;
        services
            .events
            .forward(envelope.into())
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    type SubscribeStream = Answers<Envelope>;

    async fn subscribe(
        &self,
        request: Request<api::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        // A subscription is to all namespaces; one that names none is bound to any.
        let namespace = super::namespace(&request).unwrap_or("default");
        let services = self.supervisor.namespace(namespace).map_err(to_status)?;
        let stream = services
            .events
            .subscribe(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        Ok(Response::new(Box::pin(
            stream.map(|e| e.map(Envelope::from).map_err(to_status)),
        )))
    }
}
