//! Tasks without processes: they end when a test says so. The stores beside them are a real supervisor's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_supervisor_core::event::{Envelope, Events, TaskEvent, TimedTaskEvent};
use gantry_supervisor_core::task::{
    AttachStreams, Attachment, CreateTask, ExecTask, Exit, Pid, Process, Status, Tasks,
};
use gantry_supervisor_core::{Any, Error, Result, Services, Supervisor as _, Time};
use tokio::sync::{broadcast, watch};

use super::super::lock;

type Key = (String, String);

/// The tasks and events of a supervisor that a test can make do anything.
pub(super) struct Fake {
    processes: Mutex<HashMap<Key, Process>>,
    changes: watch::Sender<()>,
    told: Mutex<broadcast::Sender<TaskEvent>>,
    pids: AtomicU32,
    /// What the next create says instead of making a task.
    pub(super) refusal: Mutex<Option<Error>>,
}

impl Fake {
    /// The fake, and services that have it beside real stores below `root`.
    pub(super) async fn services(root: &std::path::Path) -> (Arc<Fake>, Services) {
        let supervisor = gantry_supervisor::Config::new(root.join("s"), root.join("r"))
            .open()
            .await
            .unwrap();
        let fake = Arc::new(Self {
            processes: Mutex::default(),
            changes: watch::Sender::new(()),
            told: Mutex::new(broadcast::Sender::new(64)),
            pids: AtomicU32::new(1000),
            refusal: Mutex::default(),
        });
        let mut services = supervisor.namespace("moby").unwrap();
        services.tasks = fake.clone();
        services.events = fake.clone();
        (fake, services)
    }

    fn change(&self, id: &str, exec_id: &str, change: impl FnOnce(&mut Process)) -> Result<Process> {
        let key = (id.to_owned(), exec_id.to_owned());
        let mut processes = lock(&self.processes);
        let process = processes
            .get_mut(&key)
            .ok_or_else(|| Error::not_found(format!("task {id} not found")))?;
        change(process);
        let process = process.clone();
        drop(processes);
        self.changes.send_replace(());
        Ok(process)
    }

    /// Ends a process without a word.
    pub(super) fn end_silently(&self, id: &str, code: u32) -> TaskEvent {
        let ended = self.change(id, "", |process| {
            process.status = Status::Stopped;
            process.exit_status = code;
            process.exited_at.get_or_insert_with(Time::now);
        });
        let ended = ended.unwrap();
        TaskEvent::Exit {
            container_id: ended.container_id,
            exec_id: ended.exec_id,
            pid: ended.pid,
            exit_status: ended.exit_status,
            exited_at: ended.exited_at.unwrap(),
        }
    }

    /// Ends a process and tells it.
    pub(super) fn end(&self, id: &str, code: u32) -> TaskEvent {
        let event = self.end_silently(id, code);
        self.tell(event.clone());
        event
    }

    pub(super) fn tell(&self, event: TaskEvent) {
        let _ = lock(&self.told).send(event);
    }

    /// Ends every subscription, as a supervisor that dies.
    pub(super) fn cut(&self) {
        *lock(&self.told) = broadcast::Sender::new(64);
    }

    pub(super) fn has(&self, id: &str) -> bool {
        lock(&self.processes).contains_key(&(id.to_owned(), String::new()))
    }
}

#[async_trait]
impl Tasks for Fake {
    async fn create(&self, request: CreateTask) -> Result<u32> {
        if let Some(error) = lock(&self.refusal).take() {
            return Err(error);
        }
        let pid = self.pids.fetch_add(1, Ordering::Relaxed);
        let process = Process {
            container_id: request.container_id.clone(),
            pid,
            status: Status::Created,
            stdio: request.stdio,
            ..Process::default()
        };
        let before = lock(&self.processes).insert((request.container_id.clone(), String::new()), process);
        assert!(before.is_none(), "a second task of {}", request.container_id);
        Ok(pid)
    }

    async fn start(&self, id: &str, exec_id: &str) -> Result<u32> {
        self.change(id, exec_id, |process| process.status = Status::Running)
            .map(|process| process.pid)
    }

