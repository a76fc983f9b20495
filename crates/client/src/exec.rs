//! The endpoints of further processes in containers.

use gantry_api_types::exec::{CreateRequest, CreateResponse, Inspect, StartRequest};
use http::Method;

use crate::client::{Client, Content};
use crate::error::{Error, Result};
use crate::hijack::Hijacked;
use crate::query::{Query, escape};

impl Client {
    /// Prepares a process in a container; its id.
    pub async fn exec_create(&self, container: &str, request: &CreateRequest) -> Result<String> {
        if container.trim().is_empty() {
            return Err(Error::EmptyName("container"));
        }
        let path = format!("/containers/{}/exec", escape(container));
        let created: CreateResponse = self.call(Method::POST, &path, Content::json(request)).await?;
        Ok(created.id)
    }

    /// Starts it with nobody attached.
    pub async fn exec_start_detached(&self, id: &str, request: &StartRequest) -> Result<()> {
        let path = format!("/exec/{}/start", escape(id));
        self.call_raw(Method::POST, &path, Content::json(request))
            .await
            .map(drop)
    }

    /// Starts it, attached.
    pub async fn exec_start(&self, id: &str, request: &StartRequest) -> Result<Hijacked> {
        let json = serde_json::to_vec(request).unwrap_or_default();
        self.hijack(&format!("/exec/{}/start", escape(id)), Some(json))
            .await
    }

    /// How it is.
    pub async fn exec_inspect(&self, id: &str) -> Result<Inspect> {
        self.get(&format!("/exec/{}/json", escape(id))).await
    }

    /// Tells its terminal its size.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let query = Query::default().with("h", rows).with("w", columns);
        self.post(&query.on(format!("/exec/{}/resize", escape(id)))).await
    }
}
