//! The endpoints of containers.

use bytes::Bytes;
use gantry_api_types::container::{
    CreateRequest, CreateResponse, FilesystemChange, Inspect, PruneReport, Stats, Summary, TopResponse,
    UpdateConfig, UpdateResponse, WaitResponse,
};
use gantry_api_types::filters::Filters;
use http::Method;

use crate::client::{Client, Content};
use crate::error::{Error, Result};
use crate::hijack::Hijacked;
use crate::query::{Query, escape};
use crate::stream::{Body, Messages};

/// Which containers to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// The stopped ones too.
    pub all: bool,
    /// How many of the newest; all if none.
    pub limit: Option<i64>,
    /// Compute their sizes.
    pub size: bool,
    /// Conditions.
    pub filters: Filters,
}

/// What to attach to.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Feed its standard input.
    pub stdin: bool,
    /// Get its standard output.
    pub stdout: bool,
    /// Get its standard error.
    pub stderr: bool,
    /// Keys that detach, for the engine to look out for.
    pub detach_keys: String,
    /// What was already printed, too.
    pub logs: bool,
}

/// Which part of a log.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// Its standard output.
    pub stdout: bool,
    /// Its standard error.
    pub stderr: bool,
    /// From this time on: seconds, or RFC 3339.
    pub since: String,
    /// Up to this time.
    pub until: String,
    /// Each line with its time.
    pub timestamps: bool,
    /// Each line with the attributes of the log.
    pub details: bool,
    /// Go on with what is printed from now on.
    pub follow: bool,
    /// How many of the last lines, or `all`.
    pub tail: String,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (it may never have).
    NotRunning,
    /// It exits the next time.
    NextExit,
    /// It is gone.
    Removed,
}

/// A wait that the engine has taken note of.
pub struct Waiting(Messages<WaitResponse>);

impl Waiting {
    /// The exit.
    pub async fn finish(mut self) -> Result<WaitResponse> {
        self.0.next().await?.ok_or_else(|| Error::Broken {
            operation: "wait".to_owned(),
            reason: "unexpected EOF".to_owned(),
        })
    }
}

fn at(id: &str, rest: &str) -> Result<String> {
    if id.trim().is_empty() {
        return Err(Error::EmptyName("container"));
    }
    Ok(format!("/containers/{}{rest}", escape(id)))
}

impl Client {
    /// Creates a container.
    pub async fn container_create(
        &self,
        name: &str,
        platform: &str,
        request: &CreateRequest,
    ) -> Result<CreateResponse> {
        let query = Query::default().text("name", name).text("platform", platform);
        let path = query.on("/containers/create".to_owned());
        self.call(Method::POST, &path, Content::json(request)).await
    }

    /// Starts a container; nothing happens if it runs.
    pub async fn container_start(&self, id: &str) -> Result<()> {
        self.settled(self.post(&at(id, "/start")?).await)
    }

    /// Lists containers.
    pub async fn container_list(&self, options: &ListOptions) -> Result<Vec<Summary>> {
        let mut query = Query::default()
            .flag("all", options.all)
            .flag("size", options.size)
            .filters(&options.filters);
        if let Some(limit) = options.limit.filter(|limit| *limit > 0) {
            query = query.with("limit", limit);
        }
        self.get(&query.on("/containers/json".to_owned())).await
    }

    /// Everything about a container.
    pub async fn container_inspect(&self, id: &str) -> Result<Inspect> {
        self.get(&at(id, "/json")?).await
    }

    /// Everything about a container, as the engine wrote it.
    pub async fn container_inspect_raw(&self, id: &str, size: bool) -> Result<Bytes> {
        let path = Query::default().flag("size", size).on(at(id, "/json")?);
        self.call_raw(Method::GET, &path, Content::None).await
    }

    /// Waits; returns when the engine has taken note of it.
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting> {
        let condition = match condition {
            WaitCondition::NotRunning => "not-running",
            WaitCondition::NextExit => "next-exit",
            WaitCondition::Removed => "removed",
        };
        let path = Query::default().with("condition", condition).on(at(id, "/wait")?);
        let body = self.request(Method::POST, &path, Content::None).await?;
        Ok(Waiting(Messages::new(body)))
    }

