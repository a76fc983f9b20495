//! Who the process is to be, and which program it becomes.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gantry_oci::runtime::Process;
use gantry_sys::caps::{self, Set, Sets};
use gantry_sys::{prctl, process, rlimit, signal};

use super::confine::Confinement;
use crate::create::c_strings;
use crate::error::{Error, Result, chain};
use crate::log::Log;
use crate::protocol::Channel;
use crate::seccomp::Filter;

/// The program, ready to be executed.
pub(crate) struct Program<'a> {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    confinement: Confinement<'a>,
}

impl Program<'_> {
    /// Its environment, for hooks that have none of their own.
    pub(crate) fn env(&self) -> Vec<String> {
        self.env
            .iter()
            .map(|pair| pair.to_string_lossy().into_owned())
            .collect()
    }

    /// Whether the filter must be loaded while the parent is there.
    pub(crate) fn notifies(&self) -> bool {
        self.confinement.notifies()
    }

    /// Loads the filter, once.
    pub(crate) fn confine(&mut self, channel: &Channel) -> Result<()> {
        self.confinement.apply(channel)
    }

    /// Becomes it; returns only when that fails.
    pub(crate) fn exec(&self) -> Error {
        let error = process::exec(&self.path, &self.args, &self.env);
        Error::Init(format!(
            "exec {}: {}",
            self.path.to_string_lossy(),
            chain(error.io())
        ))
    }
}

/// What the process keeps until its program is executed, and what for it.
pub(crate) struct Keeping<'a> {
    /// How many descriptors from 3 on the program gets, behind the next ones.
    pub(crate) preserved: u32,
    /// How many come from systemd's socket activation.
    pub(crate) listened: u32,
    /// What we need ourselves.
    pub(crate) descriptors: &'a [RawFd],
    /// Where warnings go.
    pub(crate) log: &'a Log,
}

/// Gives up all that the user's program is not to have. The caller executes the program next.
pub(crate) fn prepare<'a>(
    wanted: &Process,
    filter: Option<&'a Filter>,
    channel: &Channel,
    keeping: &Keeping<'a>,
) -> Result<Program<'a>> {
    for limit in &wanted.rlimits {
        let number = rlimit::by_name(&limit.typ)
            .ok_or_else(|| Error::Config(format!("rlimit {:?} is not valid", limit.typ)))?;
        rlimit::set(number, limit.soft, limit.hard).map_err(|error| {
            Error::Init(format!(
                "error setting rlimits for ready process: error setting rlimit type {number}: {}",
                chain(error.io())
            ))
        })?;
    }
    if wanted.no_new_privileges {
        prctl::set_no_new_privs()?;
    }
    let mut confinement = Confinement::new(wanted, filter, keeping.log)?;
    let env = environment(wanted, keeping.listened)?;
    let sets = capabilities(wanted, keeping.log)?;
    caps::bound(sets.bounding)?;
    prctl::set_keep_caps(true)?;
    let cwd = Path::new(&wanted.cwd);
    own_stdio(wanted.user.uid);
    // As whoever we are now, so that a folder that only root may enter can be the working directory.
    let entered = std::env::set_current_dir(cwd);
    become_user(wanted)?;
    if entered.is_err() {
        std::env::set_current_dir(cwd).map_err(|error| {
            Error::Init(format!(
                "chdir to cwd ({:?}) set in config.json failed: {}",
                wanted.cwd,
                chain(&error)
            ))
        })?;
    }
    inside_root()?;
    prctl::set_keep_caps(false)?;
    let left = caps::get()?;
    confinement.take(match sets.given {
        true => Sets {
            effective: sets.effective,
            permitted: sets.permitted,
            inheritable: sets.inheritable,
        },
        false => left,
    })?;
    if sets.given {
        ambient(sets.ambient, sets.permitted, sets.inheritable, keeping.log)?;
    }
    prctl::umask(wanted.user.umask.unwrap_or(0o022));
    let path = find_program(&wanted.args[0], &env)?;
    let program = Program {
        path,
        args: c_strings(&wanted.args),
        env: c_strings(&env),
        confinement,
    };
    signal::unblock_all()?;
    // Ignored, it would stay ignored in the program.
    signal::set_ignored(libc_sigpipe(), false);
    let first = 3 + i32::try_from(keeping.preserved + keeping.listened).unwrap_or(0);
    process::cloexec_from(first)?;
    // Descriptors that our caller left open are not the container's, not even while it waits to be started.
    let mut kept = keeping.descriptors.to_vec();
    kept.push(channel.descriptor());
    kept.extend(keeping.log.descriptor());
    process::close_others(first, &kept);
    Ok(program)
}

const fn libc_sigpipe() -> i32 {
    13
}

struct Capabilities {
    given: bool,
    bounding: Set,
    effective: Set,
    permitted: Set,
    inheritable: Set,
    ambient: Set,
}

