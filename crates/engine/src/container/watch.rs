//! The engine's ear: hears of every end, and after each outage of the supervisor asks for what it may have missed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
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

/// When those are asked again who did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// After how long a run is no failure any more.
const STEADY: Duration = Duration::from_secs(10);

/// The exit code of a process of which nobody knows how it ended.
const LOST: u32 = 255;

/// Brings what is recorded to what is, says so, then listens as long as there is an engine.
pub(crate) async fn watch(engine: Weak<Engine>, ready: tokio::sync::oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut pause = PAUSES.0;
    loop {
        let subscribed = match engine.upgrade() {
            Some(engine) => engine.services.events.subscribe_tasks().await,
            None => return,
        };
        match subscribed {
            Ok(mut events) => {
                let Some(strong) = engine.upgrade() else { return };
                let mut all_known = strong.resync().await;
                if let Some(ready) = ready.take() {
                    strong.recover().await;
                    let _ = ready.send(());
                }
                drop(strong);
                let mut again = tokio::time::interval(ASK_AGAIN);
                again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    let event = tokio::select! {
                        event = events.next() => Some(event),
                        _ = again.tick(), if !all_known => None,
                    };
                    let Some(engine) = engine.upgrade() else { return };
                    match event {
                        Some(Some(Ok(event))) => {
                            pause = PAUSES.0;
                            engine.heard(event.event).await;
                        }
                        Some(_) => break,
                        None => all_known = engine.resync().await,
                    }
                }
                tracing::info!("the supervisor is away");
            }
            Err(error) => tracing::debug!("subscribe: {}", error.chain()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

impl Engine {
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

    /// Asks for everything that should run. False when not everything could be asked for.
    async fn resync(&self) -> bool {
        let mut all_known = true;
        for container in self.all.list() {
            all_known &= self.check_exit(&container).await;
            let id = container.read(|record| record.id.clone());
            for exec in self.all.execs_of(&id) {
                all_known &= self.check_exec(&exec).await;
            }
        }
        all_known
    }

    /// Asks whether a container that should run has ended. False when nobody knows.
    pub(crate) async fn check_exit(&self, container: &Arc<Container>) -> bool {
        let record = container.record();
        if !record.state.status.is_running() {
            return true;
        }
        let pid = record.state.pid;
        match self.services.tasks.get(&record.id, "").await {
            Ok(process) if process.status == TaskStatus::Stopped => {
                let exited_at = process.exited_at.unwrap_or_else(Time::now);
                let exit = Exit {
                    pid,
                    exit_status: process.exit_status,
                    exited_at,
                };
                self.exited(container, exit).await;
            }
            Ok(process) if process.status == TaskStatus::Unknown => return false,
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                let lost = Exit {
                    pid,
                    exit_status: LOST,
                    exited_at: Time::now(),
                };
                self.exited(container, lost).await;
            }
            Err(error) => {
                tracing::debug!(id = record.id, "{}", error.chain());
                return false;
            }
        }
        true
    }

    /// Asks what became of an exec that was begun. False when nobody knows.
    pub(crate) async fn check_exec(&self, exec: &Arc<Exec>) -> bool {
        let record = exec.record();
        if !record.started || record.exit_code.is_some() {
            return true;
        }
        let exit = |exit_status| Exit {
            pid: record.pid,
            exit_status,
            exited_at: Time::now(),
        };
        match self.services.tasks.get(&record.container, &record.id).await {
            Ok(process) if process.status == TaskStatus::Stopped => {
                self.exec_exited(exec, exit(process.exit_status)).await;
            }
            Ok(process) if process.status == TaskStatus::Running && !record.running => {
                let running = self.change_exec(exec, |record| {
                    record.pid = process.pid;
                    record.running = record.exit_code.is_none();
                    record.running
                });
                if let Err(error) = running.await {
                    tracing::error!("failed to record an exec: {}", error.chain());
                }
            }
            Ok(process) => return process.status != TaskStatus::Unknown,
            Err(error) if error.kind() == Kind::NotFound => self.exec_exited(exec, exit(LOST)).await,
            Err(error) => {
                tracing::debug!(id = record.id, "{}", error.chain());
                return false;
            }
        }
        true
    }

    /// A container has ended: recorded, then told, then tidied up after. Told again, or late of an earlier process, nothing
    /// happens.
    pub(crate) async fn exited(&self, container: &Arc<Container>, exit: Exit) {
        let mut again = false;
        let mut ran = Duration::ZERO;
        let changed = self.change_if(container, |record| {
            if exit.pid != 0 && record.state.pid != exit.pid {
                return false;
            }
            again = wants_restart(record, i64::from(exit.exit_status));
            let event = if again { Event::Fail } else { Event::Exit };
            let Some(next) = record.state.status.after(event) else {
                return false;
            };
            let state = &mut record.state;
            state.status = next;
            state.pid = 0;
            state.exit_code = i64::from(exit.exit_status);
            state.finished_at = record::nanoseconds(exit.exited_at);
            state.exits += 1;
            let nanoseconds = state.finished_at.saturating_sub(state.started_at);
            ran = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
            true
        });
        let record = match changed.await {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                tracing::error!("failed to record an exit: {}", error.chain());
                return;
            }
        };
        let attributes = [
            ("exitCode", exit.exit_status.to_string()),
            ("execDuration", ran.as_secs().to_string()),
        ];
        self.tell(&record, "die", &attributes);
        if ran >= STEADY {
            container.failures.store(0, Ordering::Relaxed);
        }
        let Some(engine) = self.me.upgrade() else { return };
        let container = container.clone();
        tokio::spawn(async move {
            let _operation = container.operation.lock().await;
            // Started again meanwhile, it has another task.
            let same =
                container.read(|now| now.state.exits == record.state.exits && !now.state.status.is_running());
            if !same || container.is_gone() {
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
            } else if again {
                engine.restart_later(&container);
            }
        });
    }

    /// Starts a container again after a while, unless something else happens to it until then.
    fn restart_later(&self, container: &Arc<Container>) {
        let me = self.me.clone();
        let container = container.clone();
        let moment =
            |container: &Container| container.read(|record| (record.state.exits, record.state.status));
        let now = moment(&container);
        tokio::spawn(async move {
            let failures = container.failures.fetch_add(1, Ordering::Relaxed);
            let pause = RESTART.0.saturating_mul(1 << failures.min(10)).min(RESTART.1);
            tokio::time::sleep(pause).await;
            let Some(engine) = me.upgrade() else { return };
            let _operation = container.operation.lock().await;
            if moment(&container) != now || container.is_gone() {
                return;
            }
            let counted = engine
                .change(&container, |record| record.state.restarts += 1)
                .await;
            if let Err(error) = counted {
                tracing::error!("failed to record a restart: {}", error.chain());
            } else if let Err(error) = engine.start(&container, false).await {
                tracing::warn!("failed to restart a container: {}", error.chain());
            }
        });
    }

    /// An exec has ended.
    pub(crate) async fn exec_exited(&self, exec: &Arc<Exec>, exit: Exit) {
        let changed = self
            .change_exec(exec, |record| {
                if record.exit_code.is_some() {
                    return false;
                }
                record.running = false;
                record.exit_code = Some(i64::from(exit.exit_status));
                true
            })
            .await;
        match changed {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!("failed to record the exit of an exec: {}", error.chain()),
        }
        let record = exec.record();
        let _ = self
            .services
            .tasks
            .delete_process(&record.container, &record.id)
            .await;
        if let Some(container) = self.all.get(&record.container) {
            let attributes = [("execID", record.id), ("exitCode", exit.exit_status.to_string())];
            self.tell(&container.record(), "exec_die", &attributes);
        }
    }

    /// Finishes what was under way when the engine ended.
    async fn recover(&self) {
        for container in self.all.list() {
            let record = container.record();
            if record.state.removing || self.is_half_made(&record).await {
                self.finish_removal(&container).await;
            } else if !record.state.status.is_running() {
                // A start that was cut off has left a task; an end that was recorded may have left things to do.
                let _operation = container.operation.lock().await;
                self.clear_task(&record.id).await;
                let ended = record.state.status == Status::Exited;
                // As Docker, which starts these with itself.
                let wanted = match record.host.restart_policy.name.as_str() {
                    "always" => ended,
                    "unless-stopped" => ended && !record.state.stopped_by_user,
                    _ => false,
                };
                if record.host.auto_remove && (record.state.exits > 0 || !record.state.error.is_empty()) {
                    self.remove_later(&container);
                } else if wanted || record.state.status == Status::Restarting {
                    self.restart_later(&container);
                }
            }
        }
    }

    /// Whether its making was cut off: the snapshot is what is made last.
    async fn is_half_made(&self, record: &record::Container) -> bool {
        if record.state.status != Status::Created || record.state.exits > 0 {
            return false;
        }
        let stat = self.services.snapshots.stat("", &record.id).await;
        stat.is_err_and(|error| error.kind() == Kind::NotFound)
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

/// Whether the policy wants a container that ended with `code` to be started again.
fn wants_restart(record: &record::Container, code: i64) -> bool {
    let (policy, state) = (&record.host.restart_policy, &record.state);
    if state.stopped_by_user || state.removing {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            code != 0 && (policy.maximum_retry_count == 0 || state.restarts < policy.maximum_retry_count)
        }
        _ => false,
    }
}
