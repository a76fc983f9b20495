//! Leases of a peer.

use async_trait::async_trait;
use gantry_supervisor_core::lease::{Lease, Leases, Resource};
use gantry_supervisor_core::{Labels, Result};

use super::{Bound, call};
use crate::convert::{list, required};
use crate::proto::containerd::services::leases::v1 as api;
use crate::proto::containerd::services::leases::v1::leases_client::LeasesClient;

#[async_trait]
impl Leases for Bound {
    async fn create(&self, id: &str, labels: Labels) -> Result<Lease> {
        let answer = call!(
            self,
            LeasesClient,
            create(api::CreateRequest {
                id: id.to_owned(),
                labels
            })
        )?;
        Ok(required(answer.lease, "lease")?.into())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        call!(
            self,
            LeasesClient,
            delete(api::DeleteRequest {
                id: id.to_owned(),
                sync: false
            })
        )
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Lease>> {
        Ok(list(
            call!(
                self,
                LeasesClient,
                list(api::ListRequest {
                    filters: filters.to_vec()
                })
            )?
            .leases,
        ))
    }

    async fn add_resource(&self, id: &str, resource: Resource) -> Result<()> {
        let request = api::AddResourceRequest {
            id: id.to_owned(),
            resource: Some(resource.into()),
        };
        call!(self, LeasesClient, add_resource(request))
    }

    async fn delete_resource(&self, id: &str, resource: Resource) -> Result<()> {
        let request = api::DeleteResourceRequest {
            id: id.to_owned(),
            resource: Some(resource.into()),
        };
        call!(self, LeasesClient, delete_resource(request))
    }

    async fn resources(&self, id: &str) -> Result<Vec<Resource>> {
        let request = api::ListResourcesRequest { id: id.to_owned() };
        Ok(list(
            call!(self, LeasesClient, list_resources(request))?.resources,
        ))
    }
}
