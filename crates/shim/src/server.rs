//! The loop: one thread, everything that can happen as a descriptor. Idle, it sleeps for ever.

mod io;
mod service;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use gantry_cgroups::{Oom, OomWatch};
use gantry_shim_api::frame::{Decoder, REQUEST, RESPONSE, Request, Response, frame};
use gantry_shim_api::messages as m;
use gantry_sys::epoll::{Epoll, event};
use gantry_sys::{process, signal};
use prost::Message;

use crate::args::Args;
use crate::attach::Client;
use crate::bundle;
use crate::events::Publisher;
use crate::process::{Event, State};
use crate::task::Task;

/// What is not for us, but for the end of children.
pub(crate) const SIGNALS: &[i32] = &[SIGCHLD, 1, 2, 15];

const SIGCHLD: i32 = 17;

/// How long the output of an ended process is waited for: a descendant may hold its pipes for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// How long events may take to be heard of when the shim ends.
const FAREWELL: Duration = Duration::from_millis(500);

const LISTENER: u64 = 0;
const SIGNAL: u64 = 1;
const ATTACH: u64 = 2;
const PUBLISHER: u64 = 3;
const OOM: u64 = 4;
const CONNECTION: u64 = 1 << 32;
const CLIENT: u64 = 2 << 32;
const STREAM: u64 = 3 << 32;
const KINDS: u64 = !0xffff_ffff;

/// A connection of the task service.
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    waiting: Vec<u8>,
}

/// Everything.
pub(crate) struct Server {
    epoll: Epoll,
    listener: UnixListener,
    signals: OwnedFd,
    attach: Option<UnixListener>,
    publisher: Publisher,
    publisher_watched: bool,
    oom: Option<OomWatch>,
    connections: HashMap<u64, Connection>,
    clients: HashMap<u64, Client>,
    next: u64,
    task: Option<Task>,
    namespace: String,
    id: String,
    bundle: PathBuf,
    /// Set by `Shutdown`.
    done: bool,
}

fn chain(error: gantry_sys::Error) -> String {
    gantry_errdefs::chain(&error)
}

impl Server {
    pub(crate) fn new(args: &Args, listener: UnixListener, _socket: PathBuf) -> Result<Self, String> {
        listener
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let epoll = Epoll::new().map_err(chain)?;
        let signals = signal::fd(SIGNALS).map_err(chain)?;
        epoll
            .add(listener.as_fd(), event::READ, LISTENER)
            .map_err(chain)?;
        epoll.add(signals.as_fd(), event::READ, SIGNAL).map_err(chain)?;
        Ok(Self {
            epoll,
            listener,
            signals,
            attach: None,
            publisher: Publisher::new(&args.address, &args.namespace),
            publisher_watched: false,
            oom: None,
            connections: HashMap::new(),
            clients: HashMap::new(),
            next: 0,
            task: None,
            namespace: args.namespace.clone(),
            id: args.id.clone(),
            bundle: args.bundle.clone(),
            done: false,
        })
    }

