//! An engine with one container: what it reads comes back, until a `q` ends it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};

use super::{Fake, Request, answer, frame, nothing, upgraded};

/// What the container does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behaviour {
    /// It has a terminal.
    pub(crate) tty: bool,
    /// How it exits.
    pub(crate) status: i32,
    /// What the start of it is answered, if it is refused.
    pub(crate) refused: Option<&'static str>,
    /// Its image is there only after a pull.
    pub(crate) pulled: bool,
}

#[derive(Default)]
struct Exit {
    done: Mutex<bool>,
    changed: Condvar,
}

impl Exit {
    fn tell(&self) {
        *self.done.lock().expect("exit") = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut done = self.done.lock().expect("exit");
        while !*done {
            done = self.changed.wait(done).expect("exit");
        }
    }
}

pub(crate) const ID: &str = "0123456789ab0123456789ab";

/// Starts it.
pub(crate) fn engine(behaviour: Behaviour) -> Fake {
    let exit = Arc::new(Exit::default());
    let pulled = Mutex::new(false);
    Fake::start(move |request, stream| match request.path.as_str() {
        "/containers/create" if behaviour.pulled && !*pulled.lock().expect("pulled") => {
            answer(
                stream,
                "404 Not Found",
                r#"{"message":"No such image: busybox:latest"}"#,
            );
        }
        "/containers/create" => {
            let json = format!(r#"{{"Id":"{ID}","Warnings":["careful"]}}"#);
            answer(stream, "201 Created", &json);
        }
        "/images/create" => {
            *pulled.lock().expect("pulled") = true;
            let lines = concat!(
                r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aaa"}"#,
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"aaa"}"#,
                "\r\n",
                r#"{"status":"Pull complete","progressDetail":{},"id":"aaa"}"#,
            );
            answer(stream, "200 OK", lines);
        }
        path if path.ends_with("/attach") => attach(request, stream, &exit, behaviour),
        path if path.ends_with("/wait") => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            exit.wait();
            let json = format!("{{\"StatusCode\":{}}}", behaviour.status);
            let _ = write!(stream, "{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
        }
        path if path.ends_with("/start") => match behaviour.refused {
            Some(message) => {
                exit.tell();
                answer(
                    stream,
                    "400 Bad Request",
                    &format!("{{\"message\":\"{message}\"}}"),
                );
            }
            None => nothing(stream),
        },
        path if path.ends_with("/json") => {
            let json = format!(
                r#"{{"Id":"{ID}","State":{{"Running":true}},"Config":{{"Tty":{},"OpenStdin":true}}}}"#,
                behaviour.tty
            );
            answer(stream, "200 OK", &json);
        }
        _ => nothing(stream),
    })
}

fn attach(request: &Request, stream: &mut UnixStream, exit: &Exit, behaviour: Behaviour) {
    upgraded(stream);
    let say = |stream: &mut UnixStream, kind: u8, text: &str| {
        let bytes = if behaviour.tty {
            text.as_bytes().to_vec()
        } else {
            frame(kind, text)
        };
        let _ = stream.write_all(&bytes);
    };
    say(stream, 1, "ready\n");
    if request.query.contains("stdin=1") {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    let typed = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    say(stream, 1, &format!("<{}>", typed.escape_debug()));
                    if typed.contains('q') {
                        break;
                    }
                }
                _ => {
                    say(stream, 2, "end of input\n");
                    break;
                }
            }
        }
    } else {
        say(stream, 2, "oops\n");
    }
    exit.tell();
}
