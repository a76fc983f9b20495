//! A shim of a test's own, driven as a supervisor drives it, and the listener that its events go to. Knows nothing of the
//! shim's inside.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_shim_api::frame::{Decoder, REQUEST, RESPONSE, Request, Response, frame};
use gantry_shim_api::messages as m;
use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{run, wait_until};
use gantry_testkit::kernel::alive;
use gantry_testkit::place::Place;
use prost::Message;
use serde_json::Value;

pub(crate) const ID: &str = "c1";
const NAMESPACE: &str = "test";

/// What a call failed with.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// The supervisor's place for events.
pub(crate) struct Events {
    seen: Arc<Mutex<Vec<(String, m::Any)>>>,
}

impl Events {
    pub(crate) fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = seen.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let seen = seen.clone();
                std::thread::spawn(move || receive(stream, &seen));
            }
        });
        Self { seen: events }
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .map(|(topic, _)| topic.trim_start_matches("/tasks/").to_owned())
            .collect()
    }

    pub(crate) fn exits(&self) -> Vec<m::TaskExit> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(topic, _)| topic == "/tasks/exit")
            .map(|(_, event)| m::TaskExit::decode(event.value.as_slice()).unwrap())
            .collect()
    }

    pub(crate) fn wait(&self, topics: &[&str]) {
        let mut now = Vec::new();
        wait_until("events", || {
            now = self.topics();
            now.len() >= topics.len()
        });
        assert_eq!(now, topics);
    }
}

fn receive(mut stream: UnixStream, seen: &Mutex<Vec<(String, m::Any)>>) {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        decoder.push(&buffer[..count]);
        while let Some(got) = decoder.next_frame().unwrap() {
            let request = Request::decode(got.message.as_slice()).unwrap();
            assert_eq!((got.kind, request.method.as_str()), (REQUEST, "Forward"));
            let forward = m::ForwardRequest::decode(request.payload.as_slice()).unwrap();
            let envelope = forward.envelope.unwrap();
            assert_eq!(envelope.namespace, NAMESPACE);
            seen.lock()
                .unwrap()
                .push((envelope.topic, envelope.event.unwrap()));
            let answer = frame(got.stream, RESPONSE, &Response::of(Ok(Vec::new()))).unwrap();
            stream.write_all(&answer).unwrap();
        }
    }
}

/// A running shim with its bundle.
pub(crate) struct Shim {
    pub(crate) bundle: Bundle,
    pub(crate) pid: i32,
    pub(crate) runtime: PathBuf,
    address: PathBuf,
    /// Last: it is looked through when all else is gone.
    pub(crate) place: Place,
}

impl Shim {
    /// Starts one for a container of `sh -c script` on Debian's runc.
    pub(crate) fn start(script: &str) -> Self {
        Self::start_on("runc".into(), script)
    }

    pub(crate) fn start_on(runtime: PathBuf, script: &str) -> Self {
        let place = Place::new();
        let bundle = Bundle::new(&place.join(ID), place.cgroup(), &["sh", "-c", script]);
        let said = run(command(&place, bundle.dir()).arg("start").stdin(Stdio::null())).success();
        let address = said.stdout.strip_prefix("unix://").unwrap();
        let mut shim = Self {
            bundle,
            pid: 0,
            runtime,
            address: address.into(),
            place,
        };
        let answer: m::ConnectResponse = shim
            .call("Connect", &m::ConnectRequest { id: ID.into() })
            .unwrap();
        shim.pid = answer.shim_pid.cast_signed();
        shim
    }

