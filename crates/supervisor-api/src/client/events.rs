//! Events of a peer.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use gantry_supervisor_core::event::{Envelope, Events, TimedTaskEvent, decode_tasks};
use gantry_supervisor_core::{Any, Error, Result};

use super::{Bound, call};
use crate::convert::{any, from_status};
use crate::proto::containerd::services::events::v1 as api;
use crate::proto::containerd::services::events::v1::events_client::EventsClient;

/// How long a subscription waits for the peer to say that it hears.
const ANSWER: Duration = Duration::from_millis(500);

#[async_trait]
impl Events for Bound {
    async fn subscribe(&self, filters: &[String]) -> Result<BoxStream<'static, Result<Envelope>>> {
        let request = api::SubscribeRequest {
            filters: filters.to_vec(),
        };
        let bound = self.clone();
        let mut answer = Box::pin(async move { call!(bound, EventsClient, subscribe(request)) });
        let envelopes = |stream: tonic::Streaming<crate::proto::containerd::types::Envelope>| {
            stream.map(|envelope| envelope.map(Envelope::from).map_err(from_status))
        };
        // Ours answers once it has subscribed: what happens after this return is seen. containerd answers with its first event.
        Ok(match tokio::time::timeout(ANSWER, &mut answer).await {
            Ok(stream) => envelopes(stream?).boxed(),
            Err(_) => stream::once(answer).map_ok(envelopes).try_flatten().boxed(),
        })
    }

    async fn subscribe_tasks(&self) -> Result<BoxStream<'static, Result<TimedTaskEvent>>> {
        let namespace = self
            .namespace
            .to_str()
            .map_err(|e| Error::internal("namespace header").with_source(e))?;
        let stream = self
            .subscribe(&[format!("namespace=={namespace},topic~=|^/tasks/|")])
            .await?;
        Ok(decode_tasks(stream))
    }

    async fn publish(&self, topic: &str, event: Any) -> Result<()> {
        let request = api::PublishRequest {
            topic: topic.to_owned(),
            event: Some(any(event)),
        };
        call!(self, EventsClient, publish(request))
    }

    async fn forward(&self, envelope: Envelope) -> Result<()> {
        call!(
            self,
            EventsClient,
            forward(api::ForwardRequest {
                envelope: Some(envelope.into())
            })
        )
    }
}