    async fn delete(&self, id: &str) -> Result<Exit> {
        let process = self.change(id, "", |_| {})?;
        if process.status != Status::Stopped {
            return Err(Error::failed_precondition(format!("task {id} runs")));
        }
        lock(&self.processes).retain(|(task, _), _| task != id);
        Ok(Exit::default())
    }

    async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Exit> {
        lock(&self.processes).remove(&(id.to_owned(), exec_id.to_owned()));
        Ok(Exit::default())
    }

    async fn get(&self, id: &str, exec_id: &str) -> Result<Process> {
        self.change(id, exec_id, |_| {})
    }

    async fn list(&self) -> Result<Vec<Process>> {
        Ok(lock(&self.processes).values().cloned().collect())
    }

    async fn kill(&self, id: &str, exec_id: &str, signal: u32, _all: bool) -> Result<()> {
        let process = self.change(id, exec_id, |process| process.exit_status = 128 + signal)?;
        match process.status {
            Status::Stopped => return Err(Error::not_found("process already finished")),
            // It dies when it is thawed.
            Status::Paused => {}
            _ => drop(self.end(id, 128 + signal)),
        }
        Ok(())
    }

    async fn exec(&self, _request: ExecTask) -> Result<()> {
        Err(Error::not_implemented("exec"))
    }

    async fn resize_pty(&self, _id: &str, _exec_id: &str, _width: u32, _height: u32) -> Result<()> {
        Ok(())
    }

    async fn close_io(&self, _id: &str, _exec_id: &str) -> Result<()> {
        Ok(())
    }

    async fn pause(&self, id: &str) -> Result<()> {
        self.change(id, "", |process| process.status = Status::Paused)
            .map(drop)
    }

    async fn resume(&self, id: &str) -> Result<()> {
        let process = self.change(id, "", |process| process.status = Status::Running)?;
        if process.exit_status != 0 {
            self.end(id, process.exit_status);
        }
        Ok(())
    }

    async fn pids(&self, id: &str) -> Result<Vec<Pid>> {
        self.change(id, "", |_| {}).map(|process| {
            vec![Pid {
                pid: process.pid,
                details: None,
            }]
        })
    }

    async fn update(&self, _id: &str, _resources: Any) -> Result<()> {
        Ok(())
    }

    async fn metrics(&self, _id: &str) -> Result<Any> {
        Err(Error::not_implemented("metrics"))
    }

    async fn wait(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let mut changes = self.changes.subscribe();
        loop {
            let process = self.get(id, exec_id).await?;
            if process.status == Status::Stopped {
                return Ok(Exit {
                    pid: process.pid,
                    exit_status: process.exit_status,
                    ..Exit::default()
                });
            }
            changes.changed().await.unwrap();
        }
    }

    async fn attach(&self, _id: &str, _exec_id: &str, _streams: AttachStreams) -> Result<Attachment> {
        let (ours, _) = tokio::net::UnixStream::pair()?;
        Ok(Attachment {
            terminal: false,
            stream: ours,
        })
    }
}

#[async_trait]
impl Events for Fake {
    async fn subscribe(&self, _filters: &[String]) -> Result<BoxStream<'static, Result<Envelope>>> {
        Err(Error::not_implemented("subscribe"))
    }

    async fn subscribe_tasks(&self) -> Result<BoxStream<'static, Result<TimedTaskEvent>>> {
        let told = tokio_stream::wrappers::BroadcastStream::new(lock(&self.told).subscribe());
        let timed = |event: std::result::Result<_, _>| match event {
            Ok(event) => Ok(TimedTaskEvent {
                timestamp: Time::now(),
                event,
            }),
            Err(_) => Err(Error::unavailable("too slow")),
        };
        Ok(told.map(timed).boxed())
    }

    async fn publish(&self, _topic: &str, _event: Any) -> Result<()> {
        Ok(())
    }

    async fn forward(&self, _envelope: Envelope) -> Result<()> {
        Ok(())
    }
}