    pub(crate) fn events(&self) -> Events {
        Events::listen(&self.place.join("up.sock.ttrpc"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.place.join("log")
    }

    /// What was logged: stream and text of each line.
    pub(crate) fn logged(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        text.lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let field = |name: &str| line[name].as_str().unwrap().to_owned();
                (field("stream"), field("log"))
            })
            .collect()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    pub(crate) fn call<A: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<A, Failed> {
        let mut stream = self.connect();
        send(&mut stream, 1, method, message);
        answer(&mut stream).1
    }

    /// What `create` is asked for, with a log.
    pub(crate) fn request(&self) -> m::CreateTaskRequest {
        let log = format!("json-file://{}", self.log().display());
        let options = m::RuncOptions {
            binary_name: self.runtime.to_str().unwrap().to_owned(),
            root: self.place.join("runtime").to_str().unwrap().to_owned(),
            ..Default::default()
        };
        m::CreateTaskRequest {
            id: ID.into(),
            bundle: self.bundle.dir().to_str().unwrap().to_owned(),
            stdin: "attach:".into(),
            stdout: log.clone(),
            stderr: log,
            options: Some(m::Any {
                type_url: "containerd.runc.v1.Options".into(),
                value: options.encode_to_vec(),
            }),
            ..Default::default()
        }
    }

    pub(crate) fn create(&self, request: &m::CreateTaskRequest) -> u32 {
        let made: m::CreateTaskResponse = self.call("Create", request).unwrap();
        made.pid
    }

    pub(crate) fn started(&self, exec_id: &str) -> Result<u32, Failed> {
        let answer: m::StartResponse = self.call("Start", &named(exec_id))?;
        Ok(answer.pid)
    }

    pub(crate) fn state(&self, exec_id: &str) -> m::StateResponse {
        self.call("State", &named(exec_id)).unwrap()
    }

    pub(crate) fn wait(&self, exec_id: &str) -> u32 {
        let answer: m::WaitResponse = self.call("Wait", &named(exec_id)).unwrap();
        assert!(answer.exited_at.is_some());
        answer.exit_status
    }

    pub(crate) fn kill(&self, signal: u32) -> Result<(), Failed> {
        self.call(
            "Kill",
            &m::KillRequest {
                id: ID.into(),
                exec_id: String::new(),
                signal,
                all: false,
            },
        )
    }

    /// Adds a process of `sh -c script`.
    pub(crate) fn exec(&self, exec_id: &str, script: &str, change: impl FnOnce(&mut m::ExecProcessRequest)) {
        self.add(exec_id, &["sh", "-c", script], change);
    }

    /// Adds a process of `args`.
    pub(crate) fn exec_args(&self, exec_id: &str, args: &[&str]) {
        self.add(exec_id, args, |_| {});
    }

    fn add(&self, exec_id: &str, args: &[&str], change: impl FnOnce(&mut m::ExecProcessRequest)) {
        let spec = serde_json::json!({
            "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
        });
        let mut request = m::ExecProcessRequest {
            id: ID.into(),
            exec_id: exec_id.into(),
            stdin: "attach:".into(),
            stdout: "attach:".into(),
            stderr: "attach:".into(),
            terminal: false,
            spec: None,
        };
        change(&mut request);
        let mut spec = spec;
        spec["terminal"] = request.terminal.into();
        request.spec = Some(m::Any {
            type_url: String::new(),
            value: spec.to_string().into_bytes(),
        });
        let () = self.call("Exec", &request).unwrap();
    }

    pub(crate) fn attach(&self, exec_id: &str) -> Attached {
        let stream = UnixStream::connect(self.bundle.dir().join("attach.sock")).unwrap();
        Attached::new(stream, exec_id)
    }

    pub(crate) fn deleted(&self, exec_id: &str) -> Result<m::DeleteResponse, Failed> {
        self.call("Delete", &named(exec_id))
    }

    /// Deletes the task and ends the shim, as a supervisor does.
    pub(crate) fn end(&self) {
        self.deleted("").unwrap();
        self.shutdown();
    }

    pub(crate) fn shutdown(&self) {
        let request = m::ShutdownRequest {
            id: ID.into(),
            now: false,
        };
        let () = self.call("Shutdown", &request).unwrap();
        wait_until("the shim's end", || !alive(self.pid));
    }

    /// The binary's `delete`.
    pub(crate) fn clean(&self) -> m::DeleteResponse {
        let mut command = command(&self.place, self.bundle.dir());
        command.arg("-bundle").arg(self.bundle.dir()).arg("delete");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        m::DeleteResponse::decode(output.stdout.as_slice()).unwrap()
    }
}

/// A call of the binary.
fn command(place: &Place, bundle: &Path) -> Command {
    let address = place.join("up.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry-shim"));
    command
        .current_dir(bundle)
        .args(["-namespace", NAMESPACE, "-id", ID, "-address"])
        .arg(&address)
        .args(["-publish-binary", "/bin/true"])
        .env("GANTRY_SHIM_SOCKET_DIR", place.join("s"))
        .env("TTRPC_ADDRESS", place.join("up.sock.ttrpc"))
        .env_remove("MAX_SHIM_VERSION");
    command
}

/// The message of every call that names a process.
pub(crate) fn named(exec_id: &str) -> m::StateRequest {
    m::StateRequest {
        id: ID.into(),
        exec_id: exec_id.into(),
    }
}

pub(crate) fn send(to: &mut UnixStream, stream: u32, method: &str, message: &impl Message) {
    let request = Request {
        service: "containerd.task.v3.Task".into(),
        method: method.into(),
        payload: message.encode_to_vec(),
        ..Default::default()
    };
    to.write_all(&frame(stream, REQUEST, &request).unwrap()).unwrap();
}

/// The next answer, and whose it is.
pub(crate) fn answer<A: Message + Default>(from: &mut UnixStream) -> (u32, Result<A, Failed>) {
    let mut decoder = Decoder::default();
    // Byte by byte, as another answer may follow.
    let mut byte = [0];
    let got = loop {
        from.read_exact(&mut byte).expect("an answer");
        decoder.push(&byte);
        if let Some(got) = decoder.next_frame().unwrap() {
            break got;
        }
    };
    let response = Response::decode(got.message.as_slice()).unwrap();
    let result = match response.status {
        Some(status) if status.code != 0 => Err(Failed {
            code: status.code,
            message: status.message,
        }),
        _ => Ok(A::decode(response.payload.as_slice()).unwrap()),
    };
    (got.stream, result)
}

/// A client of the attach socket.
pub(crate) struct Attached {
    pub(crate) stream: UnixStream,
    pub(crate) said: Value,
}

impl Attached {
    pub(crate) fn new(mut stream: UnixStream, exec_id: &str) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let wish = serde_json::json!({
            "version": 1, "exec_id": exec_id, "stdin": true, "stdout": true, "stderr": true,
        });
        stream.write_all(format!("{wish}\n").as_bytes()).unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while byte[0] != b'\n' {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        Self {
            stream,
            said: serde_json::from_slice(&line).unwrap(),
        }
    }

    /// All that comes until the end, out of Docker's frames: of standard output and of standard error.
    pub(crate) fn framed(mut self) -> (String, String) {
        let mut all = Vec::new();
        self.stream.read_to_end(&mut all).unwrap();
        let mut streams = (String::new(), String::new());
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(8);
            let (data, tail) = tail.split_at(u32::from_be_bytes(head[4..].try_into().unwrap()) as usize);
            let text = std::str::from_utf8(data).unwrap();
            match head[0] {
                1 => streams.0.push_str(text),
                2 => streams.1.push_str(text),
                other => panic!("stream {other}"),
            }
            rest = tail;
        }
        streams
    }

    /// Reads until `text` has come.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&all).contains(text) {
            let count = self.stream.read(&mut buffer).expect("more output");
            assert!(count > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}
