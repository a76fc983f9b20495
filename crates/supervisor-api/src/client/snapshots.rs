//! Snapshots and diffs of a peer.

use async_trait::async_trait;
use gantry_supervisor_core::image::Descriptor;
use gantry_supervisor_core::snapshot::{Diff, Info, Mount, Snapshots, Usage};
use gantry_supervisor_core::{Labels, Result};

use super::{Bound, call};
use crate::convert::{from_size, from_status, list, required, to_mask};
use crate::proto::containerd::services::diff::v1 as diff;
use crate::proto::containerd::services::diff::v1::diff_client::DiffClient;
use crate::proto::containerd::services::snapshots::v1 as api;
use crate::proto::containerd::services::snapshots::v1::snapshots_client::SnapshotsClient;

/// What no name of a snapshotter means.
const DEFAULT: &str = "overlayfs";

fn named(snapshotter: &str) -> String {
    let name = if snapshotter.is_empty() {
        DEFAULT
    } else {
        snapshotter
    };
    name.to_owned()
}

#[async_trait]
impl Snapshots for Bound {
    async fn prepare(
        &self,
        snapshotter: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>> {
        let request = api::PrepareSnapshotRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        Ok(list(call!(self, SnapshotsClient, prepare(request))?.mounts))
    }

    async fn view(&self, snapshotter: &str, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let request = api::ViewSnapshotRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        Ok(list(call!(self, SnapshotsClient, view(request))?.mounts))
    }

    async fn mounts(&self, snapshotter: &str, key: &str) -> Result<Vec<Mount>> {
        let request = api::MountsRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
        };
        Ok(list(call!(self, SnapshotsClient, mounts(request))?.mounts))
    }

    async fn commit(&self, snapshotter: &str, name: &str, key: &str, labels: Labels) -> Result<()> {
        let request = api::CommitSnapshotRequest {
            snapshotter: named(snapshotter),
            name: name.to_owned(),
            key: key.to_owned(),
            labels,
            parent: String::new(),
        };
        call!(self, SnapshotsClient, commit(request))
    }

    async fn remove(&self, snapshotter: &str, key: &str) -> Result<()> {
        let request = api::RemoveSnapshotRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
        };
        call!(self, SnapshotsClient, remove(request))
    }

    async fn stat(&self, snapshotter: &str, key: &str) -> Result<Info> {
        let request = api::StatSnapshotRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
        };
        Ok(required(call!(self, SnapshotsClient, stat(request))?.info, "info")?.into())
    }

    async fn update(&self, snapshotter: &str, info: Info, fields: &[String]) -> Result<Info> {
        let request = api::UpdateSnapshotRequest {
            snapshotter: named(snapshotter),
            info: Some(info.into()),
            update_mask: to_mask(fields),
        };
        Ok(required(call!(self, SnapshotsClient, update(request))?.info, "info")?.into())
    }

    async fn list(&self, snapshotter: &str, filters: &[String]) -> Result<Vec<Info>> {
        let request = api::ListSnapshotsRequest {
            snapshotter: named(snapshotter),
            filters: filters.to_vec(),
        };
        let mut stream = call!(self, SnapshotsClient, list(request))?;
        let mut all = Vec::new();
        while let Some(part) = stream.message().await.map_err(from_status)? {
            all.extend(part.info.into_iter().map(Info::from));
        }
        Ok(all)
    }

    async fn usage(&self, snapshotter: &str, key: &str) -> Result<Usage> {
        let request = api::UsageRequest {
            snapshotter: named(snapshotter),
            key: key.to_owned(),
        };
        let answer = call!(self, SnapshotsClient, usage(request))?;
        Ok(Usage {
            size: from_size(answer.size)?,
            inodes: from_size(answer.inodes)?,
        })
    }

    async fn cleanup(&self, snapshotter: &str) -> Result<()> {
        let request = api::CleanupRequest {
            snapshotter: named(snapshotter),
        };
        call!(self, SnapshotsClient, cleanup(request))
    }
}

#[async_trait]
impl Diff for Bound {
    async fn apply(&self, descriptor: &Descriptor, mounts: &[Mount]) -> Result<Descriptor> {
        let request = diff::ApplyRequest {
            diff: Some(descriptor.clone().into()),
            mounts: list(mounts.to_vec()),
            ..diff::ApplyRequest::default()
        };
        required(call!(self, DiffClient, apply(request))?.applied, "applied")?.try_into()
    }
}
