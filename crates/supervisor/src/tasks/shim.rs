//! One shim: its binary (`start`, `delete`) by containerd's contract, and its task service once it runs. Every call has a
//! deadline but `Wait`. Knows nothing of which tasks there are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gantry_supervisor_core::{Any, Error, GANTRY_RUNTIME, Kind, RUNC_OPTIONS_TYPE, Result};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::bundle::{Bootstrap, Bundle};
use super::lock;
use gantry_shim_api::client::Client;
use gantry_shim_api::messages as m;
use gantry_sys::fault::point;

/// For what the shim answers from memory.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
/// For where a process stands: lists ask every shim, and one that hangs must not hold them up.
pub(crate) const STATE: Duration = Duration::from_secs(2);
/// For what runs the runtime.
pub(crate) const RUNTIME: Duration = Duration::from_secs(60);
/// For a create: mounts, hooks, a slow disk.
pub(crate) const CREATE: Duration = Duration::from_secs(180);
/// For the shim's farewell.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(3);

/// What the supervisor tells a shim about itself.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Where shims of ours put their sockets.
    pub(crate) sockets: PathBuf,
    /// The supervisor's gRPC address; the events go to this with `.ttrpc`.
    pub(crate) address: PathBuf,
    /// The runtime's state, as a default for its options.
    pub(crate) runtime_root: PathBuf,
    /// Our own binary: what a shim may call to publish events.
    pub(crate) publisher: PathBuf,
    /// What each program of a shim wants to be given.
    pub(crate) inputs: Inputs,
}

/// What a shim's `start` is given on its standard input. Those before containerd 2.3 take options alone, and some of them refuse all
/// else; those since refuse what are not parameters. None says beforehand what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Options,
    Parameters,
}

impl Input {
    fn other(self) -> Self {
        match self {
            Self::Options => Self::Parameters,
            Self::Parameters => Self::Options,
        }
    }

    /// Whether a start failed for want of the other one.
    fn is_refused(error: &Error) -> bool {
        let said = error.chain().to_lowercase();
        ["bootstrap", "typeurl", "unmarshal"]
            .iter()
            .any(|word| said.contains(word))
    }

    fn message(self, id: &str, namespace: &str, options: Option<Any>, env: &Environment) -> Vec<u8> {
        let options = options.map(to_any);
        if self == Self::Options {
            return options.map(|any| any.encode_to_vec()).unwrap_or_default();
        }
        let address = env.address.to_string_lossy().into_owned();
        m::BootstrapParams {
            instance_id: id.to_owned(),
            namespace: namespace.to_owned(),
            containerd_ttrpc_address: format!("{address}.ttrpc"),
            containerd_grpc_address: address,
            containerd_binary: env.publisher.to_string_lossy().into_owned(),
            extensions: options
                .map(|any| m::Extension { value: Some(any) })
                .into_iter()
                .collect(),
            ..Default::default()
        }
        .encode_to_vec()
    }
}

/// What was found out about programs, each with when it was written: another one of that name may want something else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs(Arc<Mutex<HashMap<PathBuf, (Identity, Input)>>>);

/// Device, inode, seconds and nanoseconds.
type Identity = (u64, u64, i64, i64);

impl Inputs {
    fn identity(binary: &Path) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(binary).ok()?;
        Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
    }

    fn of(&self, binary: &Path) -> Input {
        let known = lock(&self.0).get(binary).copied();
        match known {
            Some((identity, input)) if Self::identity(binary) == Some(identity) => input,
            _ => Input::Options,
        }
    }

    fn set(&self, binary: &Path, input: Input) {
        if let Some(identity) = Self::identity(binary) {
            lock(&self.0).insert(binary.to_owned(), (identity, input));
        }
    }
}

