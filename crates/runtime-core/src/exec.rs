//! A further process in a running container: the parent's side, and the child's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gantry_cgroups::{Entrance, Manager};
use gantry_oci::runtime::{LinuxNamespaceType, Process};
use gantry_sys::process::{self, Forked, Pid};
use gantry_sys::{ns, prctl};

use crate::announce::announce;
use crate::birth;
use crate::check::check_process;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::init;
use crate::log::Log;
use crate::oom;
use crate::plan::{self, Namespaces};
use crate::protocol::{Channel, Message};
use crate::seccomp::{self, Filter};
use crate::state::{Container, Status};

/// How a process is to be added.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The socket that is sent the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// The socket that is sent a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process keeps.
    pub preserve_fds: u32,
    /// Cgroups below that of the container: `PATH`, or of version 1 `CONTROLLER[,CONTROLLER…]:PATH`.
    pub cgroups: Vec<String>,
    /// Adds the process to a frozen container too, where it waits.
    pub ignore_paused: bool,
    /// Keeps the caller's session keyring.
    pub no_new_keyring: bool,
    /// Where warnings go.
    pub log: Log,
}

/// A process that runs.
#[derive(Debug)]
pub struct Executed {
    /// Which.
    pub pid: Pid,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The terminal's master, when no socket was named for it.
    pub console: Option<OwnedFd>,
}

/// Runs `process` in the container. Returns once its program is executed.
pub fn exec(container: &Container, process: &Process, options: &Options) -> Result<Executed> {
    let process = &confined(process, container);
    check_process(process)?;
    match container.status()? {
        Status::Stopped => return Err(Error::State("cannot exec in a stopped container".to_owned())),
        Status::Paused if !options.ignore_paused => {
            return Err(Error::State(
                "cannot exec in a paused container (use --ignore-paused to override)".to_owned(),
            ));
        }
        _ => {}
    }
    let linux = container.spec().linux.clone().unwrap_or_default();
    let filter = seccomp::compile(linux.seccomp.as_ref())?;
    let cgroup = container.cgroup()?;
    let init = process::pidfd_open(container.pid()).map_err(|_| Error::NotRunning)?;
    // The number may have been given to somebody else before the descriptor was opened.
    if !container.alive() {
        return Err(Error::NotRunning);
    }
    let console = Console::open(options.console_socket.as_deref(), process.terminal)?;
    let flags = joined(container, &linux);
    let user = flags & plan::flag(LinuxNamespaceType::User);
    // An ordinary user may enter the others only as root of that namespace.
    let staged = user != 0 && process::euid() != 0;
    let has_pid = Namespaces::of(&linux).has_pid();
    if has_pid && !staged {
        // Holds for the children that are made from now on, not for us.
        ns::join(init.as_fd(), plan::flag(LinuxNamespaceType::Pid))?;
    }
    let manager = cgroup;
    let cgroup = entrance(&manager, &options.cgroups, container.pid())?;
    let (ours, theirs) = Channel::pair()?;
    let child = Child {
        init: init.as_fd(),
        cgroup: &cgroup,
        flags: if staged { flags & !user } else { flags },
        in_user_namespace: user != 0,
        process,
        filter: filter.as_ref(),
        container: container.id(),
        linux: &linux,
        console: console.receiver(),
        options,
    };
    // What is to run on certain processors before it enters must come in later.
    let affinity = process.exec_cpu_affinity.as_ref();
    let place = match affinity.is_none_or(|affinity| affinity.initial.is_empty()) {
        true => cgroup.birthplace(),
        false => None,
    };
    let (made, born) = match (staged, place.as_ref().map(AsFd::as_fd)) {
        (true, place) => {
            let pids = flags & plan::flag(LinuxNamespaceType::Pid);
            birth::make_within(init.as_fd(), user | pids, place)?
        }
        (false, place) => birth::fork(0, place)?,
    };
    let (pid, pidfd) = match made {
        Forked::Child => {
            drop((ours, place));
            child.run(born, &theirs)
        }
        Forked::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(theirs);
    let below = options.cgroups.first().map_or("", String::as_str);
    let moved = match manager.entered_by_itself() {
        true => Ok(()),
        false => manager.add_below(below, pid).map_err(Error::from),
    };
    let (socket, file) = (options.pidfd_socket.as_deref(), options.pid_file.as_deref());
    let known = moved
        .and_then(|()| raise(&ours, pid, process, &linux, container))
        .and_then(|()| announce(pid, pidfd.as_fd(), socket, file));
    if let Err(error) = known {
        let _ = process::kill(pid, 9);
        let _ = process::wait(pid);
        return Err(error);
    }
    let console = console.take()?;
    Ok(Executed { pid, pidfd, console })
}

/// The way into the container's cgroup, or into those below it that are named.
fn entrance(cgroup: &Manager, below: &[String], first: Pid) -> Result<Entrance> {
    if !cgroup.entered_by_itself() {
        return Ok(Entrance::default());
    }
    let mut paths: Vec<(String, String)> = Vec::new();
    for text in below {
        let bad = |why: String| Error::Config(format!("invalid --cgroup argument: {text} ({why})"));
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (controllers, path),
            None if below.len() == 1 => ("", text.as_str()),
            None => return Err(bad("missing <controller>: prefix".to_owned())),
        };
        if Path::new(path)
            .components()
            .any(|part| part == std::path::Component::ParentDir)
        {
            return Err(Error::Config(format!("bad sub cgroup path: {path}")));
        }
        if !text.contains(':') {
            return cgroup.entrance_below(path).map_err(|error| nowhere(path, &error));
        }
        for name in controllers.split(',') {
            if name.is_empty() {
                return Err(bad("empty <controller> prefix".to_owned()));
            }
            if paths.iter().any(|(known, _)| known == name) {
                return Err(bad(format!("controller {name} specified multiple times")));
            }
            paths.push((name.to_owned(), path.to_owned()));
        }
    }
    match paths.as_slice() {
        [] => cgroup
            .entrance_beside(first)
            .or_else(|error| elsewhere(first, error)),
        [(_, path), ..] => cgroup.entrance_of(&paths).map_err(|error| nowhere(path, &error)),
    }
}

