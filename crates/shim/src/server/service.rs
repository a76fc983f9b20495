//! The task service's methods: decoded, done, answered. Order of what is told: create, start, exit, delete.

use gantry_errdefs::Error;
use gantry_shim_api::SERVICES;
use gantry_shim_api::frame::Request;
use gantry_shim_api::messages as m;
use gantry_sys::epoll::event;
use gantry_sys::{process, socket};
use prost::Message;
use std::os::fd::AsFd;

use super::{ATTACH, OOM, Server};
use crate::process::State;
use crate::task::{Follow, Task};

/// The answer to a call; none when it comes later.
type Answer = Option<Result<Vec<u8>, Error>>;

fn decode<T: Message + Default>(request: &Request) -> Result<T, Error> {
    T::decode(request.payload.as_slice())
        .map_err(|error| Error::invalid(format!("failed to decode {}: {error}", request.method)))
}

fn empty() -> Vec<u8> {
    Vec::new()
}

impl Server {
    /// Handles one call.
    pub(super) fn handle(&mut self, token: u64, stream: u32, request: &Request) -> Answer {
        if !SERVICES.contains(&request.service.as_str()) {
            return Some(Err(Error::not_implemented(format!(
                "service {}",
                request.service
            ))));
        }
        // Whoever calls is there to hear what could not be told before.
        self.publisher.send();
        self.watch_publisher();
        match request.method.as_str() {
            "Wait" => self.wait(token, stream, request),
            method => Some(self.call(method, request)),
        }
    }

    fn task(&mut self) -> Result<&mut Task, Error> {
        let id = &self.id;
        self.task
            .as_mut()
            .ok_or_else(|| Error::not_found(format!("container {id} not created: not found")))
    }

    fn call(&mut self, method: &str, request: &Request) -> Result<Vec<u8>, Error> {
        match method {
            "Create" => self.create(&decode(request)?),
            "Start" => self.start(&decode(request)?),
            "State" => self.state(&decode(request)?),
            "Delete" => self.delete(&decode(request)?),
            "Exec" => self.exec(&decode(request)?),
            "Kill" => self.task()?.kill(&decode(request)?).map(|()| empty()),
            "Pause" => self.set_paused(true),
            "Resume" => self.set_paused(false),
            "ResizePty" => self.task()?.resize(&decode(request)?).map(|()| empty()),
            "CloseIO" => self.close_io(&decode(request)?),
            "Update" => self.task()?.update(&decode(request)?).map(|()| empty()),
            "Pids" => {
                let pids = self.task()?.pids()?;
                let processes = pids
                    .into_iter()
                    .map(|pid| m::ProcessInfo { pid, info: None })
                    .collect();
                Ok(m::PidsResponse { processes }.encode_to_vec())
            }
            "Stats" => {
                let stats = Some(self.task()?.stats()?);
                Ok(m::StatsResponse { stats }.encode_to_vec())
            }
            "Connect" => Ok(m::ConnectResponse {
                shim_pid: process::pid().unsigned_abs(),
                task_pid: self
                    .task
                    .as_ref()
                    .and_then(Task::init)
                    .map_or(0, |init| init.pid.unsigned_abs()),
                version: String::new(),
            }
            .encode_to_vec()),
            "Shutdown" => self.shutdown(&decode(request)?),
            other => Err(Error::not_implemented(format!("method {other}"))),
        }
    }

