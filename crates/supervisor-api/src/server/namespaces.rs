//! The service of namespaces.

use gantry_supervisor_core::Labels;
use tonic::{Request, Response, Status};

use super::Api;
use crate::convert::{mask, required, to_status};
use crate::proto::containerd::services::namespaces::v1 as api;

#[tonic::async_trait]
impl api::namespaces_server::Namespaces for Api {
    async fn get(
        &self,
        request: Request<api::GetNamespaceRequest>,
    ) -> Result<Response<api::GetNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let all = self.supervisor.namespaces().await.map_err(to_status)?;
        // As containerd: one that nothing was ever written to is one without labels. dockerd asks for its own before it
        // has one, and does not start without an answer.
        let labels = all
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, labels)| labels);
        let labels = labels.unwrap_or_default();
        Ok(Response::new(api::GetNamespaceResponse {
            namespace: Some(api::Namespace { name, labels }),
        }))
    }

    async fn list(
        &self,
        _: Request<api::ListNamespacesRequest>,
    ) -> Result<Response<api::ListNamespacesResponse>, Status> {
        let all = self.supervisor.namespaces().await.map_err(to_status)?;
        let namespaces = all
            .into_iter()
            .map(|(name, labels)| api::Namespace { name, labels })
            .collect();
        Ok(Response::new(api::ListNamespacesResponse { namespaces }))
    }

    async fn create(
        &self,
        request: Request<api::CreateNamespaceRequest>,
    ) -> Result<Response<api::CreateNamespaceResponse>, Status> {
        let namespace = required(request.into_inner().namespace, "namespace").map_err(to_status)?;
        let labels = namespace.labels.clone();
        self.supervisor
            .create_namespace(&namespace.name, labels)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::CreateNamespaceResponse {
            namespace: Some(namespace),
        }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateNamespaceRequest>,
    ) -> Result<Response<api::UpdateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let api::Namespace { name, mut labels } =
            required(request.namespace, "namespace").map_err(to_status)?;
        let fields = mask(request.update_mask);
        let replace = fields.is_empty() || fields.iter().any(|field| field == "labels");
        if !replace {
            let mut named = Labels::new();
            for field in &fields {
                let Some(key) = field.strip_prefix("labels.") else {
                    return Err(Status::invalid_argument(format!("cannot update {field:?} field")));
                };
                // A label that is named and not given is removed.
                named.insert(key.to_owned(), labels.remove(key).unwrap_or_default());
            }
            labels = named;
        }
        let labels = self
            .supervisor
            .update_namespace(&name, labels, replace)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::UpdateNamespaceResponse {
            namespace: Some(api::Namespace { name, labels }),
        }))
    }

    async fn delete(&self, request: Request<api::DeleteNamespaceRequest>) -> Result<Response<()>, Status> {
        self.supervisor
            .delete_namespace(&request.get_ref().name)
            .await
            .map_err(to_status)
            .map(Response::new)
    }
}
