//! What the container's process does between its birth and the execution of the user's program. It has one thread and a
//! copy of its parent's memory; all it says goes through the channel.

mod console;
mod devices;
mod identity;
mod lsm;
mod restrict;
mod rootfs;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use gantry_cgroups::Manager;
use gantry_oci::runtime::{ContainerState, Hooks, Linux, LinuxNamespaceType, Process, State};
use gantry_sys::{keyring, ns, path, prctl, process};

use crate::config::Config;
use crate::create::Options;
use crate::error::{Error, Result};
use crate::hooks;
use crate::plan::{self, Namespaces};
use crate::protocol::{Channel, Message};
use crate::seccomp::Filter;

pub(crate) use console::send_terminal;
pub(crate) use identity::prepare;
pub(crate) use lsm::prepare as label;

/// All that the process of a new container needs to know.
pub(crate) struct Setup<'a> {
    pub(crate) id: &'a str,
    pub(crate) config: &'a Config,
    pub(crate) process: &'a Process,
    pub(crate) linux: &'a Linux,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) hooks: &'a Hooks,
    pub(crate) cgroup: &'a Manager,
    pub(crate) filter: Option<&'a Filter>,
    /// Where the terminal's master is sent.
    pub(crate) console: Option<BorrowedFd<'a>>,
    /// Where the start is waited for.
    pub(crate) fifo: BorrowedFd<'a>,
    pub(crate) options: &'a Options,
}

/// Sets everything up, waits for the start, and becomes the user's program.
pub(crate) fn run(setup: &Setup<'_>, channel: &Channel) -> ! {
    let Err(error) = become_program(setup, channel);
    let sentence = error.chain();
    if channel.send(&Message::Failed(sentence.clone()), None).is_err() {
        // After the start the parent is gone. What is left is the container's own output.
        let _ = gantry_sys::fd::write_all(std::io::stderr().as_fd(), format!("{sentence}\n").as_bytes());
    }
    process::exit(1)
}

/// Never succeeds: it becomes another program.
enum Never {}

fn become_program(setup: &Setup<'_>, channel: &Channel) -> Result<Never> {
    // Until its record is written nobody but our parent knows of us.
    prctl::set_parent_death_signal(9)?;
    // Nobody in the namespaces that we enter may look into us, or open our program through /proc.
    prctl::set_dumpable(false)?;
    let mut parent = Parent {
        channel,
        // Who is root only in a namespace of its own may not open the doors: then the parent moves us.
        cgroup: (!setup.namespaces.new_user()).then_some(setup.cgroup),
        went: false,
    };
    if setup.namespaces.new_user() || !setup.namespaces.join.is_empty() {
        parent.await_go()?;
    }
    for join in &setup.namespaces.join {
        let namespace = path::open(Path::new(&join.path), 0)?;
        ns::join(namespace.as_fd(), join.flag).map_err(|error| {
            Error::Init(format!(
                "failed to join the namespace {}: {}",
                join.path,
                crate::error::chain(&error)
            ))
        })?;
    }
    let in_user_namespace = setup.namespaces.new_user()
        || setup
            .linux
            .namespaces
            .iter()
            .any(|n| n.typ == LinuxNamespaceType::User);
    if in_user_namespace {
        // Root of the namespace, so far.
        process::become_user(0, 0, None)?;
    }
    process::setsid()?;
    if !setup.options.no_new_keyring {
        keyring::join_session(&format!("_ses.{}", setup.id))?;
    }
    if setup.namespaces.new_network() {
        ns::loopback_up()?;
    }
    rootfs::build(setup, &mut parent, in_user_namespace)?;
    if let Some(socket) = setup.console {
        send_terminal(socket, setup.process.console_size.as_ref(), true)?;
    }
    restrict::apply(setup)?;
    let program = identity::prepare(setup.process, setup.filter, channel, setup.options.preserve_fds)?;
    prctl::set_parent_death_signal(0)?;
    channel.send(&Message::Ready, None)?;
    await_start(setup.fifo)?;
    let state = State {
        oci_version: setup.config.spec.oci_version.clone(),
        id: setup.id.to_owned(),
        status: ContainerState::Created,
        pid: process::pid(),
        bundle: setup.config.bundle.display().to_string(),
        annotations: setup.config.spec.annotations.clone(),
    };
    hooks::run("startContainer", &setup.hooks.start_container, &state)?;
    Err(program.exec())
}

/// What the parent has done already.
pub(crate) struct Parent<'a> {
    channel: &'a Channel,
    /// The cgroup that is entered when the parent has made it.
    cgroup: Option<&'a Manager>,
    went: bool,
}

impl Parent<'_> {
    /// Waits until our cgroup is there and our ids are mapped. From then on we are in that cgroup.
    pub(crate) fn await_go(&mut self) -> Result<()> {
        if !self.went {
            self.channel.expect(&Message::Go)?;
            if let Some(cgroup) = self.cgroup {
                enter(&cgroup.entrance()?)?;
            }
            self.went = true;
        }
        Ok(())
    }

    /// Lets the parent run the hooks of its namespaces.
    pub(crate) fn run_hooks(&mut self, hooks: &Hooks) -> Result<()> {
        self.await_go()?;
        if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
            self.channel.send(&Message::RunHooks, None)?;
            self.channel.expect(&Message::HooksDone)?;
        }
        Ok(())
    }
}

/// Moves us into a cgroup. Done by ourselves it costs the kernel nothing; done by another it waits for all forks of the machine.
pub(crate) fn enter(cgroup: &gantry_cgroups::Entrance) -> Result<()> {
    cgroup
        .enter()
        .map_err(Error::file("failed to enter the container's", "cgroup"))
}

/// Waits for the byte that `start` writes. The reading end was opened without waiting for a writer, so that `start` can
/// tell by its own opening whether we are still here.
fn await_start(fifo: BorrowedFd<'_>) -> Result<()> {
    let epoll = gantry_sys::epoll::Epoll::new()?;
    epoll.add(fifo, gantry_sys::epoll::event::READ, 0)?;
    loop {
        epoll.wait(None, |_, _| {})?;
        let mut byte = [0];
        match gantry_sys::fd::read(fifo, &mut byte) {
            Ok(1) => return Ok(()),
            // A writer that went without a word: somebody was killed in the middle of `start`, and will come again.
            Ok(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(source) => {
                return Err(Error::File {
                    what: "failed to wait at",
                    path: "exec.fifo".into(),
                    source,
                });
            }
        }
    }
}

/// Whether a kind of namespace is the container's own, or joined.
pub(crate) fn has(linux: &Linux, kind: LinuxNamespaceType) -> bool {
    linux.namespaces.iter().any(|namespace| namespace.typ == kind)
}

/// Leaves the cgroup namespace of the host, from within the container's cgroup.
pub(crate) fn enter_cgroup_namespace(setup: &Setup<'_>) -> Result<()> {
    if setup.namespaces.new_cgroup {
        ns::unshare(plan::flag(LinuxNamespaceType::Cgroup))?;
    }
    Ok(())
}
