//! The services of snapshots and diffs.

use gantry_supervisor_core::image::Descriptor;
use tonic::{Request, Response, Status};

use super::{Answers, Api, unimplemented};
use crate::convert::{list, mask, required, size, to_status};
use crate::proto::containerd::services::diff::v1 as diff;
use crate::proto::containerd::services::snapshots::v1 as api;

/// How many are sent in one message.
const PAGE: usize = 100;

#[tonic::async_trait]
impl api::snapshots_server::Snapshots for Api {
    async fn prepare(
        &self,
        request: Request<api::PrepareSnapshotRequest>,
    ) -> Result<Response<api::PrepareSnapshotResponse>, Status> {
        let services = self.services(&request)?;
        let api::PrepareSnapshotRequest {
            snapshotter,
            key,
            parent,
            labels,
        } = request.into_inner();
        let mounts = services
            .snapshots
            .prepare(&snapshotter, &key, &parent, labels)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::PrepareSnapshotResponse {
            mounts: list(mounts),
        }))
    }

    async fn view(
        &self,
        request: Request<api::ViewSnapshotRequest>,
    ) -> Result<Response<api::ViewSnapshotResponse>, Status> {
        let services = self.services(&request)?;
        let api::ViewSnapshotRequest {
            snapshotter,
            key,
            parent,
            labels,
        } = request.into_inner();
        let mounts = services
            .snapshots
            .view(&snapshotter, &key, &parent, labels)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::ViewSnapshotResponse { mounts: list(mounts) }))
    }

    async fn mounts(
        &self,
        request: Request<api::MountsRequest>,
    ) -> Result<Response<api::MountsResponse>, Status> {
        let services = self.services(&request)?;
        let api::MountsRequest { snapshotter, key } = request.into_inner();
        let mounts = services
            .snapshots
            .mounts(&snapshotter, &key)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::MountsResponse { mounts: list(mounts) }))
    }

    async fn commit(&self, request: Request<api::CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let api::CommitSnapshotRequest {
            snapshotter,
            name,
            key,
            labels,
            parent,
        } = request.into_inner();
        if !parent.is_empty() {
            return Err(unimplemented("commit onto another parent"));
        }
        services
            .snapshots
            .commit(&snapshotter, &name, &key, labels)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn remove(&self, request: Request<api::RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let api::RemoveSnapshotRequest { snapshotter, key } = request.into_inner();
        services
            .snapshots
            .remove(&snapshotter, &key)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn stat(
        &self,
        request: Request<api::StatSnapshotRequest>,
    ) -> Result<Response<api::StatSnapshotResponse>, Status> {
        let services = self.services(&request)?;
        let api::StatSnapshotRequest { snapshotter, key } = request.into_inner();
        let info = services
            .snapshots
            .stat(&snapshotter, &key)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::StatSnapshotResponse {
            info: Some(info.into()),
        }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateSnapshotRequest>,
    ) -> Result<Response<api::UpdateSnapshotResponse>, Status> {
        let services = self.services(&request)?;
        let api::UpdateSnapshotRequest {
            snapshotter,
            info,
            update_mask,
        } = request.into_inner();
        let info = required(info, "info").map_err(to_status)?.into();
        let info = services
            .snapshots
            .update(&snapshotter, info, &mask(update_mask))
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::UpdateSnapshotResponse {
            info: Some(info.into()),
        }))
    }

    type ListStream = Answers<api::ListSnapshotsResponse>;

    async fn list(
        &self,
        request: Request<api::ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let services = self.services(&request)?;
        let api::ListSnapshotsRequest { snapshotter, filters } = request.into_inner();
        let all = services
            .snapshots
            .list(&snapshotter, &filters)
            .await
            .map_err(to_status)?;
        let pages: Vec<_> = all
            .chunks(PAGE)
            .map(|page| {
                Ok(api::ListSnapshotsResponse {
                    info: list(page.to_vec()),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(pages))))
    }

    async fn usage(
        &self,
        request: Request<api::UsageRequest>,
    ) -> Result<Response<api::UsageResponse>, Status> {
        let services = self.services(&request)?;
        let api::UsageRequest { snapshotter, key } = request.into_inner();
        let usage = services
            .snapshots
            .usage(&snapshotter, &key)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::UsageResponse {
            size: size(usage.size),
            inodes: size(usage.inodes),
        }))
    }

    async fn cleanup(&self, request: Request<api::CleanupRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .snapshots
            .cleanup(&request.get_ref().snapshotter)
            .await
            .map_err(to_status)
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl diff::diff_server::Diff for Api {
    async fn apply(
        &self,
        request: Request<diff::ApplyRequest>,
    ) -> Result<Response<diff::ApplyResponse>, Status> {
        let services = self.services(&request)?;
        let request = request.into_inner();
        let layer = required(request.diff, "diff")
            .and_then(Descriptor::try_from)
            .map_err(to_status)?;
        let mounts: Vec<_> = list(request.mounts);
        let applied = services.diff.apply(&layer, &mounts).await.map_err(to_status)?;
        Ok(Response::new(diff::ApplyResponse {
            applied: Some(applied.into()),
        }))
    }

    async fn diff(&self, _: Request<diff::DiffRequest>) -> Result<Response<diff::DiffResponse>, Status> {
        Err(unimplemented("making a layer from mounts"))
    }
}
