//! The daemon's supervisor: starts one when none listens, detached, so that it outlives the daemon, and again whenever
//! it dies. What it does is not known here.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// How long a supervisor may take until it listens: it recovers first.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before the start after a supervisor that died at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The program is missing.
    #[error(
        "gantry-supervisor is neither beside gantryd nor in PATH: install it, or name a running one with --containerd"
    )]
    Missing,
    /// It could not be run.
    #[error("failed to run {path:?}")]
    Run {
        /// The program or its log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before it listened.
    #[error("the supervisor ended at once ({status}); its log is {log:?}, which ends: {said}")]
    Ended {
        /// How.
        status: String,
        /// Where it says why.
        log: PathBuf,
        /// The end of that.
        said: String,
    },
    /// It does not listen.
    #[error("the supervisor does not listen on {socket:?} after {} s; its log is {log:?}", PATIENCE.as_secs())]
    Silent {
        /// Where it should.
        socket: PathBuf,
        /// Where it says why.
        log: PathBuf,
    },
}

/// How a supervisor is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The daemon's data root.
    pub root: PathBuf,
    /// The daemon's exec root.
    pub state: PathBuf,
    /// Whether it says more.
    pub debug: bool,
}

/// A supervisor that listens.
enum Running {
    /// Our child.
    Child(Child),
    /// Found running: its pidfd.
    Found(AsyncFd<std::os::fd::OwnedFd>),
    /// Found running, but gone before it could be watched.
    Unwatched,
}

impl Launch {
    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.state.join("supervisor.sock")
    }

    fn log(&self) -> PathBuf {
        self.state.join("supervisor.log")
    }

    /// Makes sure that one listens, and keeps watch from then on until the future is dropped.
    pub async fn ensure(self) -> Result<impl Future<Output = ()>, SupervisorError> {
        let mut running = self.find_or_start().await?;
        Ok(async move {
            loop {
                running.ended().await;
                tracing::warn!("the supervisor has ended; starting it again");
                running = loop {
                    match self.find_or_start().await {
                        Ok(running) => break running,
                        Err(error) => tracing::error!("{}", gantry_errdefs::chain(&error)),
                    }
                    tokio::time::sleep(PAUSE).await;
                };
            }
        })
    }

    async fn find_or_start(&self) -> Result<Running, SupervisorError> {
        match connect(&self.socket()).await {
            Some(stream) => Ok(Running::of(&stream)),
            None => self.start().await.map(Running::Child),
        }
    }

    async fn start(&self) -> Result<Child, SupervisorError> {
        let program = find("gantry-supervisor").ok_or(SupervisorError::Missing)?;
        let (socket, log) = (self.socket(), self.log());
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SupervisorError::Run { path, source }
        };
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed(&log))?;
        let errors = output.try_clone().map_err(failed(&log))?;
        let mut command = Command::new(&program);
        command
            .arg("--root")
            .arg(&self.root)
            .arg("--state")
            .arg(&self.state)
            .arg("--address")
            .arg(&socket)
            .args(
                self.debug
                    .then_some(["--log-level", "debug"])
                    .into_iter()
                    .flatten(),
            )
            .current_dir("/")
            // What a terminal or a service manager sends to our group is not for it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let mut child = command.spawn().map_err(failed(&program))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            if connect(&socket).await.is_some() {
                return Ok(child);
            }
            if let Some(status) = child.try_wait().map_err(failed(&program))? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let said = said
                    .lines()
                    .rev()
                    .take(3)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>()
                    .join("; ");
                return Err(SupervisorError::Ended {
                    status: status.to_string(),
                    log,
                    said,
                });
            }
            if tokio::time::Instant::now() > deadline {
                let _ = child.kill().await;
                return Err(SupervisorError::Silent { socket, log });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Running {
    /// Whoever listens at the other end.
    fn of(stream: &UnixStream) -> Self {
        let pid = stream
            .peer_cred()
            .ok()
            .and_then(|peer| peer.pid())
            .and_then(rustix::process::Pid::from_raw);
        let pidfd =
            pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK).ok());
        // The replacement of `new` is unsafe for descriptors that others may close; this one is ours alone.
        #[allow(deprecated)]
        let watched = pidfd.and_then(|fd| AsyncFd::new(fd).ok());
        match watched {
            Some(fd) => Self::Found(fd),
            None => Self::Unwatched,
        }
    }

    /// Waits for its end.
    async fn ended(&mut self) {
        match self {
            Self::Child(child) => drop(child.wait().await),
            Self::Found(pidfd) => drop(pidfd.readable().await),
            Self::Unwatched => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A connection to a socket that may be anywhere.
async fn connect(path: &Path) -> Option<UnixStream> {
    gantry_supervisor_api::connect_socket(path).ok()
}

/// A program beside our own, or in PATH.
fn find(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
