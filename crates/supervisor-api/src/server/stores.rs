//! The services of containers and images.

use gantry_supervisor_core::image::Image;
use tonic::{Request, Response, Status};

use super::{Answers, Api};
use crate::convert::{list, mask, required, to_status};
use crate::proto::containerd::services::containers::v1 as containers;
use crate::proto::containerd::services::images::v1 as images;

#[tonic::async_trait]
impl containers::containers_server::Containers for Api {
    async fn get(
        &self,
        request: Request<containers::GetContainerRequest>,
    ) -> Result<Response<containers::GetContainerResponse>, Status> {
        let services = self.services(&request)?;
        let container = services
            .containers
            .get(&request.get_ref().id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(containers::GetContainerResponse {
            container: Some(container.into()),
        }))
    }

    async fn list(
        &self,
        request: Request<containers::ListContainersRequest>,
    ) -> Result<Response<containers::ListContainersResponse>, Status> {
        let services = self.services(&request)?;
        let all = services
            .containers
            .list(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        Ok(Response::new(containers::ListContainersResponse {
            containers: list(all),
        }))
    }

    type ListStreamStream = Answers<containers::ListContainerMessage>;

    async fn list_stream(
        &self,
        request: Request<containers::ListContainersRequest>,
    ) -> Result<Response<Self::ListStreamStream>, Status> {
        let services = self.services(&request)?;
        let all = services
            .containers
            .list(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        let messages = all.into_iter().map(|c| {
            Ok(containers::ListContainerMessage {
                container: Some(c.into()),
            })
        });
        Ok(Response::new(Box::pin(futures_util::stream::iter(messages))))
    }

    async fn create(
        &self,
        request: Request<containers::CreateContainerRequest>,
    ) -> Result<Response<containers::CreateContainerResponse>, Status> {
        let services = self.services(&request)?;
        let container = required(request.into_inner().container, "container").map_err(to_status)?;
        let container = services
            .containers
            .create(container.into())
            .await
            .map_err(to_status)?;
        Ok(Response::new(containers::CreateContainerResponse {
            container: Some(container.into()),
        }))
    }

    async fn update(
        &self,
        request: Request<containers::UpdateContainerRequest>,
    ) -> Result<Response<containers::UpdateContainerResponse>, Status> {
        let services = self.services(&request)?;
        let request = request.into_inner();
        let container = required(request.container, "container").map_err(to_status)?;
        let fields = mask(request.update_mask);
        let container = services
            .containers
            .update(container.into(), &fields)
            .await
            .map_err(to_status)?;
        Ok(Response::new(containers::UpdateContainerResponse {
            container: Some(container.into()),
        }))
    }

    async fn delete(
        &self,
        request: Request<containers::DeleteContainerRequest>,
    ) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .containers
            .delete(&request.get_ref().id)
            .await
            .map_err(to_status)
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl images::images_server::Images for Api {
    async fn get(
        &self,
        request: Request<images::GetImageRequest>,
    ) -> Result<Response<images::GetImageResponse>, Status> {
        let services = self.services(&request)?;
        let image = services
            .images
            .get(&request.get_ref().name)
            .await
            .map_err(to_status)?;
        Ok(Response::new(images::GetImageResponse {
            image: Some(image.into()),
        }))
    }

    async fn list(
        &self,
        request: Request<images::ListImagesRequest>,
    ) -> Result<Response<images::ListImagesResponse>, Status> {
        let services = self.services(&request)?;
        let all = services
            .images
            .list(&request.get_ref().filters)
            .await
            .map_err(to_status)?;
        Ok(Response::new(images::ListImagesResponse { images: list(all) }))
    }

    async fn create(
        &self,
        request: Request<images::CreateImageRequest>,
    ) -> Result<Response<images::CreateImageResponse>, Status> {
        let services = self.services(&request)?;
        let image = required(request.into_inner().image, "image").and_then(Image::try_from);
        let image = services
            .images
            .create(image.map_err(to_status)?)
            .await
            .map_err(to_status)?;
        Ok(Response::new(images::CreateImageResponse {
            image: Some(image.into()),
        }))
    }

    async fn update(
        &self,
        request: Request<images::UpdateImageRequest>,
    ) -> Result<Response<images::UpdateImageResponse>, Status> {
        let services = self.services(&request)?;
        let request = request.into_inner();
        let image = required(request.image, "image")
            .and_then(Image::try_from)
            .map_err(to_status)?;
        let image = services
            .images
            .update(image, &mask(request.update_mask))
            .await
            .map_err(to_status)?;
        Ok(Response::new(images::UpdateImageResponse {
            image: Some(image.into()),
        }))
    }

    async fn delete(&self, request: Request<images::DeleteImageRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let images::DeleteImageRequest { name, sync, target } = request.into_inner();
        if let Some(target) = target {
            let image = services.images.get(&name).await.map_err(to_status)?;
            if image.target.digest != target.digest {
                let message = format!(
                    "image {name:?} has target {}: failed precondition",
                    image.target.digest
                );
                return Err(Status::failed_precondition(message));
            }
        }
        services
            .images
            .delete(&name, sync)
            .await
            .map_err(to_status)
            .map(Response::new)
    }
}
