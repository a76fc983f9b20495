//! What the container's process does between its birth and the execution of the user's program. It has one thread and a
//! copy of its parent's memory; all it says goes through the channel.

mod bind;
mod confine;
mod console;
mod copyup;
mod devices;
mod identity;
mod kernel;
mod lsm;
mod restrict;
mod rootfs;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gantry_cgroups::Manager;
use gantry_oci::runtime::{ContainerState, Hooks, Linux, LinuxNamespaceType, Process};
use gantry_sys::{keyring, ns, path, prctl, process, signal};

use crate::birth;
use crate::config::Config;
use crate::create::Options;
use crate::error::{Error, Result};
use crate::hooks;
use crate::plan::{self, Namespaces};
use crate::protocol::{Channel, Message};
use crate::seccomp::Filter;

pub(crate) use console::{Receiver, send_terminal};
pub(crate) use identity::{Keeping, prepare};
pub(crate) use kernel::{
    MEMORY_FLAGS, MEMORY_MODES, apply as treat, domain, hexadecimal, io_class, mask, memory_policy, policy,
    set_affinity,
};
pub(crate) use lsm::prepare as label;
pub(crate) use restrict::own_null;
pub(crate) use rootfs::propagation;

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
    pub(crate) console: Option<Receiver<'a>>,
    /// Where the start is waited for.
    pub(crate) fifo: BorrowedFd<'a>,
    pub(crate) options: &'a Options,
    /// Whether root runs the runtime.
    pub(crate) by_root: bool,
}

/// Sets everything up, waits for the start, and becomes the user's program. `born` in its cgroup of the unified hierarchy.
pub(crate) fn run(setup: &Setup<'_>, born: bool, channel: &Channel) -> ! {
    let Err(error) = become_program(setup, born, channel);
    let sentence = error.chain();
    if channel.send(&Message::Failed(sentence.clone()), None).is_err() {
        // After the start the parent is gone. What is left is the container's own output.
        let _ = gantry_sys::fd::write_all(std::io::stderr().as_fd(), format!("{sentence}\n").as_bytes());
    }
    process::exit(1)
}

/// Never succeeds: it becomes another program.
enum Never {}

fn become_program(setup: &Setup<'_>, born: bool, channel: &Channel) -> Result<Never> {
    // Until its record is written nobody but our parent knows of us.
    prctl::set_parent_death_signal(9)?;
    let log = &setup.options.log;
    log.debug(|| "child process in init()".to_owned());
    let namespaces = setup.namespaces;
    // Nobody in the namespaces that we enter may look into us, or open our program through /proc. Who is an ordinary user
    // could not map our ids then: that comes first.
    let hidden = process::euid() == 0 || !namespaces.new_user();
    if hidden {
        prctl::set_dumpable(false)?;
    }
    let mut parent = Parent {
        channel,
        // Who is root only in a namespace may not open the doors: then the parent moves us.
        cgroup: (!namespaces.has_user).then_some(setup.cgroup),
        born,
        went: false,
    };
    if namespaces.has_user || !namespaces.join.is_empty() {
        parent.await_go()?;
    }
    if !hidden {
        prctl::set_dumpable(false)?;
    }
    for join in &namespaces.join {
        let namespace = path::open(Path::new(&join.path), 0).map_err(|error| birth::failed(join, &error))?;
        ns::join(namespace.as_fd(), join.flag).map_err(|error| birth::failed(join, &error))?;
    }
    if namespaces.has_user {
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
    rootfs::build(setup, &mut parent)?;
    if let Some(receiver) = setup.console {
        send_terminal(receiver, setup.process.console_size.as_ref(), true)?;
    }
    restrict::own_null()?;
    restrict::apply(setup)?;
    kernel::apply(setup.process, setup.linux)?;
    let keeping = Keeping {
        preserved: setup.options.preserve_fds,
        listened: setup.options.listen_fds,
        descriptors: &[setup.fifo.as_raw_fd()],
        log,
    };
    let mut program = identity::prepare(setup.process, setup.filter, channel, &keeping)?;
    // The first process of a namespace is deaf to what it has not asked for: it would wait for its start whatever it was told.
    signal::block(ENDS)?;
    let signals = signal::fd(ENDS)?;
    prctl::set_parent_death_signal(0)?;
    log.debug(|| "init: closing the pipe to signal completion".to_owned());
    if program.notifies() {
        program.confine(channel)?;
        channel.tell(&Message::Ready)?;
    } else {
        channel.send(&Message::Ready, None)?;
    }
    await_start(setup.fifo, &signals)?;
    let state = setup
        .config
        .state(setup.id, ContainerState::Created, process::pid());
    // Its hooks are confined as the container's program is.
    program.confine(channel)?;
    if !setup.hooks.start_container.is_empty() {
        // What has no environment of its own has the program's.
        let place = hooks::Place {
            folder: None,
            env: Some(&program.env()),
        };
        hooks::run("startContainer", &setup.hooks.start_container, &state, &place)?;
    }
    Err(program.exec())
}

/// What ends a process that waits for its start.
const ENDS: &[i32] = &[1, 2, 3, 15];

/// What the parent has done already.
pub(crate) struct Parent<'a> {
    channel: &'a Channel,
    /// The cgroup that is entered when the parent has made it.
    cgroup: Option<&'a Manager>,
    /// Whether it is where it was born in the unified hierarchy.
    born: bool,
    went: bool,
}

impl Parent<'_> {
    /// Waits until our cgroup is there and our ids are mapped. From then on we are in that cgroup.
    pub(crate) fn await_go(&mut self) -> Result<()> {
        if !self.went {
            self.channel.expect(&Message::Go)?;
            if let Some(cgroup) = self.cgroup {
                let entrance = match self.born {
                    true => cgroup.entrance_once_born()?,
                    false => cgroup.entrance()?,
                };
                enter(&entrance, false, true)?;
            }
            self.went = true;
        }
        Ok(())
    }

    /// Lets the parent copy the source of the mount at a place of the list.
    pub(crate) fn copy_source(&mut self, at: usize) -> Result<OwnedFd> {
        self.await_go()?;
        self.channel.send(&Message::Source(at), None)?;
        match self.channel.receive()? {
            Some((Message::Copied, Some(copy))) => Ok(copy),
            _ => Err(Error::Init("the runtime copied no mount".to_owned())),
        }
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
/// `born`: in the entrance's birthplace. `everywhere`: onto all processors that it allows.
pub(crate) fn enter(cgroup: &gantry_cgroups::Entrance, born: bool, everywhere: bool) -> Result<()> {
    let entered = match born {
        true => cgroup.enter_once_born(),
        false => cgroup.enter(),
    };
    entered.map_err(Error::file("failed to enter the container's", "cgroup"))?;
    // What we were started on says nothing of where the container may run.
    if everywhere {
        kernel::reset_affinity();
    }
    Ok(())
}

/// Waits for the byte that `start` writes. The reading end was opened without waiting for a writer, so that `start` can
/// tell by its own opening whether we are still here.
fn await_start(fifo: BorrowedFd<'_>, signals: &OwnedFd) -> Result<()> {
    let epoll = gantry_sys::epoll::Epoll::new()?;
    epoll.add(fifo, gantry_sys::epoll::event::READ, 0)?;
    epoll.add(signals.as_fd(), gantry_sys::epoll::event::READ, 1)?;
    loop {
        epoll.wait(None, |_, _| {})?;
        if let Some(number) = signal::read(signals) {
            process::exit(128 + number);
        }
        let mut byte = [0];
        match gantry_sys::fd::read(fifo, &mut byte) {
            Ok(1) => return Ok(signal::unblock_all()?),
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