    fn create(&mut self, request: &m::CreateTaskRequest) -> Result<Vec<u8>, Error> {
        if self.task.is_some() {
            return Err(Error::already_exists(format!(
                "container {}: already exists",
                request.id
            )));
        }
        let attach = socket::listen(&self.bundle.join("attach.sock"))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Error::from(error).context("failed to make the attach socket"))?;
        let task = match Task::create(&self.namespace, request) {
            Ok(task) => task,
            Err(error) => {
                let _ = std::fs::remove_file(self.bundle.join("attach.sock"));
                return Err(error);
            }
        };
        self.epoll
            .add(attach.as_fd(), event::READ, ATTACH)
            .map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
        self.attach = Some(attach);
        let pid = task.init().map_or(0, |init| init.pid.unsigned_abs());
        self.oom = task
            .cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.watch_oom().ok().flatten());
        if let Some(watch) = &self.oom {
            let _ = self.epoll.add(watch.as_fd(), event::READ, OOM);
        }
        self.task = Some(task);
        self.watch_streams(0);
        let event = m::TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.clone(),
            io: Some(m::TaskIo {
                stdin: request.stdin.clone(),
                stdout: request.stdout.clone(),
                stderr: request.stderr.clone(),
                terminal: request.terminal,
            }),
            checkpoint: String::new(),
            pid,
        };
        self.publish("/tasks/create", "TaskCreate", &event);
        Ok(m::StartResponse { pid }.encode_to_vec())
    }

    fn start(&mut self, request: &m::StateRequest) -> Result<Vec<u8>, Error> {
        let (pid, follow) = self.task()?.start(&request.exec_id)?;
        let pid = pid.unsigned_abs();
        gantry_sys::trace::line(
            "shim",
            &format!(
                "process started pid={pid} id={} exec={}",
                self.id, request.exec_id
            ),
            None,
        );
        let container_id = self.id.clone();
        if request.exec_id.is_empty() {
            self.publish("/tasks/start", "TaskStart", &m::TaskStart { container_id, pid });
        } else {
            let exec_id = request.exec_id.clone();
            self.publish(
                "/tasks/exec-started",
                "TaskExecStarted",
                &m::TaskExecStarted {
                    container_id,
                    exec_id,
                    pid,
                },
            );
        }
        if let Follow::Watch(at) = follow {
            self.watch_streams(at);
        }
        Ok(m::StartResponse { pid }.encode_to_vec())
    }

    fn state(&mut self, request: &m::StateRequest) -> Result<Vec<u8>, Error> {
        let at = self.task()?.find(&request.exec_id)?;
        let process = self
            .task
            .as_ref()
            .and_then(|task| task.processes.get(&at))
            .ok_or_else(|| Error::not_found("process not found"))?;
        Ok(m::StateResponse {
            id: self.id.clone(),
            bundle: self.bundle.to_string_lossy().into_owned(),
            exec_id: process.exec_id.clone(),
            pid: process.pid.unsigned_abs(),
            status: process.state.number(),
            stdin: process.wanted.stdin.clone(),
            stdout: process.wanted.stdout.clone(),
            stderr: process.wanted.stderr.clone(),
            terminal: process.wanted.terminal,
            exit_status: if process.state == State::Stopped {
                process.exit_status()
            } else {
                0
            },
            exited_at: process.exited_at(),
        }
        .encode_to_vec())
    }

    fn delete(&mut self, request: &m::StateRequest) -> Result<Vec<u8>, Error> {
        let (answer, follow) = self.task()?.delete(&request.exec_id)?;
        if let Follow::Forget(at) = follow {
            self.end_clients(at);
        }
        if request.exec_id.is_empty() {
            self.task = None;
            self.oom = None;
            let event = m::TaskDelete {
                container_id: self.id.clone(),
                pid: answer.pid,
                exit_status: answer.exit_status,
                exited_at: answer.exited_at,
                id: String::new(),
            };
            self.publish("/tasks/delete", "TaskDelete", &event);
        }
        Ok(answer.encode_to_vec())
    }

    fn exec(&mut self, request: &m::ExecProcessRequest) -> Result<Vec<u8>, Error> {
        self.task()?.add(request)?;
        let event = m::TaskExecAdded {
            container_id: self.id.clone(),
            exec_id: request.exec_id.clone(),
        };
        self.publish("/tasks/exec-added", "TaskExecAdded", &event);
        Ok(empty())
    }

    fn set_paused(&mut self, paused: bool) -> Result<Vec<u8>, Error> {
        self.task()?.set_paused(paused)?;
        let event = m::TaskPaused {
            container_id: self.id.clone(),
        };
        match paused {
            true => self.publish("/tasks/paused", "TaskPaused", &event),
            false => self.publish("/tasks/resumed", "TaskResumed", &event),
        }
        Ok(empty())
    }

    fn close_io(&mut self, request: &m::CloseIoRequest) -> Result<Vec<u8>, Error> {
        if request.stdin {
            let at = self.task()?.close_input(&request.exec_id)?;
            self.flush_input(at);
        }
        Ok(empty())
    }

    /// Answers now if the process has ended, and otherwise when it does.
    fn wait(&mut self, token: u64, stream: u32, request: &Request) -> Answer {
        let mut later = || -> Result<Option<Vec<u8>>, Error> {
            let wanted: m::StateRequest = decode(request)?;
            let task = self.task()?;
            let at = task.find(&wanted.exec_id)?;
            let process = task
                .processes
                .get_mut(&at)
                .ok_or_else(|| Error::not_found("process not found"))?;
            if process.state == State::Stopped {
                let answer = m::WaitResponse {
                    exit_status: process.exit_status(),
                    exited_at: process.exited_at(),
                };
                return Ok(Some(answer.encode_to_vec()));
            }
            process.waiters.push((token, stream));
            Ok(None)
        };
        later().transpose()
    }

    fn shutdown(&mut self, request: &m::ShutdownRequest) -> Result<Vec<u8>, Error> {
        // With a container it goes on, unless told otherwise.
        self.done = self.task.is_none() || request.now;
        Ok(empty())
    }
}
