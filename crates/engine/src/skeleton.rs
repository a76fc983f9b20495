//! The calls of the engine by their signatures, until each has moved to its room.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use gantry_api_types::{container, event, exec, filters::Filters, system};
use gantry_errdefs::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Engine;
use crate::options::*;

/// The output of `logs`.
pub struct Logs {
    /// Raw bytes rather than Docker's frames.
    pub terminal: bool,
    /// The output.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// A prepared attachment, to be run once the answer's head is sent.
pub struct Attach(());
impl Attach {
    /// Whether the container has a terminal (raw bytes rather than Docker's frames).
    pub fn terminal(&self) -> bool {
        false
    }
    /// Carries bytes until the process ends, the client goes away or detaches.
    pub async fn run<S: AsyncRead + AsyncWrite + Send + Unpin>(self, _io: S) -> Result<()> {
        Err(nyi())
    }
}

/// A prepared exec: [`ExecAttach::run`] starts it. A failure to start is written to the client, as Docker does, and returned.
pub struct ExecAttach(());
impl ExecAttach {
    /// Whether the exec has a terminal (raw bytes rather than Docker's frames).
    pub fn terminal(&self) -> bool {
        false
    }
    /// Starts it and carries bytes until it ends, the client goes away or detaches.
    pub async fn run<S: AsyncRead + AsyncWrite + Send + Unpin>(self, _io: S) -> Result<()> {
        Err(nyi())
    }
}

/// The end of a wait, a future without ties to the engine's borrow.
pub type Wait = BoxFuture<'static, container::WaitResponse>;

fn nyi() -> Error {
    Error::not_implemented("not yet")
}

#[allow(unused_variables, clippy::unused_async, missing_docs)]
impl Engine {
    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        request: container::CreateRequest,
    ) -> Result<container::CreateResponse> {
        Err(nyi())
    }
    pub async fn container_start(&self, reference: &str, detach_keys: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_stop(&self, reference: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_restart(&self, reference: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_kill(&self, reference: &str, signal: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_wait(&self, reference: &str, condition: WaitCondition) -> Result<Wait> {
        Err(nyi())
    }
    pub async fn container_remove(&self, reference: &str, force: bool, volumes: bool) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_rename(&self, reference: &str, name: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_list(&self, options: ListOptions) -> Result<Vec<container::Summary>> {
        Err(nyi())
    }
    pub async fn container_inspect(&self, reference: &str, size: bool) -> Result<container::Inspect> {
        Err(nyi())
    }
    pub async fn container_logs(&self, reference: &str, options: LogOptions) -> Result<Logs> {
        Err(nyi())
    }
    pub async fn container_attach(&self, reference: &str, options: AttachOptions) -> Result<Attach> {
        Err(nyi())
    }
    pub async fn container_resize(&self, reference: &str, height: u32, width: u32) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_top(&self, reference: &str, ps_args: &str) -> Result<container::TopResponse> {
        Err(nyi())
    }
    pub async fn container_pause(&self, reference: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_unpause(&self, reference: &str) -> Result<()> {
        Err(nyi())
    }
    pub async fn container_stats(
        &self,
        reference: &str,
        stream: bool,
        one_shot: bool,
    ) -> Result<BoxStream<'static, container::Stats>> {
        Err(nyi())
    }
    pub async fn container_update(
        &self,
        reference: &str,
        update: container::UpdateConfig,
    ) -> Result<container::UpdateResponse> {
        Err(nyi())
    }
    pub async fn container_prune(&self, filters: &Filters) -> Result<container::PruneReport> {
        Err(nyi())
    }
    pub async fn exec_create(
        &self,
        container: &str,
        request: exec::CreateRequest,
    ) -> Result<exec::CreateResponse> {
        Err(nyi())
    }
    /// Starts an exec without attaching to it.
    pub async fn exec_start(&self, id: &str, request: exec::StartRequest) -> Result<()> {
        Err(nyi())
    }
    /// Prepares an exec to be started attached.
    pub async fn exec_attach(&self, id: &str, request: exec::StartRequest) -> Result<ExecAttach> {
        Err(nyi())
    }
    pub async fn exec_resize(&self, id: &str, height: u32, width: u32) -> Result<()> {
        Err(nyi())
    }
    pub async fn exec_inspect(&self, id: &str) -> Result<exec::Inspect> {
        Err(nyi())
    }
    pub async fn info(&self) -> Result<system::Info> {
        Err(nyi())
    }
    /// The part of `/version` that the engine knows: its components' versions. The daemon adds its own.
    pub async fn version(&self) -> Result<system::Version> {
        Err(nyi())
    }
    pub async fn events(&self, options: EventOptions) -> Result<BoxStream<'static, event::Message>> {
        Err(nyi())
    }
}
