//! The loop: one thread, everything that can happen as a descriptor. Idle, it sleeps for ever.

mod connections;
mod io;
mod jobs;
mod service;
mod tell;

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use gantry_cgroups::OomWatch;
use gantry_shim_api::frame::Request;
use gantry_sys::epoll::{Epoll, event};
use gantry_sys::signal;

use crate::args::Args;
use crate::attach::Client;
use crate::events::Publisher;
use crate::process;
use crate::task::Task;
use connections::{Caller, Connection};
use jobs::Job;

/// What is not for us, but for the end of children.
pub(crate) const SIGNALS: &[i32] = &[SIGCHLD, 1, 2, 15];

const SIGCHLD: i32 = 17;

/// How long the output of an ended process is waited for: a descendant may hold its pipes for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// How long nothing is asked for until the program is made small.
const QUIET: Duration = Duration::from_millis(250);

/// How long events and output may take to be heard of when the shim ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often a shim without a task looks whether its bundle is still there, in milliseconds.
const ORPHANED: i32 = 200;

const LISTENER: u64 = 0;
const SIGNAL: u64 = 1;
const ATTACH: u64 = 2;
const PUBLISHER: u64 = 3;
const OOM: u64 = 4;
const CONNECTION: u64 = 1 << 32;
const CLIENT: u64 = 2 << 32;
const STREAM: u64 = 3 << 32;
const KINDS: u64 = !0xffff_ffff;

/// Everything.
pub(crate) struct Server {
    epoll: Epoll,
    listener: UnixListener,
    signals: OwnedFd,
    attach: Option<UnixListener>,
    publisher: Publisher,
    oom: Option<OomWatch>,
    connections: HashMap<u64, Connection>,
    clients: HashMap<u64, Client>,
    next: u64,
    task: Option<Task>,
    /// The task is being made, or taken away because that failed.
    creating: bool,
    /// Calls of the runtime under way, by process.
    jobs: HashMap<i32, Job>,
    /// Exits of processes that nobody has told us of yet.
    early: Vec<(i32, u32, SystemTime)>,
    /// Calls that have to wait until another has ended.
    deferred: Vec<(Caller, Request)>,
    namespace: String,
    id: String,
    bundle: PathBuf,
    /// Where we listen.
    socket: PathBuf,
    /// How many terminals were asked for.
    consoles: u32,
    /// Calls were served: what they needed of the program is given back if no more come for a while.
    grown: bool,
    /// Set by `Shutdown`.
    done: bool,
}

fn chain(error: gantry_sys::Error) -> String {
    gantry_errdefs::chain(&error)
}

/// A line for people. Whoever reads it may be gone, or slow: that is no reason to wait or to fail.
fn log(message: &str) {
    let _ = std::io::stderr().write_all(format!("{message}\n").as_bytes());
}

impl Server {
    pub(crate) fn new(args: &Args, listener: UnixListener, socket: PathBuf) -> Result<Self, String> {
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
            oom: None,
            connections: HashMap::new(),
            clients: HashMap::new(),
            next: 0,
            task: None,
            creating: false,
            jobs: HashMap::new(),
            early: Vec::new(),
            deferred: Vec::new(),
            namespace: args.namespace.clone(),
            id: args.id.clone(),
            bundle: args.bundle.clone(),
            socket,
            consoles: 0,
            grown: false,
            done: false,
        })
    }

    fn token(&mut self) -> u64 {
        self.next = (self.next + 1) & 0xffff_ffff;
        self.next
    }

    /// How long may be slept: until the output of an ended process has been waited for long enough, or a supervisor that was
    /// busy may have time; and once after calls, until they seem to be over.
    fn limit(&self) -> Option<i32> {
        if self.task.is_none() {
            return Some(ORPHANED);
        }
        let processes = self.task.iter().flat_map(|task| task.processes.values());
        let next = processes
            // One that is still being started is seen to when its start has ended.
            .filter(|process| process.life.call != Some(process::Call::Start))
            .filter_map(|process| process.deadline)
            .chain(self.publisher.again())
            .chain((self.grown && self.jobs.is_empty()).then(|| Instant::now() + QUIET))
            .min()?;
        let left = next.saturating_duration_since(Instant::now());
        Some(
            i32::try_from(left.as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(1),
        )
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

    /// Sees to those whose output has been waited for long enough, and to calls that had to wait.
    fn catch_up(&mut self) {
        if self.publisher.again().is_some_and(|when| Instant::now() >= when) {
            self.publisher.send();
            self.watch_publisher();
        }
        let processes = self.task.iter().flat_map(|task| task.processes.iter());
        let ended: Vec<usize> = processes
            .filter(|(_, process)| process.deadline.is_some())
            .map(|(at, _)| *at)
            .collect();
        ended.into_iter().for_each(|at| self.settle(at));
        for (caller, request) in std::mem::take(&mut self.deferred) {
            self.handle(caller, request);
        }
    }

    /// What was told and written last is to be heard, if anybody hears.
    fn farewell(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + FAREWELL;
        let mut ready = Vec::new();
        while Instant::now() < deadline {
            let told = self.publisher.is_idle() || !self.publisher.is_connected();
            if told && self.clients.values().all(|client| client.waiting.is_empty()) {
                break;
            }
            self.epoll
                .wait(Some(20), |token, events| ready.push((token, events)))
                .map_err(chain)?;
            for (token, events) in ready.drain(..) {
                if token == PUBLISHER || token & KINDS == CLIENT {
                    self.happened(token, events);
                }
            }
        }
        Ok(())
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
        if ready.is_empty() && server.grown && server.jobs.is_empty() {
            server.grown = false;
            let _ = gantry_sys::memory::release_program();
        }
        for (token, events) in ready.drain(..) {
            server.happened(token, events);
        }
        if server.task.is_none() && !server.bundle.join("address").exists() {
            // Whoever had us started was killed before it knew of us, and its successor has taken the bundle away.
            server.done = true;
        }
        server.catch_up();
    }
    server.farewell()?;
    let _ = std::fs::remove_file(server.bundle.join("attach.sock"));
    Ok(())
}
