//! The real `gantry-supervisor` in a place of its own, and containers of busybox in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gantry_shim_api::messages::RuncOptions;
use gantry_supervisor_api::client;
use gantry_supervisor_core::container::{Container, Runtime};
use gantry_supervisor_core::event::Events;
use gantry_supervisor_core::lease::Leases;
use gantry_supervisor_core::task::{CreateTask, ExecTask, Tasks};
use gantry_supervisor_core::{
    Any, GANTRY_RUNTIME, RUNC_OPTIONS_TYPE, RUNTIME_SPEC_TYPE, Services, Supervisor,
};
use gantry_testkit::bundle::Bundle;
use gantry_testkit::cmd::{binaries, wait_until};
use gantry_testkit::place::Place;
use prost::Message;

/// Debian's shim on Debian's runc, and ours on our runtime.
pub(crate) const RUNTIMES: [&str; 2] = ["io.containerd.runc.v2", GANTRY_RUNTIME];

/// One that runs, or did.
pub(crate) struct Daemon {
    child: Option<Child>,
    supervisor: Arc<dyn Supervisor>,
    /// Last: it is looked through when all else is gone.
    pub(crate) place: Place,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::start_in(Place::new()).await
    }

    pub(crate) async fn start_in(place: Place) -> Self {
        let supervisor = client::connect(place.join("state/supervisor.sock")).unwrap();
        let mut daemon = Self {
            child: None,
            supervisor,
            place,
        };
        daemon.start_again().await;
        daemon
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry-supervisor"));
        command
            .arg("--root")
            .arg(self.place.join("root"))
            .arg("--state")
            .arg(self.place.join("state"));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("GANTRY_FAULT", self.place.join("fault"))
            .env("PATH", format!("{}:{path}", binaries().display()))
            .stdin(Stdio::null());
        command
    }

    /// Starts one on what the last has left, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.start_or_die().await, "it died\n{}", self.log());
    }

    /// The same with one that may die before it answers. Returns whether it lives.
    pub(crate) async fn start_or_die(&mut self) -> bool {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.place.join("log"))
            .unwrap();
        self.child = Some(self.command().stdout(Stdio::null()).stderr(log).spawn().unwrap());
        for _ in 0..6000 {
            if self.supervisor.version().await.is_ok() {
                return true;
            }
            if !self.lives() {
                self.kill();
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the supervisor does not answer\n{}", self.log());
    }

    /// Whether its process is there.
    pub(crate) fn lives(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.id().cast_signed())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            gantry_sys::process::kill(child.id().cast_signed(), 15).unwrap();
            assert!(child.wait().unwrap().success(), "{}", self.log());
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.join("state/supervisor.sock")
    }

    pub(crate) fn name(&self, part: &str) -> String {
        self.place.name(part)
    }

    pub(crate) fn services(&self) -> Services {
        self.supervisor.namespace("test").unwrap()
    }

    pub(crate) fn tasks(&self) -> Arc<dyn Tasks> {
        self.services().tasks
    }

    /// Over a connection of their own.
    pub(crate) fn other_tasks(&self) -> Arc<dyn Tasks> {
        let other = client::connect(self.socket()).unwrap();
        other.namespace("test").unwrap().tasks
    }

    /// Events over a connection of their own.
    pub(crate) fn other_events(&self) -> Arc<dyn Events> {
        let other = client::connect(self.socket()).unwrap();
        other.namespace("test").unwrap().events
    }

    pub(crate) fn leases(&self) -> Arc<dyn Leases> {
        self.supervisor.leases("test").unwrap()
    }

    /// Records a container that runs a script.
    pub(crate) async fn record(&self, runtime: &str, id: &str, script: &str) {
        self.record_with(runtime, id, script, |_| {}).await;
    }

    /// The same, with a specification that is changed.
    pub(crate) async fn record_with(
        &self,
        runtime: &str,
        id: &str,
        script: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) {
        let cgroup = format!("{}/{id}", self.place.cgroup());
        let bundle = Bundle::new(&self.place.join(id), &cgroup, &["sh", "-c", script]);
        bundle.change(|config| config["root"]["path"] = bundle.rootfs().to_string_lossy().into());
        bundle.change(change);
        let options = RuncOptions {
            root: self.place.join("runtime").to_string_lossy().into_owned(),
            ..RuncOptions::default()
        };
        let container = Container {
            id: id.to_owned(),
            runtime: Runtime {
                name: runtime.to_owned(),
                options: Some(Any {
                    type_url: RUNC_OPTIONS_TYPE.to_owned(),
                    value: options.encode_to_vec(),
                }),
            },
            spec: Some(Any {
                type_url: RUNTIME_SPEC_TYPE.to_owned(),
                value: serde_json::to_vec(&bundle.config()).unwrap(),
            }),
            ..Container::default()
        };
        self.services().containers.create(container).await.unwrap();
    }

    pub(crate) fn request(&self, id: &str) -> CreateTask {
        CreateTask {
            container_id: id.to_owned(),
            ..CreateTask::default()
        }
    }

    /// What an exec of a script is asked for with.
    pub(crate) fn exec(&self, id: &str, exec_id: &str, script: &str) -> ExecTask {
        let config = std::fs::read(self.place.join(id).join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let mut process = config["process"].clone();
        process["args"] = serde_json::json!(["sh", "-c", script]);
        ExecTask {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            spec: Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
                value: serde_json::to_vec(&process).unwrap(),
            },
            ..ExecTask::default()
        }
    }

    /// Makes and starts the task of a recorded container.
    pub(crate) async fn launch(&self, id: &str) -> u32 {
        let tasks = self.tasks();
        let created = tasks.create(self.request(id)).await;
        let pid = created.unwrap_or_else(|error| panic!("{}\n{}", error.chain(), self.log()));
        assert_eq!(tasks.start(id, "").await.unwrap(), pid);
        pid
    }

    pub(crate) async fn run(&self, runtime: &str, id: &str, script: &str) -> u32 {
        self.record(runtime, id, script).await;
        self.launch(id).await
    }

    /// Kills a container that runs and removes all of it.
    pub(crate) async fn end(&self, id: &str) {
        let tasks = self.tasks();
        tasks.kill(id, "", 9, false).await.unwrap();
        tasks.wait(id, "").await.unwrap();
        tasks.delete(id).await.unwrap();
        self.services().containers.delete(id).await.unwrap();
    }

    /// Stops the shim of a container. A signal is only on its way when it was sent: a thread that is running
    /// can still answer a call, so this waits until each of them stands.
    pub(crate) fn stop_shim(&self, id: &str) {
        let shim = self.signal_shim(id, 19);
        let stands = |thread: std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("stat"))
                .is_ok_and(|stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('T'))
        };
        wait_until("the shim to stand", || {
            std::fs::read_dir(format!("/proc/{shim}/task"))
                .unwrap()
                .flatten()
                .all(stands)
        });
    }

    /// Sends the shim of a container a signal: the process that was given its id and works in its bundle.
    pub(crate) fn signal_shim(&self, id: &str, signal: i32) -> i32 {
        let bundle = self.place.join("state/shim/test").join(id);
        let shim = shim_of(&bundle).unwrap_or_else(|| panic!("no shim of {id}"));
        gantry_sys::process::kill(shim, signal).unwrap();
        shim
    }

    /// Nothing of any container is left on disk. What is left in the kernel the place looks for.
    #[track_caller]
    pub(crate) fn check_nothing_left(&self) {
        for folder in ["state/shim/test", "state/s"] {
            let left: Vec<_> = std::fs::read_dir(self.place.join(folder))
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            assert!(left.is_empty(), "{left:?}\n{}", self.log());
        }
    }
}

/// The shim that works in a bundle.
pub(crate) fn shim_of(bundle: &Path) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found = processes.filter_map(|process| {
        let cwd = std::fs::read_link(process.path().join("cwd")).ok()?;
        // Not a runtime that it has called.
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        let is_shim = cwd == bundle && name.contains("shim");
        is_shim.then(|| process.file_name().to_string_lossy().parse().ok())?
    });
    found.next()
}
