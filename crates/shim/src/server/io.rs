//! Bytes between processes, sinks and attached clients. A slow reader holds the process back; an ended process is held back by
//! nobody.

use std::io::Read;
use std::os::fd::AsFd;

use gantry_sys::epoll::event;
use gantry_sys::fd;

use super::{CLIENT, STREAM, Server};
use crate::attach::{Client, WAITING};
use crate::stdio::INPUT_WAITING;

/// What of a process a token means.
const STDOUT: u64 = 0;
const INPUT: u64 = 2;
const SOURCE: u64 = 3;
const SINK: u64 = 4;

fn token(at: usize, slot: u64) -> u64 {
    STREAM | (at as u64) << 4 | slot
}

impl Server {
    /// Watches the streams of a process that has just got them.
    pub(super) fn watch_streams(&mut self, at: usize) {
        let Some(process) = self.task.as_ref().and_then(|task| task.processes.get(&at)) else {
            return;
        };
        for (slot, output) in process.streams.outputs.iter().enumerate() {
            if let Some(source) = output.as_ref().and_then(|output| output.source.as_ref()) {
                let _ = self
                    .epoll
                    .add(source.as_fd(), event::READ, token(at, STDOUT + slot as u64));
            }
        }
        if let Some(source) = process
            .streams
            .input
            .as_ref()
            .and_then(|input| input.source.as_ref())
        {
            let _ = self.epoll.add(source.as_fd(), event::READ, token(at, SOURCE));
        }
    }

    /// Something happened to a stream.
    pub(super) fn stream(&mut self, which: u64, _events: u32) {
        let (at, slot) = (((which & 0xffff_ffff) >> 4) as usize, which & 0xf);
        match slot {
            0 | 1 => self.output(at, slot as usize),
            INPUT => self.flush_input(at),
            SOURCE => self.source(at),
            _ => self.sink(at, (slot - SINK) as usize),
        }
    }

