//! Blobs of a peer. Writing is one stream per ingest on which each message is answered before the next is sent.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use gantry_supervisor_core::content::{Content, Info, Status, Writer};
use gantry_supervisor_core::{Error, Kind, Labels, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Bound, call};
use crate::convert::{from_size, from_status, required, size, time, to_mask};
use crate::proto::containerd::services::content::v1 as api;
use crate::proto::containerd::services::content::v1::content_client::ContentClient;

/// How much goes into one message.
const CHUNK: usize = 1 << 20;

#[async_trait]
impl Content for Bound {
    async fn info(&self, digest: &str) -> Result<Info> {
        let answer = call!(
            self,
            ContentClient,
            info(api::InfoRequest {
                digest: digest.to_owned()
            })
        )?;
        required(answer.info, "info")?.try_into()
    }

    async fn update(&self, info: Info, fields: &[String]) -> Result<Info> {
        let request = api::UpdateRequest {
            info: Some(info.into()),
            update_mask: to_mask(fields),
        };
        required(call!(self, ContentClient, update(request))?.info, "info")?.try_into()
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Info>> {
        let request = api::ListContentRequest {
            filters: filters.to_vec(),
        };
        let mut stream = call!(self, ContentClient, list(request))?;
        let mut all = Vec::new();
        while let Some(part) = stream.message().await.map_err(from_status)? {
            for info in part.info {
                all.push(info.try_into()?);
            }
        }
        Ok(all)
    }

    async fn delete(&self, digest: &str) -> Result<()> {
        call!(
            self,
            ContentClient,
            delete(api::DeleteContentRequest {
                digest: digest.to_owned()
            })
        )
    }

    async fn read(
        &self,
        digest: &str,
        offset: u64,
        length: u64,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let request = api::ReadContentRequest {
            digest: digest.to_owned(),
            offset: size(offset),
            size: size(length),
        };
        let mut stream = call!(self, ContentClient, read(request))?;
        // A server that fails does so before its first message: wait for it, so that the error is this call's.
        let first = match stream.message().await.map_err(from_status)? {
            Some(first) => first,
            None => return Ok(futures_util::stream::empty().boxed()),
        };
        let rest = stream.map(|part| part.map(|part| part.data).map_err(from_status));
        Ok(futures_util::stream::iter([Ok(first.data)]).chain(rest).boxed())
    }

    async fn writer(&self, reference: &str, total: u64, expected: &str) -> Result<Box<dyn Writer>> {
        let (requests, receiver) = mpsc::channel(1);
        let first = api::WriteContentRequest {
            action: api::WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total: size(total),
            expected: expected.to_owned(),
            ..api::WriteContentRequest::default()
        };
        // Before the call: a peer may answer with its headers only once it has read something.
        let _ = requests.try_send(first);
        let mut answers = call!(self, ContentClient, write(ReceiverStream::new(receiver)))?;
        let answer = next(&mut answers).await?;
        let status = Status {
            reference: reference.to_owned(),
            offset: from_size(answer.offset)?,
            total: if answer.total > 0 {
                from_size(answer.total)?
            } else {
                total
            },
            expected: expected.to_owned(),
            started_at: time(answer.started_at),
            updated_at: time(answer.updated_at),
        };
        Ok(Box::new(RemoteWriter {
            requests: Some(requests),
            answers,
            status,
        }))
    }

    async fn status(&self, reference: &str) -> Result<Status> {
        let answer = call!(
            self,
            ContentClient,
            status(api::StatusRequest {
                r#ref: reference.to_owned()
            })
        )?;
        required(answer.status, "status")?.try_into()
    }

    async fn statuses(&self, filters: &[String]) -> Result<Vec<Status>> {
        let request = api::ListStatusesRequest {
            filters: filters.to_vec(),
        };
        let answer = call!(self, ContentClient, list_statuses(request))?;
        answer.statuses.into_iter().map(Status::try_from).collect()
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        call!(
            self,
            ContentClient,
            abort(api::AbortRequest {
                r#ref: reference.to_owned()
            })
        )
    }
}

struct RemoteWriter {
    /// Dropped with the writer, which ends the peer's session.
    requests: Option<mpsc::Sender<api::WriteContentRequest>>,
    answers: Streaming<api::WriteContentResponse>,
    status: Status,
}

async fn next(answers: &mut Streaming<api::WriteContentResponse>) -> Result<api::WriteContentResponse> {
    match answers.message().await.map_err(from_status)? {
        Some(answer) => Ok(answer),
        None => Err(Error::unavailable("the content writer's stream ended early")),
    }
}

impl RemoteWriter {
    async fn send(&mut self, request: api::WriteContentRequest) -> Result<api::WriteContentResponse> {
        let Some(requests) = &self.requests else {
            return Err(Error::failed_precondition(format!(
                "writer {} is closed",
                self.status.reference
            )));
        };
        // When the peer has ended the stream its error is in the answers, not here.
        let _ = requests.send(request).await;
        let answer = next(&mut self.answers).await;
        if answer.is_err() {
            self.requests = None;
        }
        answer
    }

    async fn append(&mut self, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        let request = api::WriteContentRequest {
            action: api::WriteAction::Write.into(),
            offset: size(self.status.offset),
            data,
            ..api::WriteContentRequest::default()
        };
        let answer = self.send(request).await?;
        let (before, after) = (self.status.offset, from_size(answer.offset)?);
        if after != before + length {
            let message = format!("wrote {} of {length} bytes", after.saturating_sub(before));
            return Err(Error::new(Kind::DataLoss, message));
        }
        self.status.offset = after;
        Ok(())
    }
}

#[async_trait]
impl Writer for RemoteWriter {
    fn status(&self) -> &Status {
        &self.status
    }

    async fn write(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let chunk = data.split_to(data.len().min(CHUNK));
            self.append(chunk).await?;
        }
        Ok(())
    }

    async fn truncate(&mut self, to: u64) -> Result<()> {
        if to != 0 {
            return Err(Error::not_implemented(
                "truncation of an ingest to anything but 0 is not implemented",
            ));
        }
        // A write at offset 0 cuts back.
        self.status.offset = 0;
        self.append(Bytes::new()).await
    }

    async fn commit(&mut self, total: u64, expected: &str, labels: Labels) -> Result<String> {
        let request = api::WriteContentRequest {
            action: api::WriteAction::Commit.into(),
            total: size(total),
            expected: expected.to_owned(),
            offset: size(self.status.offset),
            labels,
            ..api::WriteContentRequest::default()
        };
        let answer = self.send(request).await?;
        self.requests = None;
        Ok(answer.digest)
    }
}
