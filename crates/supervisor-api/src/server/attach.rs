//! The service that tells where the streams of a process are. See `docs/protocols.md`.

use tonic::{Request, Response, Status};

use super::Api;
use crate::convert::to_status;
use crate::proto::gantry::services::attach::v1 as api;

#[tonic::async_trait]
impl api::attach_server::Attach for Api {
    async fn endpoint(
        &self,
        request: Request<api::EndpointRequest>,
    ) -> Result<Response<api::EndpointResponse>, Status> {
        let services = self.services(&request)?;
        let api::EndpointRequest {
            container_id,
            exec_id,
        } = request.into_inner();
        let path = services
            .tasks
            .attach_endpoint(&container_id, &exec_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::EndpointResponse { path }))
    }
}