    /// Reads output and hands it on.
    fn output(&mut self, at: usize, slot: usize) {
        let mut buffer = [0; 32 << 10];
        let framed;
        let read = {
            let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at)) else {
                return;
            };
            framed = !process.wanted.terminal;
            let Some(source) = process.streams.outputs[slot]
                .as_ref()
                .and_then(|output| output.source.as_ref())
            else {
                return;
            };
            match fd::read(source.as_fd(), &mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // A terminal whose other side is closed is an error; it is the end.
                Ok(0) | Err(_) => {
                    self.epoll.remove(source.as_fd());
                    process.streams.end(slot);
                    None
                }
                Ok(count) => {
                    process.streams.deliver(slot, &buffer[..count]);
                    Some(count)
                }
            }
        };
        let Some(count) = read else {
            self.hold(at);
            return self.settle(at);
        };
        let tokens: Vec<u64> = self.clients.keys().copied().collect();
        for client_token in tokens {
            let Some(client) = self.clients.get_mut(&client_token) else {
                continue;
            };
            let wants = matches!(&client.attached, Some((wish, process)) if *process == at && if slot == 0 { wish.stdout } else { wish.stderr });
            if wants && !client.closing {
                client.add(slot as u8 + 1, &buffer[..count], framed);
                self.flush_client(client_token);
            }
        }
        self.hold(at);
    }

    /// Stops reading from a process while somebody is too slow, and goes on when nobody is. An ended process is held back by
    /// nobody.
    pub(super) fn hold(&mut self, at: usize) {
        let slow = self.clients.values().any(|client| {
            client.waiting.len() > WAITING
                && client
                    .attached
                    .as_ref()
                    .is_some_and(|(_, process)| *process == at)
        });
        let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at)) else {
            return;
        };
        let ended = process.life.ended();
        for (slot, output) in process.streams.outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            if let Some(sink) = output.sink.waits_for() {
                let _ = self.epoll.add(sink, event::WRITE, token(at, SINK + slot as u64));
            }
            let hold = !ended && (slow || output.sink.is_full());
            if let Some(source) = output.source.as_ref().filter(|_| hold != output.held) {
                output.held = hold;
                let events = if hold { 0 } else { event::READ };
                let _ = self
                    .epoll
                    .change(source.as_fd(), events, token(at, STDOUT + slot as u64));
            }
        }
    }

    /// A FIFO takes more.
    fn sink(&mut self, at: usize, slot: usize) {
        if let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at))
            && let Some(output) = &mut process.streams.outputs[slot]
        {
            output.sink.flush();
            if output.sink.waits_for().is_none()
                && let crate::stdio::Sink::Fifo { fd, .. } = &output.sink
            {
                self.epoll.remove(fd.as_fd());
                if output.source.is_none() {
                    process.streams.outputs[slot] = None;
                }
            }
        }
        self.hold(at);
        self.settle(at);
    }

    /// Input from a FIFO.
    fn source(&mut self, at: usize) {
        let mut buffer = [0; 16 << 10];
        let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at)) else {
            return;
        };
        let terminal = process.wanted.terminal;
        let Some(input) = &mut process.streams.input else {
            return;
        };
        let Some(source) = &input.source else { return };
        match fd::read(source.as_fd(), &mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Ok(count) if count > 0 => input.waiting.extend_from_slice(&buffer[..count]),
            _ => {
                self.epoll.remove(source.as_fd());
                input.source = None;
                input.closing = !terminal;
            }
        }
        self.flush_input(at);
    }

    /// Writes waiting input; watches for room while some is left, and asks nobody for more meanwhile.
    pub(super) fn flush_input(&mut self, at: usize) {
        let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at)) else {
            return;
        };
        let Some(input) = &mut process.streams.input else {
            return;
        };
        if !input.flush() {
            self.epoll.remove(input.fd.as_fd());
            process.streams.input = None;
        } else {
            let full = input.waiting.len() > INPUT_WAITING;
            match input.waiting.is_empty() {
                true => self.epoll.remove(input.fd.as_fd()),
                false => drop(self.epoll.add(input.fd.as_fd(), event::WRITE, token(at, INPUT))),
            }
            if let Some(source) = &input.source {
                let events = if full { 0 } else { event::READ };
                let _ = self.epoll.change(source.as_fd(), events, token(at, SOURCE));
            }
        }
        self.watch_clients(at);
    }

    /// Watches the clients of a process for what can be done with them now.
    pub(super) fn watch_clients(&mut self, at: usize) {
        let theirs = |client: &Client| matches!(&client.attached, Some((_, process)) if *process == at);
        let tokens: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| theirs(client))
            .map(|(token, _)| *token)
            .collect();
        tokens.into_iter().for_each(|client| self.watch_client(client));
    }

    /// Accepts attach clients.
    pub(super) fn accept_client(&mut self) {
        while let Some(Ok((stream, _))) = self.attach.as_ref().map(|listener| listener.accept()) {
            let token = CLIENT | self.token();
            if stream.set_nonblocking(true).is_ok()
                && self.epoll.add(stream.as_fd(), event::READ, token).is_ok()
            {
                self.clients.insert(token, Client::new(stream));
            }
        }
    }

    /// Something happened to an attach client.
    pub(super) fn client(&mut self, token: u64, events: u32) {
        if events & event::WRITE != 0 {
            self.flush_client(token);
        }
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.attached.is_none() {
            match client.ask() {
                Ok(None) => return,
                Ok(Some(wish)) => self.attach_client(token, wish),
                Err(_) => return self.drop_client(token),
            }
        }
        self.read_client(token, events);
    }

    fn attach_client(&mut self, token: u64, wish: crate::attach::Wish) {
        let found = match &self.task {
            Some(task) => task.find(&wish.exec_id),
            None => Err(gantry_errdefs::Error::not_found(format!(
                "container {} not created: not found",
                self.id
            ))),
        };
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        match found {
            Ok(at) => {
                let process = self.task.as_ref().and_then(|task| task.processes.get(&at));
                let terminal = process.is_some_and(|process| process.wanted.terminal);
                // What has ended has nothing more to say.
                client.closing =
                    process.is_none_or(|process| process.life.state == crate::process::State::Stopped);
                client
                    .waiting
                    .extend_from_slice(format!("{{\"terminal\":{terminal}}}\n").as_bytes());
                client.attached = Some((wish, at));
            }
            Err(error) => {
                let code = gantry_shim_api::frame::code_of(error.kind());
                let answer = serde_json::json!({ "error": { "code": code, "message": error.message() } });
                client.waiting.extend_from_slice(format!("{answer}\n").as_bytes());
                client.attached = Some((wish, usize::MAX));
                client.closing = true;
            }
        }
        self.flush_client(token);
    }

    fn read_client(&mut self, token: u64, events: u32) {
        let mut buffer = [0; 16 << 10];
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let Some((wish, at)) = client.attached.clone() else {
            return;
        };
        let gone = events & (event::HANG_UP | event::ERROR) != 0;
        if !gone && !self.takes_input(at) {
            return;
        }
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if client.finished {
            // Its input has ended; only its departure is still of interest.
            if gone {
                self.drop_client(token);
            }
            return;
        }
        match client.stream.read(&mut buffer) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) => {}
            Ok(0) if events & event::HANG_UP != 0 => self.drop_client(token),
            Ok(0) => {
                client.finished = true;
                if wish.stdin
                    && let Some(process) = self.task.as_mut().and_then(|task| task.processes.get_mut(&at))
                    && let Some(input) = &mut process.streams.input
                {
                    // A terminal has no end of input; a pipe has.
                    input.closing = !process.wanted.terminal;
                }
                self.watch_client(token);
                self.flush_input(at);
            }
            Ok(count) => {
                let process = self.task.as_mut().and_then(|task| task.processes.get_mut(&at));
                if wish.stdin
                    && let Some(input) = process.and_then(|process| process.streams.input.as_mut())
                    && !input.closing
                {
                    input.waiting.extend_from_slice(&buffer[..count]);
                    self.flush_input(at);
                }
            }
            Err(_) => self.drop_client(token),
        }
    }

    /// Sends what waits for a client; lets its process go on when it has caught up.
    fn flush_client(&mut self, token: u64) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let before = client.waiting.len();
        if !client.flush() {
            return self.drop_client(token);
        }
        let caught_up = before > WAITING && client.waiting.len() <= WAITING;
        let at = client.attached.as_ref().map(|(_, at)| *at);
        self.watch_client(token);
        if let (true, Some(at)) = (caught_up, at) {
            self.hold(at);
        }
    }

    /// Whether input may be read from whoever has some: not while the process has much already, nor before it is there.
    fn takes_input(&self, at: usize) -> bool {
        let process = self.task.as_ref().and_then(|task| task.processes.get(&at));
        process.is_none_or(|process| match &process.streams.input {
            Some(input) => input.waiting.len() <= INPUT_WAITING,
            None => process.pid != 0 || process.life.ended(),
        })
    }

    /// Watches a client for what can be done with it now.
    fn watch_client(&mut self, token: u64) {
        let Some(client) = self.clients.get(&token) else {
            return;
        };
        let room = match &client.attached {
            Some((_, at)) => self.takes_input(*at),
            None => true,
        };
        let mut events = 0;
        if room && !client.finished {
            events |= event::READ;
        }
        if !client.waiting.is_empty() {
            events |= event::WRITE;
        }
        let _ = self.epoll.change(client.stream.as_fd(), events, token);
    }

    fn drop_client(&mut self, token: u64) {
        if let Some(client) = self.clients.remove(&token) {
            self.epoll.remove(client.stream.as_fd());
            if let Some((_, at)) = client.attached {
                self.hold(at);
            }
        }
    }

    /// A process is gone: those attached to it are closed once they have everything.
    pub(super) fn end_clients(&mut self, at: usize) {
        let attached = |client: &Client| matches!(&client.attached, Some((_, process)) if *process == at);
        let tokens: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| attached(client))
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if let Some(client) = self.clients.get_mut(&token) {
                client.closing = true;
            }
            self.flush_client(token);
        }
    }
}
