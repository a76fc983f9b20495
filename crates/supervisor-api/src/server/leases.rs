//! The service of leases.

use std::sync::Arc;

use gantry_supervisor_core::lease;
use tonic::{Request, Response, Status};

use super::{Api, namespace};
use crate::convert::{list, required, to_status};
use crate::proto::containerd::services::leases::v1 as api;

impl Api {
    fn leases<T>(&self, request: &Request<T>) -> Result<Arc<dyn lease::Leases>, Status> {
        self.supervisor.leases(namespace(request)?).map_err(to_status)
    }
}

#[tonic::async_trait]
impl api::leases_server::Leases for Api {
    async fn create(
        &self,
        request: Request<api::CreateRequest>,
    ) -> Result<Response<api::CreateResponse>, Status> {
        let leases = self.leases(&request)?;
        let api::CreateRequest { id, labels } = request.into_inner();
        let lease = leases.create(&id, labels).await.map_err(to_status)?;
        Ok(Response::new(api::CreateResponse {
            lease: Some(lease.into()),
        }))
    }

    async fn delete(&self, request: Request<api::DeleteRequest>) -> Result<Response<()>, Status> {
        let leases = self.leases(&request)?;
        leases
            .delete(&request.get_ref().id)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let leases = self.leases(&request)?;
        let all = leases.list(&request.get_ref().filters).await.map_err(to_status)?;
        Ok(Response::new(api::ListResponse { leases: list(all) }))
    }

    async fn add_resource(&self, request: Request<api::AddResourceRequest>) -> Result<Response<()>, Status> {
        let leases = self.leases(&request)?;
        let request = request.into_inner();
        let resource = required(request.resource, "resource").map_err(to_status)?;
        leases
            .add_resource(&request.id, resource.into())
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn delete_resource(
        &self,
        request: Request<api::DeleteResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let leases = self.leases(&request)?;
        let request = request.into_inner();
        let resource = required(request.resource, "resource").map_err(to_status)?;
        leases
            .delete_resource(&request.id, resource.into())
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn list_resources(
        &self,
        request: Request<api::ListResourcesRequest>,
    ) -> Result<Response<api::ListResourcesResponse>, Status> {
        let leases = self.leases(&request)?;
        let all = leases.resources(&request.get_ref().id).await.map_err(to_status)?;
        Ok(Response::new(api::ListResourcesResponse { resources: list(all) }))
    }
}
