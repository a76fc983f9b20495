//! The endpoints of the engine itself.

use bytes::Bytes;
use gantry_api_types::event;
use gantry_api_types::filters::Filters;
use gantry_api_types::system::{Info, Version};
use http::Method;

use crate::client::{Client, Content};
use crate::error::Result;
use crate::query::{Query, escape};
use crate::stream::Messages;

impl Client {
    /// The engine's versions.
    pub async fn version(&self) -> Result<Version> {
        self.get("/version").await
    }

    /// Everything about the engine.
    pub async fn info(&self) -> Result<Info> {
        self.get("/info").await
    }

    /// Everything about the engine, as it wrote it.
    pub async fn info_raw(&self) -> Result<Bytes> {
        self.call_raw(Method::GET, "/info", Content::None).await
    }

    /// What happens, from `since` to `until` (seconds or RFC 3339; open if empty).
    pub async fn events(
        &self,
        since: &str,
        until: &str,
        filters: &Filters,
    ) -> Result<Messages<event::Message>> {
        let path = Query::default()
            .text("since", since)
            .text("until", until)
            .filters(filters)
            .on("/events".to_owned());
        let body = self.request(Method::GET, &path, Content::None).await?;
        Ok(Messages::new(body))
    }

    /// Everything about a network or a volume, as the engine wrote it.
    pub async fn object_inspect_raw(&self, kind: &str, name: &str) -> Result<Bytes> {
        let path = format!("/{kind}s/{}", escape(name));
        self.call_raw(Method::GET, &path, Content::None).await
    }
}