/// Finds the binary of a runtime by containerd's rules.
pub(crate) fn resolve(runtime: &str) -> Result<PathBuf> {
    let path = Path::new(runtime);
    if path.is_absolute() {
        return match path.is_file() {
            true => Ok(path.to_owned()),
            false => Err(Error::not_found(format!(
                "failed to resolve runtime path: invalid custom binary path {runtime:?}: not found"
            ))),
        };
    }
    let parts: Vec<&str> = runtime.split('.').collect();
    let [.., name, version] = parts[..] else {
        return Err(Error::invalid(format!(
            "failed to resolve runtime path: invalid runtime name {runtime}, correct runtime name should be either \
             format like `io.containerd.runc.v2` or a full path to the binary: invalid argument"
        )));
    };
    if runtime.contains('/') || name.is_empty() || version.is_empty() {
        return Err(Error::invalid(format!(
            "invalid runtime name {runtime}: invalid argument"
        )));
    }
    let (binary, beside) = match runtime == GANTRY_RUNTIME {
        true => ("gantry-shim".to_owned(), std::env::current_exe().ok()),
        false => (format!("containerd-shim-{name}-{version}"), None),
    };
    let beside = beside.and_then(|exe| exe.parent().map(Path::to_owned));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let candidates = beside
        .into_iter()
        .chain(std::env::split_paths(&folders))
        .map(|folder| folder.join(&binary));
    for candidate in candidates {
        if candidate.is_absolute() && is_program(&candidate) {
            return Ok(candidate);
        }
    }
    Err(Error::not_found(format!(
        "failed to resolve runtime path: runtime {runtime:?} binary not installed {binary:?}: file does not exist"
    )))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The options a shim is given: with the default root of the runtime's state where none is named.
pub(crate) fn options(runtime: &str, given: Option<Any>, root: &Path) -> Option<Any> {
    let ours = runtime == GANTRY_RUNTIME || runtime.starts_with("io.containerd.runc.");
    let name = |any: &Any| {
        any.type_url
            .rsplit('/')
            .next()
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let mut options = match &given {
        None if ours => m::RuncOptions::default(),
        Some(any) if name(any) == RUNC_OPTIONS_TYPE => match m::RuncOptions::decode(any.value.as_slice()) {
            Ok(options) => options,
            Err(_) => return given,
        },
        _ => return given,
    };
    if options.root.is_empty() {
        options.root = root.to_string_lossy().into_owned();
    }
    Some(Any {
        type_url: RUNC_OPTIONS_TYPE.to_owned(),
        value: options.encode_to_vec(),
    })
}

/// A call of the binary.
fn command(
    binary: &Path,
    bundle: &Bundle,
    namespace: &str,
    id: &str,
    env: &Environment,
) -> tokio::process::Command {
    let mut address = env.address.clone().into_os_string();
    let mut command = tokio::process::Command::new(binary);
    command
        .current_dir(&bundle.path)
        .args(["-namespace", namespace, "-address"])
        .arg(&address)
        .arg("-publish-binary")
        .arg(&env.publisher)
        .args(["-id", id]);
    command.env("GRPC_ADDRESS", &address);
    address.push(".ttrpc");
    command
        .env("TTRPC_ADDRESS", address)
        .env("NAMESPACE", namespace)
        .env("MAX_SHIM_VERSION", "3")
        .env("GANTRY_SHIM_SOCKET_DIR", &env.sockets)
        .env("GOMAXPROCS", "2")
        // Not in our process group: what is sent to that is not for shims.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Runs a call to its end. Output is read only until the process has exited, and a file takes its error output: what the
/// shim left behind may hold on to both.
async fn run(
    mut command: tokio::process::Command,
    bundle: &Bundle,
    input: Option<Vec<u8>>,
    deadline: Duration,
) -> Result<Vec<u8>> {
    let program = Path::new(command.as_std().get_program()).display().to_string();
    let failed = |source: std::io::Error| Error::from(source).context(format!("failed to run {program}"));
    let errors = bundle.path.join(".shim.err");
    command.stderr(Stdio::from(std::fs::File::create(&errors).map_err(failed)?));
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(failed)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut output = Vec::new();
    let work = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A shim that does not read its options has closed the pipe.
            let _ = stdin.write_all(&input).await;
        }
        if let Some(stdout) = stdout {
            stdout.take(1 << 20).read_to_end(&mut output).await?;
        }
        child.wait().await
    };
    let status = match tokio::time::timeout(deadline, work).await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => {
            let _ = child.kill().await;
            let message = format!("{program} did not end in {} s", deadline.as_secs());
            return Err(Error::new(Kind::DeadlineExceeded, message));
        }
    };
    if !status.success() {
        let said = std::fs::read(&errors).unwrap_or_default();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&said),
            String::from_utf8_lossy(&output)
        );
        return Err(Error::internal(format!("{program}: {status}: {}", said.trim())));
    }
    let _ = std::fs::remove_file(&errors);
    Ok(output)
}

