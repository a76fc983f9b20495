//! Containers and images of a peer.

use async_trait::async_trait;
use gantry_supervisor_core::Result;
use gantry_supervisor_core::container::{Container, Containers};
use gantry_supervisor_core::image::{Image, Images};

use super::{Bound, call};
use crate::convert::{list, required, to_mask};
use crate::proto::containerd::services::containers::v1 as containers;
use crate::proto::containerd::services::containers::v1::containers_client::ContainersClient;
use crate::proto::containerd::services::images::v1 as images;
use crate::proto::containerd::services::images::v1::images_client::ImagesClient;

#[async_trait]
impl Containers for Bound {
    async fn get(&self, id: &str) -> Result<Container> {
        let request = containers::GetContainerRequest { id: id.to_owned() };
        let answer = call!(self, ContainersClient, get(request))?;
        Ok(required(answer.container, "container")?.into())
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Container>> {
        let request = containers::ListContainersRequest {
            filters: filters.to_vec(),
        };
        Ok(list(call!(self, ContainersClient, list(request))?.containers))
    }

    async fn create(&self, container: Container) -> Result<Container> {
        let request = containers::CreateContainerRequest {
            container: Some(container.into()),
        };
        let answer = call!(self, ContainersClient, create(request))?;
        Ok(required(answer.container, "container")?.into())
    }

    async fn update(&self, container: Container, fields: &[String]) -> Result<Container> {
        let request = containers::UpdateContainerRequest {
            container: Some(container.into()),
            update_mask: to_mask(fields),
        };
        let answer = call!(self, ContainersClient, update(request))?;
        Ok(required(answer.container, "container")?.into())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let request = containers::DeleteContainerRequest { id: id.to_owned() };
        call!(self, ContainersClient, delete(request))
    }
}

#[async_trait]
impl Images for Bound {
    async fn get(&self, name: &str) -> Result<Image> {
        let answer = call!(
            self,
            ImagesClient,
            get(images::GetImageRequest {
                name: name.to_owned()
            })
        )?;
        required(answer.image, "image")?.try_into()
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Image>> {
        let request = images::ListImagesRequest {
            filters: filters.to_vec(),
        };
        let answer = call!(self, ImagesClient, list(request))?;
        answer.images.into_iter().map(Image::try_from).collect()
    }

    async fn create(&self, image: Image) -> Result<Image> {
        let request = images::CreateImageRequest {
            image: Some(image.into()),
            source_date_epoch: None,
        };
        let answer = call!(self, ImagesClient, create(request))?;
        required(answer.image, "image")?.try_into()
    }

    async fn update(&self, image: Image, fields: &[String]) -> Result<Image> {
        let request = images::UpdateImageRequest {
            image: Some(image.into()),
            update_mask: to_mask(fields),
            source_date_epoch: None,
        };
        let answer = call!(self, ImagesClient, update(request))?;
        required(answer.image, "image")?.try_into()
    }

    async fn delete(&self, name: &str, sync: bool) -> Result<()> {
        let request = images::DeleteImageRequest {
            name: name.to_owned(),
            sync,
            target: None,
        };
        call!(self, ImagesClient, delete(request))
    }
}
