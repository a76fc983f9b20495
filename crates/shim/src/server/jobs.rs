//! Calls of the runtime under way, and what follows when one ends. Nothing waits for them but those whose call they serve:
//! meanwhile output flows, clients attach and signals are sent.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use gantry_errdefs::Error;
use gantry_shim_api::messages as m;
use gantry_sys::epoll::event;
use gantry_sys::{process, socket};
use prost::Message;

use super::connections::Caller;
use super::{ATTACH, OOM, Server};
use crate::mounts;
use crate::process::{Call, Event, State};
use crate::runtime::{Running, Runtime};
use crate::stdio::Wanted;
use crate::task::{Making, Process, Task};

/// A container that is being made.
pub(super) struct Creation {
    task: Task,
    process: Process,
    making: Option<Making>,
    attach: Option<UnixListener>,
    request: m::CreateTaskRequest,
}

/// What a call is for.
pub(super) enum Purpose {
    Create(Box<Creation>),
    /// Take away what a failed create has left; the answer is what it failed with.
    Undo(Box<Creation>, Error),
    /// What a process was asked for.
    Process {
        at: usize,
        call: Call,
        making: Option<Making>,
    },
    Kill,
    /// End what outlives the first process.
    KillRest,
}

/// A call of the runtime under way.
pub(super) struct Job {
    runtime: Runtime,
    running: Running,
    caller: Option<Caller>,
    purpose: Purpose,
}

impl Purpose {
    /// Whether a process comes of it that may end before the call does.
    fn makes(&self) -> bool {
        match self {
            Purpose::Create(_) => true,
            Purpose::Process { making, .. } => making.is_some(),
            _ => false,
        }
    }
}

impl Server {
    /// Begins a call of the runtime. One that cannot begin has ended.
    pub(super) fn begin(
        &mut self,
        runtime: Runtime,
        (command, verb): (Command, &'static str),
        caller: Option<Caller>,
        purpose: Purpose,
    ) {
        match runtime.spawn(command, verb, self.jobs.is_empty()) {
            Ok(running) => {
                let job = Job {
                    runtime,
                    running,
                    caller,
                    purpose,
                };
                self.jobs.insert(job.running.pid, job);
            }
            Err(error) => self.ended(caller, purpose, Err(error)),
        }
    }

    /// Children have ended: calls of the runtime, ours, and orphans of the container, which are only reaped.
    pub(super) fn reap(&mut self) {
        while let Some(ended) = process::reap_any() {
            let now = SystemTime::now();
            if let Some(job) = self.jobs.remove(&ended.pid) {
                let outcome = job.runtime.outcome(&job.running, ended.status);
                self.ended(job.caller, job.purpose, outcome);
                continue;
            }
            let status = ended.status.unsigned_abs();
            let known = self.task.as_ref().and_then(|task| {
                let mut processes = task.processes.iter();
                processes.find(|(_, process)| process.pid == ended.pid && process.exit.is_none())
            });
            match known.map(|(at, _)| *at) {
                Some(at) => self.exited(at, status, now),
                // It may be one that a call has made which has not ended yet.
                None if self.jobs.values().any(|job| job.purpose.makes()) => {
                    self.early.push((ended.pid, status, now));
                }
                None => {}
            }
        }
        if !self.jobs.values().any(|job| job.purpose.makes()) {
            self.early = Vec::new();
        }
    }

    /// A process that has just become known may have ended already.
    fn claim(&mut self, at: usize, pid: i32) {
        if let Some(found) = self.early.iter().position(|(early, _, _)| *early == pid) {
            let (_, status, when) = self.early.swap_remove(found);
            self.exited(at, status, when);
        }
    }

    fn ended(&mut self, caller: Option<Caller>, purpose: Purpose, outcome: Result<(), Error>) {
        match purpose {
            Purpose::Create(creation) => self.created(caller, *creation, outcome),
            Purpose::Undo(creation, error) => self.undone(caller, &creation, error),
            Purpose::Process { at, call, making } => self.process_answered(caller, at, call, making, outcome),
            Purpose::Kill | Purpose::KillRest => {
                if let Some(caller) = caller {
                    self.answer(caller, outcome.map(|()| Vec::new()));
                }
            }
        }
    }

    /// Begins to make the container.
    pub(super) fn create(&mut self, caller: Caller, request: m::CreateTaskRequest) -> Result<(), Error> {
        if self.task.is_some() || self.creating {
            return Err(Error::already_exists(format!(
                "container {}: already exists",
                request.id
            )));
        }
        if !request.checkpoint.is_empty() {
            return Err(Error::not_implemented("restoring a checkpoint: not implemented"));
        }
        let wanted = Wanted {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let path = self.bundle.join("attach.sock");
        let _ = std::fs::remove_file(&path);
        let attach = socket::listen(&path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Error::from(error).context("failed to make the attach socket"))?;
        let prepared = Task::new(&self.namespace, &request).and_then(|task| {
            task.link_attach(&path)?;
            mounts::make(&task.bundle.join("rootfs"), &request.rootfs)?;
            let made = task.make_first(&wanted, self.console())?;
            Ok((task, made))
        });
        let (task, (command, making)) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let _ = mounts::remove(&self.bundle.join("rootfs"));
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
        };
        self.creating = true;
        let runtime = task.runtime.clone();
        let creation = Creation {
            task,
            process: Process::new("", wanted),
            making: Some(making),
            attach: Some(attach),
            request,
        };
        let purpose = Purpose::Create(Box::new(creation));
        self.begin(runtime, (command, "create"), Some(caller), purpose);
        Ok(())
    }

    fn created(&mut self, caller: Option<Caller>, mut creation: Creation, outcome: Result<(), Error>) {
        let making = creation.making.take();
        let made = outcome.and_then(|()| {
            let making = making.ok_or_else(|| Error::internal("nothing was made"))?;
            let made = making.finish(&creation.process.wanted)?;
            if let Some(attach) = &creation.attach {
                let watched = self.epoll.add(attach.as_fd(), event::READ, ATTACH);
                watched.map_err(|error| Error::internal(gantry_errdefs::chain(&error)))?;
            }
            Ok(made)
        });
        let (pid, streams) = match made {
            Ok(made) => made,
            Err(error) => {
                let runtime = creation.task.runtime.clone();
                let command = runtime.delete(true);
                let purpose = Purpose::Undo(Box::new(creation), error);
                return self.begin(runtime, (command, "delete"), caller, purpose);
            }
        };
        let Creation {
            mut task,
            mut process,
            attach,
            request,
            ..
        } = creation;
        (process.pid, process.streams) = (pid, streams);
        task.learn();
        task.processes.insert(0, process);
        self.oom = task
            .cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.watch_oom().ok().flatten());
        if let Some(watch) = &self.oom {
            let _ = self.epoll.add(watch.as_fd(), event::READ, OOM);
        }
        self.attach = attach;
        self.task = Some(task);
        self.creating = false;
        self.watch_streams(0);
        let pid = pid.unsigned_abs();
        let event = m::TaskCreate {
            container_id: request.id,
            bundle: request.bundle,
            rootfs: request.rootfs,
            io: Some(m::TaskIo {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            }),
            checkpoint: request.checkpoint,
            pid,
        };
        self.publish("/tasks/create", "TaskCreate", &event);
        if let Some(caller) = caller {
            self.answer(caller, Ok(m::CreateTaskResponse { pid }.encode_to_vec()));
        }
        self.claim(0, pid.cast_signed());
    }