/// Starts the shim of a bundle; it serves when this returns, and outlives us.
pub(crate) async fn start(
    binary: &Path,
    bundle: &Bundle,
    namespace: &str,
    id: &str,
    options: Option<Any>,
    env: &Environment,
) -> Result<Bootstrap> {
    let attempt = async |input: Input| {
        let mut command = command(binary, bundle, namespace, id, env);
        command.arg("start");
        let given = input.message(id, namespace, options.clone(), env);
        run(command, bundle, Some(given), RUNTIME).await
    };
    let input = env.inputs.of(binary);
    let output = match attempt(input).await {
        Err(error) if Input::is_refused(&error) => {
            let output = attempt(input.other()).await;
            if output.is_ok() {
                env.inputs.set(binary, input.other());
            }
            // Of two refusals the first is that of what it was known to take.
            output.map_err(|_| error)
        }
        output => output,
    };
    let output = output.map_err(|e| e.context("failed to start shim"))?;
    let bootstrap = Bootstrap::parse(&output)?;
    point("shim answered");
    bundle.save_bootstrap(&bootstrap).map_err(|e| {
        Error::from(e).context(format!(
            "failed to write the shim's address to {}",
            bundle.path.display()
        ))
    })?;
    Ok(bootstrap)
}

/// Has the binary undo what a shim that is gone has left: the container is killed and deleted.
pub(crate) async fn delete(
    binary: &Path,
    bundle: &Bundle,
    namespace: &str,
    id: &str,
    env: &Environment,
) -> Result<m::DeleteResponse> {
    let mut command = command(binary, bundle, namespace, id, env);
    command.arg("-bundle").arg(&bundle.path).arg("delete");
    let output = run(command, bundle, None, RUNTIME)
        .await
        .map_err(|e| e.context("failed to delete shim"))?;
    m::DeleteResponse::decode(output.as_slice())
        .map_err(|e| Error::internal("failed to read the answer of the shim's delete").with_source(e))
}

/// Connects to a unix socket whose path may be of any length.
pub(crate) fn connect_unix(path: &Path) -> std::io::Result<UnixStream> {
    UnixStream::from_std(gantry_sys::socket::connect_now(path)?)
}

/// A typed blob as the shim's messages have it.
pub(crate) fn to_any(any: Any) -> m::Any {
    m::Any {
        type_url: any.type_url,
        value: any.value,
    }
}

/// The task service of a shim that runs.
pub(crate) struct Shim {
    client: Client,
    service: &'static str,
    bootstrap: Bootstrap,
    since: Instant,
}

/// A connection that held this long was one.
const HELD: Duration = Duration::from_secs(1);

