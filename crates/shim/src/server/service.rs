//! The task service's methods: decoded, done or begun, answered. What another call keeps from being done now is done when
//! that has ended.

use gantry_errdefs::Error;
use gantry_shim_api::SERVICES;
use gantry_shim_api::frame::Request;
use gantry_shim_api::messages as m;
use gantry_sys::process;
use prost::Message;

use super::Server;
use super::connections::Caller;
use super::jobs::Purpose;
use crate::process::{Call, Denied, Effect, Event, State};
use crate::task::Task;

/// Why there is no answer.
enum Stop {
    /// It comes later, from whoever took the call.
    Later,
    /// The call has to be made again.
    Busy,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Busy => Self::Busy,
            Denied::State { .. } => Self::Failed(Error::failed_precondition(denied.to_string())),
        }
    }
}

type Answer = Result<Vec<u8>, Stop>;

fn decode<T: Message + Default>(request: &Request) -> Result<T, Error> {
    T::decode(request.payload.as_slice())
        .map_err(|error| Error::invalid(format!("failed to decode {}: {error}", request.method)))
}

/// The answer without fields.
const EMPTY: Vec<u8> = Vec::new();

impl Server {
    /// Handles one call.
    pub(super) fn handle(&mut self, caller: Caller, request: Request) {
        self.grown = true;
        // Whoever calls is there to hear what could not be told before.
        self.publisher.send();
        self.watch_publisher();
        match self.call(caller, &request) {
            Ok(answer) => self.answer(caller, Ok(answer)),
            Err(Stop::Failed(error)) => self.answer(caller, Err(error)),
            Err(Stop::Later) => {}
            Err(Stop::Busy) => self.deferred.push((caller, request)),
        }
    }

    fn task(&mut self) -> Result<&mut Task, Error> {
        let id = &self.id;
        self.task
            .as_mut()
            .ok_or_else(|| Error::not_found(format!("container {id} not created: not found")))
    }

