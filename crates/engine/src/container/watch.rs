//! The engine's ear: hears of every end, and after each outage of the supervisor asks for what it may have missed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gantry_errdefs::Kind;
use gantry_supervisor_core::Time;
use gantry_supervisor_core::event::TaskEvent;
use gantry_supervisor_core::task::{Exit, Status as TaskStatus};

use super::state::{Event, Status};
use super::{Container, Exec};
use crate::{Engine, Result, record};

/// The pauses between tries to reach the supervisor again: from this on, doubled up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// The back-off of restarts, as Docker's.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

impl Engine {
    /// Brings what is recorded to what is, then listens for ever.
    pub(crate) async fn watch(self: Arc<Self>, ready: tokio::sync::oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let mut pause = PAUSES.0;
        loop {
            match self.services.events.subscribe_tasks().await {
                Ok(mut events) => {
                    pause = PAUSES.0;
                    self.resync().await;
                    if let Some(ready) = ready.take() {
                        self.recover().await;
                        let _ = ready.send(());
                    }
                    while let Some(Ok(event)) = events.next().await {
                        self.heard(event.event).await;
                    }
                    tracing::info!("the supervisor is away");
                }
                Err(error) => {
                    tracing::debug!("subscribe: {}", error.chain());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn heard(&self, event: TaskEvent) {
        match event {
            TaskEvent::Exit {
                container_id,
                exec_id,
                pid,
                exit_status,
                exited_at,
            } => {
                let exit = Exit {
                    pid,
                    exit_status,
                    exited_at,
                };
                if exec_id.is_empty() {
                    if let Some(container) = self.all.get(&container_id) {
                        self.exited(&container, exit).await;
                    }
                } else if let Some(exec) = self.all.exec(&exec_id) {
                    self.exec_exited(&exec, exit).await;
                }
            }
            TaskEvent::Oom { container_id } => {
                if let Some(container) = self.all.get(&container_id) {
                    let changed = self
                        .change(&container, |record| record.state.oom_killed = true)
                        .await;
                    if let Ok(record) = changed {
                        self.tell(&record, "oom", &[]);
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks for everything that should run.
    async fn resync(&self) {
        for container in self.all.list() {
            self.check_exit(&container).await;
            let id = container.read(|record| record.id.clone());
            for exec in self.all.execs_of(&id) {
                self.check_exec(&exec).await;
            }
        }
    }

    /// Asks whether a container that should run has ended.
    pub(crate) async fn check_exit(&self, container: &Arc<Container>) {
        let record = container.record();
        if !record.state.status.is_running() {
            return;
        }
        let lost = Exit {
            pid: record.state.pid,
            exit_status: 255,
            exited_at: Time::now(),
        };
        match self.services.tasks.get(&record.id, "").await {
            Ok(process) if process.status == TaskStatus::Stopped => {
                let exited_at = process.exited_at.unwrap_or_else(Time::now);
                self.exited(
                    container,
                    Exit {
                        pid: process.pid,
                        exit_status: process.exit_status,
                        exited_at,
                    },
                )
                .await;
            }
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => self.exited(container, lost).await,
            Err(error) => tracing::debug!(id = record.id, "{}", error.chain()),
        }
    }

    async fn check_exec(&self, exec: &Arc<Exec>) {
        let record = exec.record();
        if !record.running {
            return;
        }
        let lost = Exit {
            pid: record.pid,
            exit_status: 255,
            exited_at: Time::now(),
        };
        match self.services.tasks.get(&record.container, &record.id).await {
            Ok(process) if process.status == TaskStatus::Stopped => {
                let exit = Exit {
                    pid: process.pid,
                    exit_status: process.exit_status,
                    exited_at: lost.exited_at,
                };
                self.exec_exited(exec, exit).await;
            }
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => self.exec_exited(exec, lost).await,
            Err(error) => tracing::debug!(id = record.id, "{}", error.chain()),
        }
    }

    /// A container has ended: recorded, then told, then tidied up after.
    pub(crate) async fn exited(&self, container: &Arc<Container>, exit: Exit) {
        let changed = self
            .change(container, |record| {
                let Some(next) = record.state.status.after(Event::Exit) else {
                    return;
                };
                let state = &mut record.state;
                state.status = next;
                state.pid = 0;
                state.exit_code = i64::from(exit.exit_status);
                state.finished_at = record::nanoseconds(exit.exited_at);
                state.exits += 1;
            })
            .await;
        let record = match changed {
            Ok(record)
                if record.state.status == Status::Exited
                    && record.state.finished_at == record::nanoseconds(exit.exited_at) =>
            {
                record
            }
            Ok(_) => return,
            Err(error) => {
                tracing::error!("failed to record an exit: {}", error.chain());
                return;
            }
        };
        self.tell(&record, "die", &[("exitCode", exit.exit_status.to_string())]);
        let Some(engine) = self.me.upgrade() else { return };
        let container = container.clone();
        let ended = record.state.exits;
        tokio::spawn(async move {
            let _operation = container.operation.lock().await;
            // Started again meanwhile, it has another task.
            let same =
                container.read(|record| record.state.exits == ended && !record.state.status.is_running());
            if !same || *container.changes.borrow() {
                return;
            }
            engine.clear_task(&record.id).await;
            if record.host.auto_remove {
                if let Err(error) = engine.remove(&container, true).await {
                    tracing::warn!(
                        id = record.id,
                        "failed to remove the container: {}",
                        error.chain()
                    );
                }
            } else if wants_restart(&record) {
                engine.restart_later(&container);
            }
        });
    }

    fn restart_later(&self, container: &Arc<Container>) {
        let Some(engine) = self.me.upgrade() else { return };
        let container = container.clone();
        tokio::spawn(async move {
            let restarts = container.read(|record| record.state.restarts);
            let pause = RESTART
                .0
                .saturating_mul(1 << restarts.clamp(0, 10))
                .min(RESTART.1);
            tokio::time::sleep(pause).await;
            let _operation = container.operation.lock().await;
            let wanted =
                container.read(|record| !record.state.stopped_by_user && !record.state.status.is_running());
            if !wanted || *container.changes.borrow() {
                return;
            }
            if engine
                .change(&container, |record| record.state.restarts += 1)
                .await
                .is_ok()
                && let Err(error) = engine.start(&container).await
            {
                tracing::warn!("failed to restart a container: {}", error.chain());
            }
        });
    }

    /// An exec has ended.
    pub(crate) async fn exec_exited(&self, exec: &Arc<Exec>, exit: Exit) {
        let before = exec.record();
        if !before.running {
            return;
        }
        let changed = self
            .change_exec(exec, |record| {
                record.running = false;
                record.exit_code = Some(i64::from(exit.exit_status));
            })
            .await;
        if let Err(error) = changed {
            tracing::error!("failed to record the exit of an exec: {}", error.chain());
        }
        let _ = self
            .services
            .tasks
            .delete_process(&before.container, &before.id)
            .await;
        if let Some(container) = self.all.get(&before.container) {
            let attributes = [("execID", before.id), ("exitCode", exit.exit_status.to_string())];
            self.tell(&container.record(), "exec_die", &attributes);
        }
    }

    /// Finishes what was under way when the engine ended.
    async fn recover(&self) {
        for container in self.all.list() {
            let record = container.record();
            if record.state.removing {
                self.finish_removal(&container).await;
            } else if !record.state.status.is_running() {
                // A start that was cut off has left a task; an end that was recorded may have left things to do.
                let _operation = container.operation.lock().await;
                match self.services.tasks.get(&record.id, "").await {
                    Ok(_) => self.clear_task(&record.id).await,
                    Err(_) => drop(crate::fail::gone(
                        self.services.containers.delete(&record.id).await,
                    )),
                }
                if record.host.auto_remove && record.state.exits > 0 {
                    self.remove_later(&container);
                } else if wants_restart(&record) && record.state.exits > 0 {
                    self.restart_later(&container);
                }
            }
        }
    }

    async fn finish_removal(&self, container: &Arc<Container>) {
        let _operation = container.operation.lock().await;
        if let Err(error) = self.remove(container, false).await {
            tracing::warn!("failed to finish a removal: {}", error.chain());
        }
    }

    /// Takes away snapshots, folders and tasks of containers that were never recorded, or are no more.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let is_id = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let folder = self.config.data_root.join("containers");
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_id(&name) && self.all.get(&name).is_none() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        for task in self.services.tasks.list().await? {
            if is_id(&task.container_id) && self.all.get(&task.container_id).is_none() {
                self.clear_task(&task.container_id).await;
            }
        }
        for info in self.services.snapshots.list("", &[]).await? {
            let active = info.kind == gantry_supervisor_core::snapshot::SnapshotKind::Active;
            if active && is_id(&info.name) && self.all.get(&info.name).is_none() {
                let _ = self.services.snapshots.remove("", &info.name).await;
            }
        }
        Ok(())
    }
}

/// Whether the policy wants a container that ended to be started again.
fn wants_restart(record: &record::Container) -> bool {
    let (policy, state) = (&record.host.restart_policy, &record.state);
    if state.stopped_by_user {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            state.exit_code != 0
                && (policy.maximum_retry_count == 0 || state.restarts < policy.maximum_retry_count)
        }
        _ => false,
    }
}
