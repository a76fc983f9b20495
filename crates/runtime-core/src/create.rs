//! Making a container: the parent's side. See `protocol` for what is said between the two.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gantry_cgroups::Manager;
use gantry_oci::runtime::{ContainerState, Hooks};
use gantry_sys::process::{self, Forked, Pid};

use crate::announce::announce;
use crate::config::Config;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::init::{self, Setup};
use crate::log::Log;
use crate::making::{Unfinished, claim_cgroup, resources};
use crate::plan::{self, Namespaces};
use crate::protocol::{Channel, Message};
use crate::state::{Claim, FIFO, New};
use crate::{birth, hooks, idmap, netdev, oom, seccomp, sources};

/// How a container is to be made, beside its bundle.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The socket that is sent the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// The socket that is sent a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// chroot instead of pivot_root, for a root file system in an initial ramdisk.
    pub no_pivot: bool,
    /// Keeps the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// How many of them systemd's socket activation passed to us.
    pub listen_fds: u32,
    /// Whether systemd is to manage the cgroup.
    pub systemd_cgroup: bool,
    /// Whether the caller is an ordinary user to cgroups; to be found out if it is not said.
    pub rootless: Option<bool>,
    /// Where warnings go.
    pub log: Log,
}

/// A container that waits to be started.
#[derive(Debug)]
pub struct Created {
    /// Its process.
    pub pid: Pid,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The terminal's master, when no socket was named for it.
    pub console: Option<OwnedFd>,
}

/// Makes the container `id` of a bundle under `root`. When it fails nothing stays.
pub fn create(root: &Path, id: &str, config: &Config, options: &Options) -> Result<Created> {
    let linux = config.linux();
    let process = config.spec.process.as_ref();
    let process = process.ok_or_else(|| Error::Config("process property must not be empty".to_owned()))?;
    let namespaces = Namespaces::of(&linux);
    let filter = seccomp::compile(linux.seccomp.as_ref())?;

    let mut claim = Claim::new(root, id)?;
    let cgroup = claim_cgroup(&claim, id, config, options)?;
    if let Some(what) = linux.resources.as_ref().and_then(|limits| cgroup.ignored(limits)) {
        options.log.warn(what);
    }
    let fifo_path = claim.folder().join(FIFO);
    let fifo = make_fifo(&fifo_path)?;
    let console = Console::open(options.console_socket.as_deref(), process.terminal)?;
    let (ours, theirs) = Channel::pair()?;
    let hooks = config.spec.hooks.clone().unwrap_or_default();
    let unfinished = Unfinished::new(&cgroup);
    let place = cgroup.birthplace();
    let setup = Setup {
        id,
        config,
        process,
        linux: &linux,
        namespaces: &namespaces,
        hooks: &hooks,
        cgroup: &cgroup,
        filter: filter.as_ref(),
        console: console.receiver(),
        fifo: fifo.as_fd(),
        options,
        by_root: process::euid() == 0,
    };
    options.log.debug(|| "nsexec container setup".to_owned());
    let (made, born) = birth::make(&namespaces, &linux, place.as_ref().map(AsFd::as_fd))?;
    let (pid, pidfd) = match made {
        Forked::Child => {
            drop((ours, place));
            claim.forked();
            init::run(&setup, born, &theirs)
        }
        Forked::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop((theirs, place));
    let mut attempt = Attempt {
        pid,
        cgroup: &cgroup,
        unfinished,
        born,
        reaped: false,
        folder: claim.folder().to_owned(),
    };
    attempt.raise(id, config, &hooks, &namespaces, &ours)?;
    let (socket, file) = (options.pidfd_socket.as_deref(), options.pid_file.as_deref());
    announce(pid, pidfd.as_fd(), socket, file)?;
    let console = console.take()?;
    claim.keep(&New {
        id,
        pid,
        config,
        cgroup: &cgroup,
    })?;
    attempt.unfinished.finish();
    Ok(Created { pid, pidfd, console })
}

/// Makes the FIFO and opens it for reading without waiting for a writer.
fn make_fifo(path: &Path) -> Result<OwnedFd> {
    const READ_NONBLOCK: i32 = 0o4000;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let dir = gantry_sys::path::open(folder, 0)?;
    gantry_sys::path::make_node_at(dir.as_fd(), path.file_name().unwrap_or_default(), 0o010_600, 0)?;
    Ok(gantry_sys::path::open(path, READ_NONBLOCK)?)
}

/// A process that is being set up: killed, and then its cgroup removed, when it is dropped before it is done.
struct Attempt<'a> {
    pid: Pid,
    cgroup: &'a Manager,
    unfinished: Unfinished<'a>,
    /// Whether it was born in its cgroup of the unified hierarchy.
    born: bool,
    /// Its number may be another's by now.
    reaped: bool,
    /// The container's.
    folder: PathBuf,
}