    fn token(&mut self) -> u64 {
        self.next = (self.next + 1) & 0xffff_ffff;
        self.next
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let token = CONNECTION | self.token();
            let watched = stream.set_nonblocking(true).is_ok()
                && self.epoll.add(stream.as_fd(), event::READ, token).is_ok();
            if watched {
                let connection = Connection {
                    stream,
                    decoder: Decoder::default(),
                    waiting: Vec::new(),
                };
                self.connections.insert(token, connection);
            }
        }
    }

    fn connection(&mut self, token: u64, events: u32) {
        if events & event::WRITE != 0 {
            self.flush_connection(token);
        }
        let mut requests = Vec::new();
        let mut open = true;
        if let Some(connection) = self.connections.get_mut(&token) {
            let mut buffer = [0; 8192];
            loop {
                match connection.stream.read(&mut buffer) {
                    Ok(0) => open = false,
                    Ok(count) => {
                        connection.decoder.push(&buffer[..count]);
                        continue;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => open = false,
                }
                break;
            }
            loop {
                match connection.decoder.next_frame() {
                    Ok(Some(frame)) if frame.kind == REQUEST => {
                        if let Ok(request) = Request::decode(frame.message.as_slice()) {
                            requests.push((frame.stream, request));
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        open = false;
                        break;
                    }
                }
            }
        }
        for (stream, request) in requests {
            if let Some(result) = self.handle(token, stream, &request) {
                self.answer(token, stream, Response::of(result));
            }
        }
        if !open && let Some(connection) = self.connections.remove(&token) {
            self.epoll.remove(connection.stream.as_fd());
            if let Some(task) = &mut self.task {
                for process in task.processes.values_mut() {
                    process.waiters.retain(|(waiter, _)| *waiter != token);
                }
            }
        }
    }

    fn answer(&mut self, token: u64, stream: u32, response: Response) {
        if let Some(connection) = self.connections.get_mut(&token)
            && let Ok(frame) = frame(stream, RESPONSE, &response)
        {
            connection.waiting.extend(frame);
        }
        self.flush_connection(token);
    }

    fn flush_connection(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        while !connection.waiting.is_empty() {
            match connection.stream.write(&connection.waiting) {
                Ok(count) if count > 0 => drop(connection.waiting.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // Its end is seen when it is read.
                _ => connection.waiting.clear(),
            }
        }
        let events = if connection.waiting.is_empty() {
            event::READ
        } else {
            event::READ | event::WRITE
        };
        let _ = self.epoll.change(connection.stream.as_fd(), events, token);
    }

    /// Publishes an event.
    fn publish(&mut self, topic: &str, name: &str, message: &impl Message) {
        self.publisher.publish(topic, name, message);
        self.watch_publisher();
    }

    /// A connection that was made is watched, one that is new too.
    fn watch_publisher(&mut self) {
        if let Some(connection) = self.publisher.watched() {
            if self.epoll.add(connection, event::READ, PUBLISHER).is_ok() {
                self.publisher_watched = true;
            }
        } else {
            self.publisher_watched = false;
        }
    }

    /// Children have ended: ours are told of, orphans of the container only reaped.
    fn reap(&mut self) {
        while let Some(ended) = process::reap_any() {
            let Some(task) = &mut self.task else { continue };
            let found = task
                .processes
                .iter_mut()
                .find(|(_, process)| process.pid == ended.pid && process.exit.is_none());
            let Some((at, process)) = found else { continue };
            let at = *at;
            process.exit = Some((ended.status.unsigned_abs(), SystemTime::now()));
            if let Ok(state) = process.state.after(Event::Exited) {
                process.state = state;
            }
            process.deadline = Some(Instant::now() + DRAIN);
            self.release(at);
            self.settle(at);
        }
    }

    /// Once all output of an ended process is out, its end is recorded and then told.
    fn settle(&mut self, at: usize) {
        let Some(task) = &mut self.task else { return };
        let Some(process) = task.processes.get_mut(&at) else {
            return;
        };
        let late = process
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if process.state != State::Draining || !(process.streams.is_drained() || late) {
            return;
        }
        for stream in 0..2 {
            if let Some(output) = &process.streams.outputs[stream] {
                self.epoll.remove(output.fd.as_fd());
            }
            process.streams.finish(stream);
        }
        if let Some(input) = process.streams.input.take() {
            self.epoll.remove(input.fd.as_fd());
        }
        process.streams.log = None;
        process.deadline = None;
        if let Ok(state) = process.state.after(Event::Drained) {
            process.state = state;
        }
        if at == 0 {
            self.check_memory();
        }
        let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at)) else {
            return;
        };
        let (status, exited) = process.exit.unwrap_or((255, SystemTime::now()));
        let pid = process.pid.unsigned_abs();
        let waiters = std::mem::take(&mut process.waiters);
        let exec_id = process.exec_id.clone();
        if at == 0
            && let Err(error) = bundle::record_exit(&self.bundle, pid, status, exited)
        {
            let _ = writeln!(std::io::stderr(), "failed to record the exit: {error}");
        }
        gantry_sys::trace::line(
            "shim",
            &format!("exit pid={pid} status={status} id={}", self.id),
            None,
        );
        self.end_clients(at);
        let event = m::TaskExit {
            container_id: self.id.clone(),
            id: if at == 0 { self.id.clone() } else { exec_id },
            pid,
            exit_status: status,
            exited_at: Some(exited.into()),
        };
        let answer = m::WaitResponse {
            exit_status: status,
            exited_at: Some(exited.into()),
        };
        for (token, stream) in waiters {
            self.answer(token, stream, Response::of(Ok(answer.encode_to_vec())));
        }
        self.publish("/tasks/exit", "TaskExit", &event);
    }

    /// How long may be slept: until the output of an ended process has been waited for long enough.
    fn limit(&self) -> Option<i32> {
        let task = self.task.as_ref()?;
        let next = task
            .processes
            .values()
            .filter_map(|process| process.deadline)
            .min()?;
        let left = next.saturating_duration_since(Instant::now());
        Some(
            i32::try_from(left.as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(1),
        )
    }

    /// Tells of a kill for want of memory, also of one that the loop has not come to yet.
    fn check_memory(&mut self) {
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

    fn happened(&mut self, token: u64, events: u32) {
        match token {
            LISTENER => self.accept(),
            SIGNAL => {
                while signal::read(&self.signals).is_some() {}
                self.reap();
            }
            ATTACH => self.accept_client(),
            PUBLISHER => {
                self.publisher.readable();
                self.watch_publisher();
            }
            OOM => self.check_memory(),
            _ => match token & KINDS {
                CONNECTION => self.connection(token, events),
                CLIENT => self.client(token, events),
                _ => self.stream(token, events),
            },
        }
    }
}

/// Serves until `Shutdown`.
pub(crate) fn serve(server: &mut Server) -> Result<(), String> {
    let mut ready = Vec::new();
    while !server.done {
        let limit = server.limit();
        server
            .epoll
            .wait(limit, |token, events| ready.push((token, events)))
            .map_err(chain)?;
        for (token, events) in ready.drain(..) {
            server.happened(token, events);
        }
        let late: Vec<usize> = server
            .task
            .iter()
            .flat_map(|task| task.processes.keys().copied())
            .collect();
        for at in late {
            server.settle(at);
        }
    }
    // What was told last is to be heard, if anybody hears.
    let deadline = Instant::now() + FAREWELL;
    while !server.publisher.is_idle() && server.publisher.is_connected() && Instant::now() < deadline {
        server
            .epoll
            .wait(Some(20), |token, _| ready.push((token, 0)))
            .map_err(chain)?;
        for (token, _) in ready.drain(..).filter(|(token, _)| *token == PUBLISHER) {
            server.happened(token, event::READ);
        }
    }
    let _ = std::fs::remove_file(server.bundle.join("attach.sock"));
    Ok(())
}