impl Shim {
    /// Connects, or fails at once. `Unavailable` when nobody serves there: the shim is gone.
    pub(crate) fn connect(bootstrap: &Bootstrap) -> Result<Self> {
        let path = bootstrap.socket();
        let stream = connect_unix(path).map_err(|source| {
            let gone = matches!(
                source.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            );
            let kind = if gone { Kind::Unavailable } else { Kind::Internal };
            Error::new(
                kind,
                format!("failed to connect to the shim at {}", path.display()),
            )
            .with_source(source)
        })?;
        let service = if bootstrap.version >= 3 {
            "containerd.task.v3.Task"
        } else {
            "containerd.task.v2.Task"
        };
        Ok(Self {
            client: Client::new(stream),
            service,
            bootstrap: bootstrap.clone(),
            since: Instant::now(),
        })
    }

    /// Where it serves.
    pub(crate) fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Whether the connection has held for a while.
    pub(crate) fn held(&self) -> bool {
        self.since.elapsed() > HELD
    }

    /// Whether the connection is lost, which is not to say that the shim is gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Calls a method with a deadline.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
        deadline: Duration,
    ) -> Result<A> {
        self.client
            .call(self.service, method, message, Some(deadline))
            .await
    }

    /// Waits for a process to end, for as long as it takes.
    pub(crate) async fn wait(&self, id: &str, exec_id: &str) -> Result<m::WaitResponse> {
        let request = m::WaitRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        self.client.call(self.service, "Wait", &request, None).await
    }

    /// Where a process stands.
    pub(crate) async fn state(&self, id: &str, exec_id: &str) -> Result<m::StateResponse> {
        let request = m::StateRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        self.call("State", &request, STATE).await
    }

    /// Waits until the connection is lost.
    pub(crate) async fn closed(&self) {
        self.client.closed().await;
    }

    /// Ends it, with or without a task, and waits until the connection is closed.
    pub(crate) async fn shutdown_now(&self, id: &str) {
        let request = m::ShutdownRequest {
            id: id.to_owned(),
            now: true,
        };
        let _: Result<()> = self.call("Shutdown", &request, SHUTDOWN).await;
        let _ = tokio::time::timeout(SHUTDOWN, self.closed()).await;
    }

    /// Asks it to end, and waits until the connection is closed.
    pub(crate) async fn shutdown(&self, id: &str) {
        let request = m::ShutdownRequest {
            id: id.to_owned(),
            now: false,
        };
        // It may close the connection before it answers.
        let _: Result<()> = self.call("Shutdown", &request, SHUTDOWN).await;
        let _ = tokio::time::timeout(SHUTDOWN, self.closed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_resolved_as_containerd_does() {
        assert_eq!(resolve("/bin/sh").unwrap(), Path::new("/bin/sh"));
        assert_eq!(resolve("/no/such").unwrap_err().kind(), Kind::NotFound);
        for bad in ["", "runc", "a/b.c", "x..", "io.containerd."] {
            assert_eq!(resolve(bad).unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
        }
        let error = resolve("io.containerd.nosuch.v7").unwrap_err();
        assert!(error.message().contains("containerd-shim-nosuch-v7"));
    }

    #[test]
    fn options_get_a_root() {
        let root = Path::new("/state/runtime");
        let read = |any: Option<Any>| m::RuncOptions::decode(any.unwrap().value.as_slice()).unwrap();
        assert_eq!(read(options(GANTRY_RUNTIME, None, root)).root, "/state/runtime");
        let given = m::RuncOptions {
            binary_name: "crun".into(),
            ..Default::default()
        };
        let any = Any {
            type_url: RUNC_OPTIONS_TYPE.into(),
            value: given.encode_to_vec(),
        };
        let got = read(options("io.containerd.runc.v2", Some(any), root));
        assert_eq!(
            (got.binary_name.as_str(), got.root.as_str()),
            ("crun", "/state/runtime")
        );
        assert_eq!(options("io.containerd.kata.v2", None, root), None);
        let other = Some(Any {
            type_url: "x.Options".into(),
            value: vec![1],
        });
        assert_eq!(options(GANTRY_RUNTIME, other.clone(), root), other);
    }
}
