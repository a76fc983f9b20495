//! Connections of the task service: frames in, frames out. Knows no method.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use gantry_errdefs::Error;
use gantry_shim_api::frame::{Decoder, REQUEST, RESPONSE, Request, Response, frame};
use gantry_sys::epoll::event;
use prost::Message;

use super::{CONNECTION, Server};

/// Whose call it is: the connection, and the stream on it.
pub(super) type Caller = (u64, u32);

/// A connection of the task service.
pub(super) struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    waiting: Vec<u8>,
}

impl Connection {
    /// What has arrived, and whether the connection is of further use.
    fn receive(&mut self) -> (Vec<(u32, Request)>, bool) {
        let mut buffer = [0; 8192];
        let mut open = true;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => open = false,
                Ok(count) => {
                    self.decoder.push(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => open = false,
            }
            break;
        }
        let mut requests = Vec::new();
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) if frame.kind == REQUEST => {
                    if let Ok(request) = Request::decode(frame.message.as_slice()) {
                        requests.push((frame.stream, request));
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return (requests, open),
                Err(_) => return (requests, false),
            }
        }
    }
}

impl Server {
    pub(super) fn accept(&mut self) {
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

    pub(super) fn connection(&mut self, token: u64, events: u32) {
        if events & event::WRITE != 0 {
            self.flush_connection(token);
        }
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let (requests, open) = connection.receive();
        for (stream, request) in requests {
            self.handle((token, stream), request);
        }
        if !open && let Some(connection) = self.connections.remove(&token) {
            self.epoll.remove(connection.stream.as_fd());
            self.deferred.retain(|((waiter, _), _)| *waiter != token);
            for process in self.task.iter_mut().flat_map(|task| task.processes.values_mut()) {
                process.waiters.retain(|(waiter, _)| *waiter != token);
            }
        }
    }

    /// Answers a call. A caller that is gone is answered nothing.
    pub(super) fn answer(&mut self, (token, stream): Caller, result: Result<Vec<u8>, Error>) {
        if let Some(connection) = self.connections.get_mut(&token)
            && let Ok(frame) = frame(stream, RESPONSE, &Response::of(result))
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
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // Its end is seen when it is read.
                _ => connection.waiting.clear(),
            }
        }
        let mut events = event::READ;
        if connection.waiting.is_empty() {
            // An idle shim keeps no memory for its last answer.
            connection.waiting = Vec::new();
        } else {
            events |= event::WRITE;
        }
        let _ = self.epoll.change(connection.stream.as_fd(), events, token);
    }
}
