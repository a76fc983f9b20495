//! Ending and halting: stop, kill, restart, pause, rename.

use std::sync::Arc;
use std::time::Duration;

use gantry_errdefs::Error;

use super::Container;
use super::state::{Event, Status};
use crate::{Engine, Result, fail, names};

/// How long a stop waits when nobody says.
const PATIENCE: i64 = 10;

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(30);

const KILL: u32 = 9;
const TERM: u32 = 15;

/// The number of a signal by any of its names.
fn signal(text: &str) -> Result<u32> {
    let parsed = gantry_opts::signal::parse(text)
        .ok()
        .and_then(|number| u32::try_from(number).ok());
    parsed.ok_or_else(|| Error::invalid(format!("Invalid signal: {text}")))
}

impl Engine {
    /// Stops a container: its signal, and after the time-out SIGKILL.
    pub async fn container_stop(&self, reference: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
        let container = self.find(reference)?;
        if !container.read(|record| record.state.status.is_running()) {
            return Err(Error::not_modified("container is already stopped"));
        }
        self.stop(&container, timeout, signal).await?;
        self.tell(&container.record(), "stop", &[]);
        Ok(())
    }

    pub(crate) async fn stop(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        name: &str,
    ) -> Result<()> {
        let record = container.record();
        let name = [name, record.config.stop_signal.as_str()]
            .into_iter()
            .find(|name| !name.is_empty());
        let number = name.map_or(Ok(TERM), signal)?;
        let patience = timeout.or(record.config.stop_timeout).unwrap_or(PATIENCE);
        self.change(container, |record| record.state.stopped_by_user = true)
            .await?;
        if record.state.status == Status::Paused {
            // Frozen, it would not hear.
            self.services.tasks.resume(&record.id).await.map_err(fail::flat)?;
            self.change(container, |record| record.state.status = Status::Running)
                .await?;
        }
        self.signal(container, number).await?;
        let patience = match patience {
            forever if forever < 0 => Duration::MAX,
            seconds => Duration::from_secs(seconds.unsigned_abs()),
        };
        if !self.wait_stopped(container, patience).await {
            self.signal(container, KILL).await?;
            if !self.wait_stopped(container, DEATH).await {
                return Err(Error::internal(format!(
                    "container {} did not end after SIGKILL",
                    record.id
                )));
            }
        }
        Ok(())
    }

    /// Sends a signal. A process that is gone already is no error: its end is on its way.
    async fn signal(&self, container: &Arc<Container>, number: u32) -> Result<()> {
        let id = container.read(|record| record.id.clone());
        fail::gone(self.services.tasks.kill(&id, "", number, false).await).map_err(fail::flat)?;
        self.tell(&container.record(), "kill", &[("signal", number.to_string())]);
        self.check_exit(container).await;
        Ok(())
    }

    async fn wait_stopped(&self, container: &Container, limit: Duration) -> bool {
        let mut changes = container.changes.subscribe();
        let stopped = async {
            while container.read(|record| record.state.status.is_running()) {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        match limit == Duration::MAX {
            true => {
                stopped.await;
                true
            }
            false => tokio::time::timeout(limit, stopped).await.is_ok(),
        }
    }

    /// Stops and starts again.
    pub async fn container_restart(&self, reference: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
        let container = self.find(reference)?;
        let _operation = container.operation.lock().await;
        if container.read(|record| record.state.status.is_running()) {
            self.stop(&container, timeout, signal).await?;
        }
        self.start(&container).await?;
        self.tell(&container.record(), "restart", &[]);
        Ok(())
    }

    /// Sends a signal; SIGKILL is waited for.
    pub async fn container_kill(&self, reference: &str, name: &str) -> Result<()> {
        let number = if name.is_empty() { KILL } else { signal(name)? };
        let container = self.find(reference)?;
        let record = container.record();
        if !record.state.status.is_running() {
            return Err(Error::failed_precondition(format!(
                "cannot kill container: {reference}: container {} is not running",
                record.id
            )));
        }
        if number == KILL {
            self.change(&container, |record| record.state.stopped_by_user = true)
                .await?;
        }
        self.signal(&container, number).await?;
        if number == KILL {
            self.wait_stopped(&container, DEATH).await;
        }
        Ok(())
    }

    /// Stops every process where it is.
    pub async fn container_pause(&self, reference: &str) -> Result<()> {
        let container = self.find(reference)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        if record.state.status == Status::Paused {
            return Err(Error::failed_precondition(format!(
                "container {} is already paused",
                record.id
            )));
        }
        let next = record
            .state
            .status
            .after(Event::Pause)
            .ok_or_else(|| fail::not_running(&record.id))?;
        self.services.tasks.pause(&record.id).await.map_err(fail::flat)?;
        let record = self
            .change(&container, |record| record.state.status = next)
            .await?;
        self.tell(&record, "pause", &[]);
        Ok(())
    }

    /// Lets them go on.
    pub async fn container_unpause(&self, reference: &str) -> Result<()> {
        let container = self.find(reference)?;
        let _operation = container.operation.lock().await;
        let record = container.record();
        let next = record.state.status.after(Event::Unpause);
        let next =
            next.ok_or_else(|| Error::failed_precondition(format!("Container {} is not paused", record.id)))?;
        self.services.tasks.resume(&record.id).await.map_err(fail::flat)?;
        let record = self
            .change(&container, |record| record.state.status = next)
            .await?;
        self.tell(&record, "unpause", &[]);
        Ok(())
    }

    /// Gives a container another name.
    pub async fn container_rename(&self, reference: &str, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.find(reference)?;
        let name = names::validate(name)?.to_owned();
        let _operation = container.operation.lock().await;
        let before = container.read(|record| record.name.clone());
        if before == name {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        let record = self.change(&container, move |record| record.name = name).await?;
        self.tell(&record, "rename", &[("oldName", format!("/{before}"))]);
        Ok(())
    }

    /// Sets the size of a container's terminal.
    pub async fn container_resize(&self, reference: &str, height: u32, width: u32) -> Result<()> {
        let record = self.find(reference)?.record();
        if !record.state.status.is_running() {
            return Err(fail::not_running(&record.id));
        }
        self.services
            .tasks
            .resize_pty(&record.id, "", width, height)
            .await
            .map_err(fail::flat)
    }
}