/// The way to where the container's first process is, if it has left its cgroup, which was removed then. With version 1 it may
/// be in many places.
fn elsewhere(first: Pid, error: gantry_cgroups::Error) -> Result<Entrance> {
    let lines = std::fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
    match lines
        .trim_end()
        .strip_prefix("0::")
        .filter(|path| !path.contains('\n'))
    {
        Some(path) => Ok(Manager::new(Some(path), "")?.entrance()?),
        None => Err(error.into()),
    }
}

fn nowhere(path: &str, error: &gantry_cgroups::Error) -> Error {
    let why = crate::error::chain(error);
    match error {
        gantry_cgroups::Error::Invalid(_) => Error::Config(why),
        _ => Error::Init(format!(
            "error adding pid to cgroups below the container's ({path}): {why}"
        )),
    }
}

fn raise(
    channel: &Channel,
    pid: Pid,
    process: &Process,
    linux: &gantry_oci::runtime::Linux,
    container: &Container,
) -> Result<()> {
    oom::set(pid, process)?;
    channel.send(&Message::Go, None)?;
    loop {
        match channel.receive()? {
            // Closed by the execution of the program.
            None => return Ok(()),
            Some((Message::Failed(why), _)) => return Err(Error::Init(why)),
            Some((Message::SeccompListener(number), _)) => {
                let state = container.oci_state(Status::Running);
                seccomp::hand_over(linux.seccomp.as_ref(), channel, pid, number, state)?;
            }
            Some(_) => return Err(Error::Init("the process said what it must not say".to_owned())),
        }
    }
}

/// The namespaces of the container that are not ours already: joining one's own is refused.
fn joined(container: &Container, linux: &gantry_oci::runtime::Linux) -> i32 {
    let same = |kind| {
        let of = |who: String| std::fs::read_link(format!("/proc/{who}/ns/{}", plan::file(kind))).ok();
        of("self".to_owned()) == of(container.pid().to_string())
    };
    linux
        .namespaces
        .iter()
        .filter(|namespace| !same(namespace.typ))
        .fold(0, |all, one| all | plan::flag(one.typ))
}

