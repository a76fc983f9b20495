//! Calls of the API that later work builds: each says so.

use futures_util::stream::BoxStream;
use gantry_api_types::container::{Stats, TopResponse, UpdateConfig, UpdateResponse};
use gantry_errdefs::Error;

use crate::{Engine, Result};

fn unbuilt(what: &str) -> Error {
    Error::not_implemented(format!("{what} is not implemented by this engine yet"))
}

impl Engine {
    /// Resource use.
    pub async fn container_stats(
        &self,
        reference: &str,
        _stream: bool,
        _one_shot: bool,
    ) -> Result<BoxStream<'static, Stats>> {
        self.find(reference)?;
        Err(unbuilt("stats"))
    }

    /// Changes of limits.
    pub async fn container_update(&self, reference: &str, _update: UpdateConfig) -> Result<UpdateResponse> {
        self.find(reference)?;
        Err(unbuilt("update"))
    }

    /// The processes of a container, as `ps` shows them.
    pub async fn container_top(&self, reference: &str, ps_args: &str) -> Result<TopResponse> {
        let container = self.find(reference)?;
        let record = container.record();
        if !record.state.status.is_running() {
            return Err(crate::fail::not_running(&record.id));
        }
        let pids = self.services.tasks.pids(&record.id).await?;
        let args: Vec<String> = ps_args.split_whitespace().map(str::to_owned).collect();
        let output = tokio::process::Command::new("ps").args(&args).output().await;
        let output = output.map_err(|error| Error::internal(format!("error running ps: {error}")))?;
        if !output.status.success() {
            return Err(Error::invalid(format!(
                "ps: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let titles: Vec<String> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let column = titles.iter().position(|title| title == "PID");
        let column = column.ok_or_else(|| Error::invalid("Couldn't find PID field in ps output"))?;
        let row = |line: &str| {
            // The last column may contain spaces.
            let mut rest = line.trim_start();
            let mut fields = Vec::new();
            while fields.len() + 1 < titles.len() {
                let (field, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                fields.push(field.to_owned());
                rest = after.trim_start();
            }
            fields.push(rest.to_owned());
            fields
        };
        let processes = lines.map(row).filter(|fields| {
            fields
                .get(column)
                .and_then(|pid| pid.parse().ok())
                .is_some_and(|pid: u32| pids.contains(&pid))
        });
        Ok(TopResponse {
            processes: processes.collect(),
            titles: titles.clone(),
        })
    }
}
