//! What the suite runs against, each in a place of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gantry_shim_api::messages::RuncOptions;
use gantry_supervisor::Config;
use gantry_supervisor_api::{client, server};
use gantry_supervisor_core::container::Runtime;
use gantry_supervisor_core::{Any, RUNC_OPTIONS_TYPE, Supervisor};
use gantry_testkit::cmd::binaries;
use gantry_testkit::place::Place;
use prost::Message;

/// One of them.
pub(crate) struct Host {
    pub(crate) supervisor: Arc<dyn Supervisor>,
    /// The shims that tasks are tried on.
    pub(crate) runtimes: Vec<Runtime>,
    /// Whether streams can be attached to, with a shim of ours.
    pub(crate) ours: bool,
    /// Where it is asked over gRPC.
    pub(crate) socket: Option<PathBuf>,
    containerd: Option<Child>,
    /// Last: it is looked through when all else is gone.
    pub(crate) place: Place,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(containerd) = &mut self.containerd {
            let _ = containerd.kill();
            let _ = containerd.wait();
        }
    }
}

/// A shim, with a folder of the place's for what runs below it.
fn runtime(place: &Place, name: &str, binary: &str) -> Runtime {
    let options = RuncOptions {
        root: place.join("runtime").to_string_lossy().into_owned(),
        binary_name: binary.to_owned(),
        ..RuncOptions::default()
    };
    Runtime {
        name: name.to_owned(),
        options: Some(Any {
            type_url: RUNC_OPTIONS_TYPE.to_owned(),
            value: options.encode_to_vec(),
        }),
    }
}

/// The field's and ours.
fn runtimes(place: &Place) -> Vec<Runtime> {
    let binary = |name: &str| binaries().join(name).to_string_lossy().into_owned();
    vec![
        runtime(place, "io.containerd.runc.v2", ""),
        runtime(place, &binary("gantry-shim"), &binary("gantry-runtime")),
    ]
}

impl Host {
    /// The library itself.
    pub(crate) async fn library() -> Self {
        let place = Place::new();
        let config = Config::new(place.join("root"), place.join("state"));
        let supervisor = config.open().await.unwrap();
        Self {
            supervisor,
            runtimes: runtimes(&place),
            ours: true,
            socket: None,
            containerd: None,
            place,
        }
    }

    /// The library behind our server and client.
    pub(crate) async fn grpc() -> Self {
        let mut host = Self::library().await;
        let socket = host.place.join("grpc.sock");
        let listener = server::bind(&socket).unwrap();
        let library = host.supervisor.clone();
        tokio::spawn(server::serve(listener, library, std::future::pending()));
        host.supervisor = client::connect(&socket).unwrap();
        host.socket = Some(socket);
        host
    }

    /// Debian's containerd behind our client.
    pub(crate) async fn containerd() -> Self {
        let place = Place::new();
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{0}/c.sock\"\n[ttrpc]\naddress = \"{0}/c.sock.ttrpc\"\n",
            place.dir().display()
        );
        std::fs::write(place.join("config.toml"), config).unwrap();
        let log = std::fs::File::create(place.join("log")).unwrap();
        let mut command = Command::new("containerd");
        command
            .arg("--config")
            .arg(place.join("config.toml"))
            .stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let supervisor = client::connect(place.join("c.sock")).unwrap();
        let host = Self {
            supervisor,
            runtimes: runtimes(&place),
            ours: false,
            socket: Some(place.join("c.sock")),
            containerd: Some(child),
            place,
        };
        for _ in 0..600 {
            if host.supervisor.version().await.is_ok() {
                return host;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("containerd does not answer");
    }
}