    fn undone(&mut self, caller: Option<Caller>, creation: &Creation, error: Error) {
        if let Err(left) = mounts::remove(&creation.task.bundle.join("rootfs")) {
            super::log(&left.chain());
        }
        let _ = std::fs::remove_file(self.bundle.join("attach.sock"));
        self.creating = false;
        if let Some(caller) = caller {
            self.answer(caller, Err(error));
        }
    }

    /// Begins what a process is asked for.
    pub(super) fn begin_for(
        &mut self,
        caller: Caller,
        at: usize,
        call: Call,
        update: Option<Command>,
    ) -> Result<(), Error> {
        let console = self.console();
        let id = self.id.clone();
        let Some(task) = &self.task else {
            return Err(Error::not_found(format!("container {id} not created: not found")));
        };
        let runtime = task.runtime.clone();
        let simple = |verb| {
            let mut command = runtime.command(verb);
            command.arg(&runtime.id);
            (command, verb)
        };
        let mut making = None;
        let command = match (call, update) {
            (Call::Start, _) if at == 0 => simple("start"),
            (Call::Start, _) => {
                let (command, made) = task.make_exec(at, console)?;
                making = Some(made);
                (command, "exec")
            }
            (Call::Pause, _) => simple("pause"),
            (Call::Resume, _) => simple("resume"),
            (Call::Delete, _) => (runtime.delete(false), "delete"),
            (Call::Update, Some(command)) => (command, "update"),
            (Call::Update, None) => return Err(Error::invalid("resources are missing")),
        };
        self.begin(
            runtime,
            command,
            Some(caller),
            Purpose::Process { at, call, making },
        );
        Ok(())
    }

    fn process_answered(
        &mut self,
        caller: Option<Caller>,
        at: usize,
        call: Call,
        making: Option<Making>,
        outcome: Result<(), Error>,
    ) {
        let Some(task) = &mut self.task else { return };
        let rootfs = task.bundle.join("rootfs");
        let Some(process) = task.processes.get_mut(&at) else {
            return;
        };
        let mut made = None;
        let outcome = match (outcome, making) {
            (Ok(()), Some(making)) => making.finish(&process.wanted).map(|(pid, streams)| {
                (process.pid, process.streams) = (pid, streams);
                made = Some(pid);
            }),
            (outcome, Some(making)) => {
                making.abandon();
                outcome
            }
            (outcome, None) => outcome,
        };
        let outcome = outcome.and_then(|()| match call {
            Call::Delete => mounts::remove(&rootfs),
            _ => Ok(()),
        });
        let answer = outcome.as_ref().ok().map(|()| process.answer(call));
        let answered = Event::Answered {
            call,
            done: outcome.is_ok(),
        };
        let Ok((life, effects)) = process.life.apply(answered) else {
            return;
        };
        let never = process.life.state == State::Created && life.state == State::Stopped;
        process.life = life;
        if never {
            // It never ran: whoever waits for it is not left alone.
            process.exit = Some((255, SystemTime::now()));
            let waiters = std::mem::take(&mut process.waiters);
            let exit = process.exit();
            for waiter in waiters {
                self.answer(waiter, Ok(exit.encode_to_vec()));
            }
            self.end_clients(at);
        }
        self.follow(at, effects);
        if made.is_some() {
            self.watch_streams(at);
            // Clients that were there before it may have sent something.
            self.watch_clients(at);
        }
        if let Some(caller) = caller {
            self.answer(caller, outcome.map(|()| answer.unwrap_or_default()));
        }
        if let Some(pid) = made {
            self.claim(at, pid);
        }
        self.settle(at);
    }

    /// Where the next terminal is handed over.
    fn console(&mut self) -> PathBuf {
        self.consoles = self.consoles.wrapping_add(1);
        let mut path = self.socket.clone().into_os_string();
        path.push(format!(".{}", self.consoles));
        path.into()
    }
}