    /// Attaches to a container.
    pub async fn container_attach(&self, id: &str, options: &AttachOptions) -> Result<Hijacked> {
        let path = Query::default()
            .with("stream", 1)
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("logs", options.logs)
            .text("detachKeys", &options.detach_keys)
            .on(at(id, "/attach")?);
        self.hijack(&path, None).await
    }

    /// Tells a container's terminal its size.
    pub async fn container_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let query = Query::default().with("h", rows).with("w", columns);
        self.post(&query.on(at(id, "/resize")?)).await
    }

    /// Sends a signal; the engine's default if empty.
    pub async fn container_kill(&self, id: &str, signal: &str) -> Result<()> {
        self.post(&Query::default().text("signal", signal).on(at(id, "/kill")?))
            .await
    }

    /// Stops a container; nothing happens if it does not run.
    pub async fn container_stop(&self, id: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        self.settled(self.post(&stop_query(signal, timeout).on(at(id, "/stop")?)).await)
    }

    /// Stops a container and starts it.
    pub async fn container_restart(&self, id: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        self.post(&stop_query(signal, timeout).on(at(id, "/restart")?))
            .await
    }

    /// Freezes a container.
    pub async fn container_pause(&self, id: &str) -> Result<()> {
        self.post(&at(id, "/pause")?).await
    }

    /// Thaws a container.
    pub async fn container_unpause(&self, id: &str) -> Result<()> {
        self.post(&at(id, "/unpause")?).await
    }

    /// Gives a container another name.
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<()> {
        self.post(&Query::default().with("name", name).on(at(id, "/rename")?))
            .await
    }

    /// Removes a container.
    pub async fn container_remove(&self, id: &str, volumes: bool, link: bool, force: bool) -> Result<()> {
        let path = Query::default()
            .flag("v", volumes)
            .flag("link", link)
            .flag("force", force)
            .on(at(id, "")?);
        self.call_raw(Method::DELETE, &path, Content::None)
            .await
            .map(drop)
    }

    /// A container's log, framed unless it has a terminal.
    pub async fn container_logs(&self, id: &str, options: &LogsOptions) -> Result<Body> {
        let path = Query::default()
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .text("since", &options.since)
            .text("until", &options.until)
            .flag("timestamps", options.timestamps)
            .flag("details", options.details)
            .flag("follow", options.follow)
            .text("tail", &options.tail)
            .on(at(id, "/logs")?);
        self.request(Method::GET, &path, Content::None).await
    }

    /// A container's processes, with the arguments given to `ps`.
    pub async fn container_top(&self, id: &str, arguments: &str) -> Result<TopResponse> {
        self.get(&Query::default().text("ps_args", arguments).on(at(id, "/top")?))
            .await
    }

    /// What a container uses, now and again if `follow`.
    pub async fn container_stats(&self, id: &str, follow: bool) -> Result<Messages<Stats>> {
        let path = Query::default()
            .with("stream", u8::from(follow))
            .on(at(id, "/stats")?);
        let body = self.request(Method::GET, &path, Content::None).await?;
        Ok(Messages::new(body))
    }

    /// What changed in a container's file system.
    pub async fn container_diff(&self, id: &str) -> Result<Option<Vec<FilesystemChange>>> {
        self.get(&at(id, "/changes")?).await
    }

    /// Changes the limits of a container.
    pub async fn container_update(&self, id: &str, update: &UpdateConfig) -> Result<UpdateResponse> {
        self.call(Method::POST, &at(id, "/update")?, Content::json(update))
            .await
    }

    /// Removes all stopped containers.
    pub async fn container_prune(&self, filters: &Filters) -> Result<PruneReport> {
        let path = Query::default()
            .filters(filters)
            .on("/containers/prune".to_owned());
        self.call(Method::POST, &path, Content::None).await
    }

    /// An engine says 304 where there was nothing to do.
    fn settled(&self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Engine { status: 304, .. }) => Ok(()),
            other => other,
        }
    }
}

fn stop_query(signal: &str, timeout: Option<i64>) -> Query {
    let query = Query::default().text("signal", signal);
    match timeout {
        Some(seconds) => query.with("t", seconds),
        None => query,
    }
}
