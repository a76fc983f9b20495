//! The service of blobs.

use futures_util::StreamExt;
use gantry_supervisor_core::content::{Content, Info, Writer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Api};
use crate::convert::{from_size, list, mask, required, size, timestamp, to_status};
use crate::proto::containerd::services::content::v1 as api;

/// How many are sent in one message.
const PAGE: usize = 100;

#[tonic::async_trait]
impl api::content_server::Content for Api {
    async fn info(&self, request: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        let services = self.services(&request)?;
        let info = services
            .content
            .info(&request.get_ref().digest)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::InfoResponse {
            info: Some(info.into()),
        }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateRequest>,
    ) -> Result<Response<api::UpdateResponse>, Status> {
        let services = self.services(&request)?;
        let request = request.into_inner();
        let info = required(request.info, "info")
            .and_then(Info::try_from)
            .map_err(to_status)?;
        let info = services
            .content
            .update(info, &mask(request.update_mask))
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::UpdateResponse {
            info: Some(info.into()),
        }))
    }

    type ListStream = Answers<api::ListContentResponse>;

    async fn list(
        &self,
        request: Request<api::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let services = self.services(&request)?;
        let all = services
            .content
            .list(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        let pages: Vec<_> = all
            .chunks(PAGE)
            .map(|page| {
                Ok(api::ListContentResponse {
                    info: list(page.to_vec()),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(pages))))
    }

    async fn delete(&self, request: Request<api::DeleteContentRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .content
            .delete(&request.get_ref().digest)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    type ReadStream = Answers<api::ReadContentResponse>;

    async fn read(
        &self,
        request: Request<api::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let services = self.services(&request)?;
        let api::ReadContentRequest {
            digest,
            offset,
            size: length,
        } = request.into_inner();
        let (offset, length) = (offset.max(0).unsigned_abs(), length.max(0).unsigned_abs());
        let stream = services
            .content
            .read(&digest, offset, length)
            .await
            .map_err(to_status)?;
        let mut at = offset;
        let answers = stream.map(move |part| {
            let data = part.map_err(to_status)?;
            let answer = api::ReadContentResponse {
                offset: size(at),
                data: data.clone(),
            };
            at += data.len() as u64;
            Ok(answer)
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        let services = self.services(&request)?;
        let status = services
            .content
            .status(&request.get_ref().r#ref)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::StatusResponse {
            status: Some(status.into()),
        }))
    }

    async fn list_statuses(
        &self,
        request: Request<api::ListStatusesRequest>,
    ) -> Result<Response<api::ListStatusesResponse>, Status> {
        let services = self.services(&request)?;
        let all = services
            .content
            .statuses(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::ListStatusesResponse { statuses: list(all) }))
    }

    type WriteStream = Answers<api::WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<api::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let services = self.services(&request)?;
        let (answers, receiver) = mpsc::channel(1);
        let requests = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = write(&*services.content, requests, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn abort(&self, request: Request<api::AbortRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .content
            .abort(&request.get_ref().r#ref)
            .await
            .map_err(to_status)
            .map(Response::new)
    }
}

/// One session: the first message opens the ingest, each is answered, a commit or the end of the stream ends it.
async fn write(
    content: &dyn Content,
    mut requests: Streaming<api::WriteContentRequest>,
    answers: &mpsc::Sender<Result<api::WriteContentResponse, Status>>,
) -> Result<(), Status> {
    let Some(mut request) = requests.message().await? else {
        return Err(Status::invalid_argument("first message must have a reference"));
    };
    if request.r#ref.is_empty() {
        return Err(Status::invalid_argument("first message must have a reference"));
    }
    let (mut total, mut expected) = (
        from_size(request.total).map_err(to_status)?,
        request.expected.clone(),
    );
    let mut writer = content
        .writer(&request.r#ref, total, &expected)
        .await
        .map_err(to_status)?;
    loop {
        if !request.expected.is_empty() {
            expected.clone_from(&request.expected);
        }
        if request.total > 0 {
            total = from_size(request.total).map_err(to_status)?;
        }
        let committed = request.action() == api::WriteAction::Commit;
        let answer = step(&mut *writer, request, total, &expected).await?;
        // Who does not listen any more has left; what was written stays for the next one.
        if answers.send(Ok(answer)).await.is_err() || committed {
            return Ok(());
        }
        request = match requests.message().await? {
            Some(request) => request,
            None => return Ok(()),
        };
    }
}

async fn step(
    writer: &mut dyn Writer,
    request: api::WriteContentRequest,
    total: u64,
    expected: &str,
) -> Result<api::WriteContentResponse, Status> {
    let mut answer = api::WriteContentResponse {
        action: request.action,
        ..Default::default()
    };
    if request.action() == api::WriteAction::Stat {
        let status = writer.status();
        answer.started_at = timestamp(status.started_at);
        answer.updated_at = timestamp(status.updated_at);
        answer.offset = size(status.offset);
        answer.total = size(total);
        return Ok(answer);
    }
    let at = writer.status().offset;
    let offset = from_size(request.offset).map_err(to_status)?;
    if offset > 0 && offset != at {
        return Err(Status::out_of_range(format!(
            "write @{offset} must occur at current offset {at}"
        )));
    }
    let committing = request.action() == api::WriteAction::Commit;
    if offset == 0 && at > 0 {
        writer.truncate(0).await.map_err(to_status)?;
    }
    if !request.data.is_empty() {
        writer.write(request.data).await.map_err(to_status)?;
    }
    answer.offset = size(writer.status().offset);
    if committing {
        answer.digest = writer
            .commit(total, expected, request.labels)
            .await
            .map_err(to_status)?;
    }
    Ok(answer)
}