/// What is asked for, as far as it can be had: what cannot is left out, as the specification wants since 1.1.
fn capabilities(wanted: &Process, log: &Log) -> Result<Capabilities> {
    let all = Set(u64::MAX);
    let Some(given) = &wanted.capabilities else {
        return Ok(Capabilities {
            given: false,
            bounding: all,
            effective: all,
            permitted: all,
            inheritable: Set(0),
            ambient: Set(0),
        });
    };
    let mine = caps::get()?.permitted.0;
    let lists = [
        &given.bounding,
        &given.effective,
        &given.inheritable,
        &given.permitted,
        &given.ambient,
    ];
    let names: BTreeSet<&str> = lists
        .iter()
        .flat_map(|list| list.iter().map(String::as_str))
        .collect();
    let unknown = Set::from_names(names.iter().copied()).1;
    if !unknown.is_empty() {
        log.warn(&format!(
            "ignoring unknown or unavailable capabilities: [{}]",
            unknown.join(" ")
        ));
    }
    let set = |names: &[String]| Set(Set::from_names(names.iter().map(String::as_str)).0.0);
    let had = |names: &[String]| Set(set(names).0 & mine);
    let permitted = had(&given.permitted);
    Ok(Capabilities {
        given: true,
        bounding: set(&given.bounding),
        effective: Set(had(&given.effective).0 & permitted.0),
        permitted,
        inheritable: had(&given.inheritable),
        ambient: set(&given.ambient),
    })
}

/// Raises what can be: only what is permitted and inheritable.
fn ambient(wanted: Set, permitted: Set, inheritable: Set, log: &Log) -> Result<()> {
    let possible = Set(wanted.0 & permitted.0 & inheritable.0);
    for name in Set(wanted.0 & !possible.0).names() {
        log.warn(&format!(
            "can't raise ambient capability {name}: operation not permitted"
        ));
    }
    Ok(caps::set_ambient(possible)?)
}

/// The program's environment: of each name the last value, and a home.
fn environment(wanted: &Process, listened: u32) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut env = Vec::with_capacity(wanted.env.len() + 3);
    let mut home = false;
    if listened > 0 {
        env.push("LISTEN_PID=1".to_owned());
        env.push(format!("LISTEN_FDS={listened}"));
    }
    for pair in wanted.env.iter().rev() {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Error::Init(
                "invalid environment variable: missing '='".to_owned(),
            ));
        };
        if name.is_empty() {
            let why = "invalid environment variable: name cannot be empty";
            return Err(Error::Init(why.to_owned()));
        }
        if !seen.insert(name) {
            continue;
        }
        if name == "HOME" {
            // An empty one is none.
            if value.is_empty() {
                continue;
            }
            home = true;
        }
        env.push(pair.clone());
    }
    env.reverse();
    if !home {
        env.push(format!("HOME={}", home_of(wanted.user.uid)));
    }
    Ok(env)
}

/// Gives the standard streams to the user, who may want to open them anew (`/dev/stdout`).
fn own_stdio(uid: u32) {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, fchown};
    const NULL: u64 = gantry_sys::path::NULL_DEVICE;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let Ok(copy) = stream.try_clone_to_owned().map(std::fs::File::from) else {
            continue;
        };
        let Ok(metadata) = copy.metadata() else { continue };
        let null = metadata.file_type().is_char_device() && metadata.rdev() == NULL;
        if !null && metadata.uid() != uid {
            // Who is not mapped in our namespace, or does not let us, keeps what is his.
            let _ = fchown(&copy, Some(uid), None);
        }
    }
}

/// Becomes the wanted user. Only a user namespace whose maker could not set groups keeps those that it has, and only if no
/// others are asked for. The kernel is asked: a file in the container would be the image's word.
fn become_user(wanted: &Process) -> Result<()> {
    const EPERM: i32 = 1;
    let (user, groups) = (&wanted.user, &wanted.user.additional_gids);
    match process::become_user(user.uid, user.gid, Some(groups)) {
        Err(error) if error.errno() == EPERM && groups.is_empty() => {
            Ok(process::become_user(user.uid, user.gid, None)?)
        }
        other => Ok(other?),
    }
}

/// A working directory outside of the root would be a way out (CVE-2024-21626).
fn inside_root() -> Result<()> {
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Error::Init(
            "current working directory is outside of container mount namespace root -- possible container breakout detected"
                .to_owned(),
        )),
    }
}

/// The home folder of a user, as the image knows it.
fn home_of(uid: u32) -> String {
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = uid.to_string();
    let home = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 6 && fields[2] == uid && !fields[5].is_empty()).then(|| fields[5].to_owned())
    });
    home.unwrap_or_else(|| "/".to_owned())
}

/// Finds a program as `exec.LookPath` of Go does, whose words callers read.
pub(crate) fn find_program(name: &str, env: &[String]) -> Result<CString> {
    let failed = |why: &str| Err(Error::Init(format!("exec: {name:?}: {why}")));
    let executable = |path: &Path| -> Result<(), &'static str> {
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => "permission denied",
            _ => "no such file or directory",
        })?;
        match metadata.is_dir() {
            true => Err("is a directory"),
            false if metadata.mode() & 0o111 == 0 => Err("permission denied"),
            false => Ok(()),
        }
    };
    let text = |path: &Path| {
        CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Config("a name with a NUL".to_owned()))
    };
    if name.is_empty() {
        return failed("executable file not found in $PATH");
    }
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => text(Path::new(name)),
            Err("no such file or directory") => failed(&format!("stat {name}: no such file or directory")),
            Err(why) => failed(why),
        };
    }
    let path = env
        .iter()
        .rev()
        .find_map(|pair| pair.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut denied = false;
    for folder in path.split(':') {
        let candidate = PathBuf::from(if folder.is_empty() { "." } else { folder }).join(name);
        match executable(&candidate) {
            Ok(()) if candidate.is_absolute() => return text(&candidate),
            Ok(()) => {}
            Err("permission denied") => denied = true,
            Err(_) => {}
        }
    }
    failed(if denied {
        "permission denied"
    } else {
        "executable file not found in $PATH"
    })
}