impl Attempt<'_> {
    /// Does the parent's part until the process is ready.
    fn raise(
        &mut self,
        id: &str,
        config: &Config,
        hooks: &Hooks,
        namespaces: &Namespaces,
        channel: &Channel,
    ) -> Result<()> {
        let linux = config.linux();
        let process = config.spec.process.as_ref();
        let prepared = self
            .prepare(namespaces, config)
            .and_then(|()| channel.send(&Message::Go, None));
        if let Err(error) = prepared {
            // It waits for us: ended, its silence is heard. If it had bad news before, its word explains more than our error.
            let _ = process::kill(self.pid, 9);
            return Err(match channel.receive() {
                Ok(Some((Message::Failed(why), _))) => during_init(&why),
                _ => error,
            });
        }
        let state = config.state(id, ContainerState::Creating, self.pid);
        let mut sources = sources::Opener::new(config, &linux);
        loop {
            match channel.receive()? {
                Some((Message::Source(at), _)) => {
                    let copy = sources.open(at, self.pid)?;
                    channel.send(&Message::Copied, Some(copy.as_fd()))?;
                }
                Some((Message::RunHooks, _)) => {
                    let place = hooks::Place {
                        folder: Some(&config.bundle),
                        env: None,
                    };
                    hooks::run("prestart", &hooks.prestart, &state, &place)?;
                    hooks::run("createRuntime", &hooks.create_runtime, &state, &place)?;
                    channel.send(&Message::HooksDone, None)?;
                }
                Some((Message::SeccompListener(number), _)) => {
                    let seccomp = linux.seccomp.as_ref();
                    seccomp::hand_over(seccomp, channel, self.pid, number, state.clone())?;
                }
                Some((Message::Ready, _)) => break,
                Some((Message::Failed(why), _)) => return Err(during_init(&why)),
                Some(_) => {
                    return Err(Error::Init(
                        "the container's process said what it must not say".to_owned(),
                    ));
                }
                None => {
                    let how = process::wait(self.pid)
                        .map(|ended| ended.status)
                        .unwrap_or_default();
                    self.reaped = true;
                    return Err(Error::Init(match self.cgroup.stats().memory.oom_kills {
                        0 => format!("the container's process ended with {how} while it was set up"),
                        _ => "container init was OOM-killed (memory limit too low?)".to_owned(),
                    }));
                }
            }
        }
        process.map_or(Ok(()), |process| oom::set(self.pid, process))
    }

    fn prepare(&self, namespaces: &Namespaces, config: &Config) -> Result<()> {
        let linux = config.linux();
        let resources = resources(&linux);
        let failed = |what: &'static str| {
            move |error: gantry_cgroups::Error| {
                Error::Init(format!("{what}: {}", crate::error::chain(&error)))
            }
        };
        let apply = failed("unable to apply cgroup configuration");
        let set = failed("error setting cgroup config for procHooks process");
        self.cgroup.create_for(self.pid, &resources).map_err(apply)?;
        if !self.cgroup.exists() {
            Claim::note_process(&self.folder, self.pid)?;
        }
        self.cgroup.set_devices(&resources).map_err(set)?;
        self.cgroup.set_first(&resources).map_err(set)?;
        if let Some(owner) = plan::cgroup_owner(&config.spec) {
            self.cgroup.delegate(owner).map_err(apply)?;
        }
        if namespaces.has_user && self.cgroup.entered_by_itself() {
            // Otherwise it enters by itself, which is much cheaper.
            let added = match self.born {
                true => self.cgroup.add_once_born(self.pid),
                false => self.cgroup.add(self.pid),
            };
            added.map_err(apply)?;
        }
        if namespaces.new_user() && !namespaces.staged() {
            idmap::map(self.pid, &linux.uid_mappings, &linux.gid_mappings)?;
        }
        netdev::give(&linux, self.pid)
    }
}

/// Bad news from the container's process.
fn during_init(why: &str) -> Error {
    Error::Init(format!("error during container init: {why}"))
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.unfinished.is_finished() && !self.reaped {
            let _ = process::kill(self.pid, 9);
            let _ = process::wait(self.pid);
        }
    }
}

/// A list of texts as the kernel takes them; those with a NUL were refused before.
pub(crate) fn c_strings(texts: &[String]) -> Vec<CString> {
    texts
        .iter()
        .filter_map(|text| CString::new(std::ffi::OsStr::new(text).as_bytes()).ok())
        .collect()
}
