//! What happens to processes, done and told: their ends, the events, those who wait.

use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use gantry_cgroups::Oom;
use gantry_shim_api::messages as m;
use gantry_sys::epoll::event;
use prost::Message;

use super::jobs::Purpose;
use super::{DRAIN, PUBLISHER, Server, log};
use crate::bundle;
use crate::process::{Effect, Event, Told};

impl Server {
    /// Publishes an event.
    pub(super) fn publish(&mut self, topic: &str, name: &str, message: &impl Message) {
        self.publisher.publish(topic, name, message);
        self.watch_publisher();
    }

    /// A connection that was made is watched, one that is new too.
    pub(super) fn watch_publisher(&mut self) {
        if let Some(connection) = self.publisher.watched() {
            // That it is watched already is no error.
            let _ = self.epoll.add(connection, event::READ, PUBLISHER);
        }
    }

    /// A process has ended.
    pub(super) fn exited(&mut self, at: usize, status: u32, when: SystemTime) {
        let Some(task) = &mut self.task else { return };
        let Some(process) = task.processes.get_mut(&at) else {
            return;
        };
        let Ok((life, effects)) = process.life.apply(Event::Exited) else {
            return;
        };
        process.life = life;
        process.exit = Some((status, when));
        if at == 0 && !task.own_pids {
            let runtime = task.runtime.clone();
            let command = runtime.kill(9, true);
            self.begin(runtime, (command, "kill"), None, Purpose::KillRest);
        }
        self.follow(at, effects);
        self.settle(at);
    }

    /// Once all output of an ended process is out, its end is recorded and then told.
    pub(super) fn settle(&mut self, at: usize) {
        let process = self.task.as_mut().and_then(|task| task.processes.get_mut(&at));
        let Some(process) = process else { return };
        let late = process
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if !(process.streams.is_drained() || late) {
            return;
        }
        let Ok((life, effects)) = process.life.apply(Event::Drained) else {
            return;
        };
        process.life = life;
        process.deadline = None;
        for stream in 0..2 {
            let output = process.streams.outputs[stream].as_ref();
            if let Some(source) = output.and_then(|output| output.source.as_ref()) {
                self.epoll.remove(source.as_fd());
            }
            process.streams.end(stream);
        }
        if let Some(input) = process.streams.input.take() {
            self.epoll.remove(input.fd.as_fd());
        }
        process.streams.log = None;
        self.follow(at, effects);
    }

    /// Does what follows from what happened to a process.
    pub(super) fn follow(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                // Its command is its caller's business.
                Effect::Run(_) => {}
                Effect::Drain => {
                    let process = self.task.as_mut().and_then(|task| task.processes.get_mut(&at));
                    if let Some(process) = process {
                        process.deadline = Some(Instant::now() + DRAIN);
                    }
                    self.hold(at);
                }
                Effect::Record => {
                    // Why it was killed comes before that it was.
                    self.check_memory();
                    self.record(at);
                }
                Effect::Tell(what) => self.tell(at, what),
                Effect::Forget => {
                    self.end_clients(at);
                    if at == 0 {
                        self.task = None;
                        self.oom = None;
                        self.attach = None;
                        let _ = std::fs::remove_file(self.bundle.join("attach.sock"));
                    } else if let Some(task) = &mut self.task {
                        task.processes.remove(&at);
                    }
                }
            }
        }
    }

    fn record(&self, at: usize) {
        let process = self.task.as_ref().and_then(|task| task.processes.get(&at));
        if let Some((process, (status, when))) = process.and_then(|process| Some((process, process.exit?)))
            && let Err(error) = bundle::record_exit(&self.bundle, process.pid.unsigned_abs(), status, when)
        {
            log(&format!("failed to record the exit: {error}"));
        }
    }

    fn tell(&mut self, at: usize, what: Told) {
        let process = self.task.as_mut().and_then(|task| task.processes.get_mut(&at));
        let Some(process) = process else { return };
        let container_id = self.id.clone();
        let exec_id = process.exec_id.clone();
        let pid = process.pid.unsigned_abs();
        match what {
            Told::Started => {
                let message = format!("process started pid={pid} id={container_id} exec={exec_id}");
                gantry_sys::trace::line("shim", &message, None);
                match at {
                    0 => self.publish("/tasks/start", "TaskStart", &m::TaskStart { container_id, pid }),
                    _ => self.publish(
                        "/tasks/exec-started",
                        "TaskExecStarted",
                        &m::TaskExecStarted {
                            container_id,
                            exec_id,
                            pid,
                        },
                    ),
                }
            }
            Told::Paused => self.publish("/tasks/paused", "TaskPaused", &m::TaskPaused { container_id }),
            Told::Resumed => self.publish("/tasks/resumed", "TaskResumed", &m::TaskResumed { container_id }),
            Told::Exited => {
                let exit = process.exit();
                let waiters = std::mem::take(&mut process.waiters);
                let message = format!("exit pid={pid} status={} id={container_id}", exit.exit_status);
                gantry_sys::trace::line("shim", &message, None);
                self.end_clients(at);
                for waiter in waiters {
                    self.answer(waiter, Ok(exit.encode_to_vec()));
                }
                let event = m::TaskExit {
                    id: if at == 0 { container_id.clone() } else { exec_id },
                    container_id,
                    pid,
                    exit_status: exit.exit_status,
                    exited_at: exit.exited_at,
                };
                self.publish("/tasks/exit", "TaskExit", &event);
            }
            Told::Deleted => {
                let event = m::TaskDelete {
                    container_id,
                    pid,
                    exit_status: process.exit_status(),
                    exited_at: process.exited_at(),
                    id: exec_id,
                };
                self.publish("/tasks/delete", "TaskDelete", &event);
            }
        }
    }

    /// Tells of a kill for want of memory, also of one that the loop has not come to yet.
    pub(super) fn check_memory(&mut self) {
        let Some(watch) = &mut self.oom else { return };
        match watch.take() {
            Oom::Nothing => {}
            Oom::Killed => {
                let event = m::TaskOom {
                    container_id: self.id.clone(),
                };
                self.publish("/tasks/oom", "TaskOOM", &event);
            }
            Oom::Gone => {
                // This watch would be ready for ever.
                self.epoll.remove(watch.as_fd());
                self.oom = None;
            }
        }
    }
}