struct Child<'a> {
    init: BorrowedFd<'a>,
    cgroup: &'a Entrance,
    flags: i32,
    in_user_namespace: bool,
    process: &'a Process,
    container: &'a str,
    linux: &'a gantry_oci::runtime::Linux,
    filter: Option<&'a Filter>,
    console: Option<init::Receiver<'a>>,
    options: &'a Options,
}

impl Child<'_> {
    fn run(&self, born: bool, channel: &Channel) -> ! {
        let Err(error) = self.become_program(born, channel);
        let _ = channel.send(&Message::Failed(error.chain()), None);
        process::exit(1)
    }

    fn become_program(&self, born: bool, channel: &Channel) -> Result<std::convert::Infallible> {
        prctl::set_parent_death_signal(9)?;
        // The container's processes see us from now on: they must not see into us.
        prctl::set_dumpable(false)?;
        channel.expect(&Message::Go)?;
        let log = &self.options.log;
        log.debug(|| format!("nsexec[{}]: nsexec container setup", process::pid()));
        log.debug(|| "child process in init()".to_owned());
        let affinity = self.process.exec_cpu_affinity.clone().unwrap_or_default();
        if !affinity.initial.is_empty() {
            // Before the cgroup's own set of processors is that of its mask.
            init::set_affinity(&affinity.initial)?;
            log.debug(|| {
                let mask = init::mask(&affinity.initial).unwrap_or_default();
                format!(
                    "nsexec[{}]: affinity: {}",
                    process::pid(),
                    init::hexadecimal(&mask)
                )
            });
        }
        init::enter(self.cgroup, born, affinity.initial.is_empty()).map_err(|error| {
            Error::Init(format!(
                "error adding pid {} to cgroups: {}",
                process::pid(),
                error.chain()
            ))
        })?;
        if !affinity.last.is_empty() {
            init::set_affinity(&affinity.last)?;
        }
        ns::join(self.init, self.flags)?;
        std::env::set_current_dir("/").map_err(Error::file("failed to change the directory to", "/"))?;
        if self.in_user_namespace {
            process::become_user(0, 0, None)?;
        }
        process::setsid()?;
        if !self.options.no_new_keyring {
            gantry_sys::keyring::join_session(&format!("_ses.{}", self.container))?;
        }
        if let Some(receiver) = self.console {
            init::send_terminal(receiver, self.process.console_size.as_ref(), false)?;
        }
        init::own_null()?;
        init::label(self.process)?;
        init::treat(self.process, self.linux)?;
        let keeping = init::Keeping {
            preserved: self.options.preserve_fds,
            listened: 0,
            descriptors: &[],
            log,
        };
        let mut program = init::prepare(self.process, self.filter, channel, &keeping)?;
        prctl::set_parent_death_signal(0)?;
        log.debug(|| "setns_init: about to exec".to_owned());
        program.confine(channel)?;
        Err(program.exec())
    }
}

/// What is not said of the process is as it is for the container's own: whoever writes the least must not get the most. Only
/// no_new_privs cannot be left open, and is what is said.
fn confined(process: &Process, container: &Container) -> Process {
    let mut process = process.clone();
    let Some(own) = &container.spec().process else {
        return process;
    };
    fn fill<T: Clone>(field: &mut Option<T>, own: &Option<T>) {
        if field.is_none() {
            field.clone_from(own);
        }
    }
    fill(&mut process.capabilities, &own.capabilities);
    fill(&mut process.oom_score_adj, &own.oom_score_adj);
    fill(&mut process.scheduler, &own.scheduler);
    fill(&mut process.io_priority, &own.io_priority);
    fill(&mut process.exec_cpu_affinity, &own.exec_cpu_affinity);
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile.clone_from(&own.apparmor_profile);
    }
    if process.selinux_label.is_empty() {
        process.selinux_label.clone_from(&own.selinux_label);
    }
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&own.rlimits);
    }
    process
}

/// The process that `exec` adds when it is given a command: that of the container with other arguments.
pub fn like_init(container: &Container, args: Vec<String>) -> Result<Process> {
    let process = container.spec().process.clone();
    let mut process =
        process.ok_or_else(|| Error::Config("the container's process is not known".to_owned()))?;
    process.args = args;
    process.terminal = false;
    process.console_size = None;
    Ok(process)
}
