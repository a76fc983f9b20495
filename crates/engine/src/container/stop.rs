//! Ending and halting: stop, kill, restart, pause, rename.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_errdefs::{Error, Kind};

use super::Container;
use super::state::{Event, Status};
use crate::{Engine, Result, fail, names};

/// How long a stop waits when nobody says.
const PATIENCE: i64 = 10;

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(30);

/// The pauses between tries to reach a supervisor that is away: from this on, doubled, this often.
const AWAY: (Duration, u32) = (Duration::from_millis(20), 8);

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
        if !container.read(|record| record.state.status.is_up()) {
            return Err(Error::not_modified("container is already stopped"));
        }
        let signal = signal.to_owned();
        self.whole(async move |engine| {
            let waits = container.read(|record| record.state.status == Status::Restarting);
            engine.stop(&container, timeout, &signal).await?;
            // Its policy's start may have been under way, and made a process after all.
            let started = waits && {
                let _operation = container.operation.lock().await;
                container.read(|record| record.state.status.is_running())
            };
            if started {
                engine.stop(&container, timeout, &signal).await?;
            }
            engine.tell(&container.record(), "stop", &[]);
            Ok(())
        })
        .await
    }

    pub(crate) async fn stop(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        name: &str,
    ) -> Result<()> {
        let name = container.read(|record| match name {
            "" => record.config.stop_signal.clone(),
            name => name.to_owned(),
        });
        let number = if name.is_empty() { TERM } else { signal(&name)? };
        let record = self.change(container, |record| record.state.give_up()).await?;
        if !record.state.status.is_running() {
            return Ok(());
        }
        self.signal(container, number).await?;
        self.thaw(container).await?;
        let patience = match timeout.or(record.config.stop_timeout).unwrap_or(PATIENCE) {
            forever if forever < 0 => Duration::MAX,
            seconds => Duration::from_secs(seconds.unsigned_abs()),
        };
        if self.wait_stopped(container, patience).await {
            return Ok(());
        }
        self.kill_and_wait(container).await
    }

    /// Ends a running container at once.
    pub(super) async fn kill_and_wait(&self, container: &Arc<Container>) -> Result<()> {
        self.signal(container, KILL).await?;
        self.thaw(container).await?;
        if self.wait_stopped(container, DEATH).await {
            return Ok(());
        }
        let id = container.read(|record| record.id.clone());
        Err(Error::internal(format!(
            "tried to kill container, but did not receive an exit event: container {id}"
        )))
    }

    /// A frozen process hears of no signal until it is thawed.
    async fn thaw(&self, container: &Arc<Container>) -> Result<()> {
        if !container.read(|record| record.state.status == Status::Paused) {
            return Ok(());
        }
        let id = container.read(|record| record.id.clone());
        fail::gone(self.services.tasks.resume(&id).await).map_err(fail::flat)?;
        let thawed = self
            .change_if(container, |record| {
                match record.state.status.after(Event::Unpause) {
                    Some(next) => {
                        record.state.status = next;
                        true
                    }
                    None => false,
                }
            })
            .await?;
        if let Some(record) = thawed {
            self.tell(&record, "unpause", &[]);
        }
        Ok(())
    }

    /// Sends a signal. A process that is gone already is no error: its end is on its way.
    async fn signal(&self, container: &Arc<Container>, number: u32) -> Result<()> {
        let record = container.record();
        let mut pause = AWAY.0;
        for attempt in 0.. {
            match fail::gone(self.services.tasks.kill(&record.id, "", number, false).await) {
                // A supervisor that is being started again is back soon.
                Err(error) if error.kind() == Kind::Unavailable && attempt < AWAY.1 => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    let error = fail::flat(error);
                    let message = format!("cannot kill container: {}: {}", record.id, error.message());
                    return Err(Error::new(error.kind(), message));
                }
                Ok(()) => break,
            }
        }
        self.tell(&record, "kill", &[("signal", number.to_string())]);
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
        let (reference, signal) = (reference.to_owned(), signal.to_owned());
        self.whole(async move |engine| {
            let _operation = container.hold(&reference).await?;
            if container.read(|record| record.state.status.is_up()) {
                engine.stop(&container, timeout, &signal).await?;
            }
            container.failures.store(0, Ordering::Relaxed);
            engine.start(&container, true).await.map_err(|error| {
                let message = format!("Cannot restart container {reference}: {}", error.message());
                Error::new(error.kind(), message)
            })?;
            engine.tell(&container.record(), "restart", &[]);
            Ok(())
        })
        .await
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
        self.whole(async move |engine| {
            let ends = match record.config.stop_signal.as_str() {
                "" => true,
                name => number == KILL || signal(name).is_ok_and(|stop| stop == number),
            };
            if ends {
                engine
                    .change(&container, |record| record.state.stopped_by_user = true)
                    .await?;
            }
            match (number, ends) {
                (KILL, _) => engine.kill_and_wait(&container).await,
                (_, true) => {
                    engine.signal(&container, number).await?;
                    engine.thaw(&container).await
                }
                (_, false) => engine.signal(&container, number).await,
            }
        })
        .await
    }

    /// Stops every process where it is.
    pub async fn container_pause(&self, reference: &str) -> Result<()> {
        let container = self.find(reference)?;
        self.whole(async move |engine| {
            let _operation = container.operation.lock().await;
            let record = container.record();
            if record.state.status == Status::Paused {
                return Err(Error::failed_precondition(format!(
                    "Container {} is already paused",
                    record.id
                )));
            }
            if record.state.status == Status::Restarting {
                return Err(fail::restarting(&record.id));
            }
            let next = record.state.status.after(Event::Pause);
            let next = next.ok_or_else(|| fail::not_running(&record.id))?;
            let paused = engine.services.tasks.pause(&record.id).await;
            paused.map_err(|error| fail::during(&format!("cannot pause container {}", record.id), error))?;
            let paused = engine.change_if(&container, |record| {
                let running = record.state.status == Status::Running;
                record.state.status = if running { next } else { record.state.status };
                running
            });
            if let Some(record) = paused.await? {
                engine.tell(&record, "pause", &[]);
            }
            Ok(())
        })
        .await
    }

    /// Lets them go on.
    pub async fn container_unpause(&self, reference: &str) -> Result<()> {
        let container = self.find(reference)?;
        self.whole(async move |engine| {
            let _operation = container.operation.lock().await;
            let record = container.record();
            if record.state.status != Status::Paused {
                return Err(Error::internal(format!("Container {} is not paused", record.id)));
            }
            engine
                .thaw(&container)
                .await
                .map_err(|error| fail::during(&format!("cannot resume container {}", record.id), error))
        })
        .await
    }

    /// Gives a container another name.
    pub async fn container_rename(&self, reference: &str, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.find(reference)?;
        let name = names::validate(name)?.to_owned();
        self.whole(async move |engine| {
            let _operation = container.operation.lock().await;
            let before = container.read(|record| record.name.clone());
            if before == name {
                return Err(Error::invalid(
                    "Renaming a container with the same name as its current name",
                ));
            }
            let record = engine
                .change(&container, move |record| record.name = name)
                .await?;
            engine.tell(&record, "rename", &[("oldName", format!("/{before}"))]);
            Ok(())
        })
        .await
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