    fn call(&mut self, caller: Caller, request: &Request) -> Answer {
        if !SERVICES.contains(&request.service.as_str()) {
            return Err(Error::not_implemented(format!("service {}", request.service)).into());
        }
        match request.method.as_str() {
            "Create" => {
                self.create(caller, decode(request)?)?;
                Err(Stop::Later)
            }
            "Start" => {
                let wanted: m::StartRequest = decode(request)?;
                self.ask(caller, &wanted.exec_id, Call::Start)
            }
            "Delete" => {
                let wanted: m::DeleteRequest = decode(request)?;
                self.ask(caller, &wanted.exec_id, Call::Delete)
            }
            "Pause" => self.ask(caller, "", Call::Pause),
            "Resume" => self.ask(caller, "", Call::Resume),
            "Update" => self.update(caller, &decode(request)?),
            "Kill" => self.kill(caller, &decode(request)?),
            "State" => self.state(&decode(request)?),
            "Wait" => self.wait(caller, &decode(request)?),
            "Exec" => self.exec(&decode(request)?),
            "ResizePty" => Ok(self.task()?.resize(&decode(request)?).map(|()| EMPTY)?),
            "CloseIO" => self.close_io(&decode(request)?),
            "Pids" => {
                let processes = self.task()?.pids()?;
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
            "Shutdown" => {
                let wanted: m::ShutdownRequest = decode(request)?;
                // With a container it goes on, unless told otherwise.
                self.done = wanted.now || (self.task.is_none() && !self.creating);
                Ok(EMPTY)
            }
            "Checkpoint" => Err(Error::not_implemented("checkpoint: not implemented").into()),
            other => Err(Error::not_implemented(format!("method {other}")).into()),
        }
    }

    /// Asks something of a process that takes a call of the runtime.
    fn ask(&mut self, caller: Caller, exec_id: &str, call: Call) -> Answer {
        let (at, process) = self.task()?.get(exec_id)?;
        let (life, effects) = process.life.apply(Event::Asked(call))?;
        if !effects.contains(&Effect::Run(call)) {
            let answer = process.answer(call);
            process.life = life;
            self.follow(at, effects);
            return Ok(answer);
        }
        self.run(caller, at, call, None)
    }

    /// Begins a call; only when it has begun is it under way. It may have ended by then, if it could not be made.
    fn run(
        &mut self,
        caller: Caller,
        at: usize,
        call: Call,
        update: Option<std::process::Command>,
    ) -> Answer {
        let set = |server: &mut Self, to: Option<Call>| {
            let process = server.task.as_mut().and_then(|task| task.processes.get_mut(&at));
            if let Some(process) = process {
                process.life.call = to;
            }
        };
        set(self, Some(call));
        if let Err(error) = self.begin_for(caller, at, call, update) {
            set(self, None);
            return Err(error.into());
        }
        Err(Stop::Later)
    }

    fn update(&mut self, caller: Caller, request: &m::UpdateTaskRequest) -> Answer {
        let task = self.task()?;
        let (at, process) = task.get("")?;
        process.life.apply(Event::Asked(Call::Update))?;
        let command = task.update(request)?;
        self.run(caller, at, Call::Update, Some(command))
    }

    /// Signals are sent whatever else is under way.
    fn kill(&mut self, caller: Caller, request: &m::KillRequest) -> Answer {
        let (at, process) = self.task()?.get(&request.exec_id)?;
        if process.life.ended() && !request.all {
            return Err(Error::not_found("process already finished: not found").into());
        }
        if at != 0 {
            if process.pid == 0 {
                return Err(Error::failed_precondition("process not created: failed precondition").into());
            }
            return process::kill(process.pid, request.signal.cast_signed())
                .map(|()| EMPTY)
                .map_err(|_| Error::not_found("process already finished: not found").into());
        }
        if process.life.call == Some(Call::Delete) {
            return Err(Stop::Busy);
        }
        let runtime = self.task()?.runtime.clone();
        let command = runtime.kill(request.signal, request.all);
        self.begin(runtime, (command, "kill"), Some(caller), Purpose::Kill);
        Err(Stop::Later)
    }

    fn state(&mut self, request: &m::StateRequest) -> Answer {
        let bundle = self.bundle.to_string_lossy().into_owned();
        let id = self.id.clone();
        let (_, process) = self.task()?.get(&request.exec_id)?;
        let stopped = process.life.state == State::Stopped;
        Ok(m::StateResponse {
            id,
            bundle,
            pid: process.pid.unsigned_abs(),
            status: process.life.number(),
            stdin: process.wanted.stdin.clone(),
            stdout: process.wanted.stdout.clone(),
            stderr: process.wanted.stderr.clone(),
            terminal: process.wanted.terminal,
            exit_status: if stopped { process.exit_status() } else { 0 },
            exited_at: process.exited_at().filter(|_| stopped),
            exec_id: process.exec_id.clone(),
        }
        .encode_to_vec())
    }

    fn exec(&mut self, request: &m::ExecProcessRequest) -> Answer {
        self.task()?.add(request)?;
        let event = m::TaskExecAdded {
            container_id: self.id.clone(),
            exec_id: request.exec_id.clone(),
        };
        self.publish("/tasks/exec-added", "TaskExecAdded", &event);
        Ok(EMPTY)
    }

    fn close_io(&mut self, request: &m::CloseIoRequest) -> Answer {
        if request.stdin {
            let at = self.task()?.close_input(&request.exec_id)?;
            self.flush_input(at);
        }
        Ok(EMPTY)
    }

    /// Answers now if the process has ended, and otherwise when it does.
    fn wait(&mut self, caller: Caller, request: &m::WaitRequest) -> Answer {
        let (_, process) = self.task()?.get(&request.exec_id)?;
        if process.life.state == State::Stopped {
            return Ok(process.exit().encode_to_vec());
        }
        process.waiters.push(caller);
        Err(Stop::Later)
    }
}
