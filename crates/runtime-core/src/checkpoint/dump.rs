//! Writing down.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gantry_sys::process::Pid;
use gantry_sys::{fd, path};

use super::criu::{self, Anywhere, Criu, Place};
use super::message::{self, Feature, Kind};
use super::{
    DESCRIPTORS, Folders, Options, Switch, Yard, external, inode, leave_mounts, make_folder, places,
};
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::log::Log;
use crate::state::{Container, Status, write_atomically};

/// Writes a container's processes down. They end, unless they are to go on.
pub fn checkpoint(container: &Container, options: &Options, log: &Log) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Paused => {}
        status => {
            return Err(Error::State(format!(
                "Container cannot be checkpointed in {} state",
                status.word()
            )));
        }
    }
    make_folder(&options.image_path)?;
    check_parent(options)?;
    let criu = Criu::find()?;
    let kind = if options.pre_dump {
        Kind::PreDump
    } else {
        Kind::Dump
    };
    if options.pre_dump {
        need(&criu, Feature::MemTrack, log)?;
    }
    let mut status = None;
    if options.has(Switch::LazyPages) {
        need(&criu, Feature::LazyPages, log)?;
        status = options.status.map(writable).transpose()?;
    }
    let folders = Folders::open(options)?;
    let spec = container.spec();
    let cgroup = container.cgroup()?;
    let mut request = super::request(kind, options, &folders, container.annotations());
    let mode = super::mode(options, &cgroup);
    request.cgroups(mode);
    request.process(container.pid());
    request.root(&container.rootfs().display().to_string());
    if let Some(parent) = &options.parent_path {
        request.parent(&parent.display().to_string());
    }
    if let Some((address, port)) = &options.page_server {
        request.page_server(address, *port);
    }
    if let Some(folder) = cgroup.folder("freezer") {
        request.freezer(&folder.display().to_string());
    }
    for one in spec.linux.iter().flat_map(|linux| &linux.namespaces) {
        if let Some((word, name)) = external(one.typ).filter(|_| !one.path.is_empty()) {
            request.external(&format!("{word}[{}]:{name}", inode(&one.path)?));
        }
    }
    if !options.pre_dump {
        for place in places::external(spec, container.bundle(), container.rootfs(), &cgroup) {
            request.external(&format!("mnt[{0}]:{0}", place.destination));
        }
        for place in masked_files(container) {
            request.external(&format!("mnt[{place}]:/dev/null"));
        }
        let streams = streams(container, options.has(Switch::ShellJob));
        for terminal in streams.iter().filter(|stream| stream.starts_with("tty[")) {
            request.external(terminal);
        }
        note(&streams, &options.image_path)?;
    }
    let yard = Yard::new(container.folder(), &cgroup, true, mode)?;
    if let Some(yard) = &yard {
        request.cgroup_yard(&yard.folder.display().to_string());
    }
    let mut place = Beside { yard, status };
    let answer = criu.ask(&request.ask(kind), &[], &mut place, log)?;
    criu::judge(&answer, kind, options.log_folder(), log)?;
    drop(place);
    if options.has(Switch::LeaveRunning) || options.pre_dump {
        return Ok(());
    }
    match lifecycle::delete(container, true, log) {
        // Who stayed with it has seen its end, and deleted it.
        Err(Error::NotFound) => Ok(()),
        Err(error) => {
            log.warn(&error.chain());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn check_parent(options: &Options) -> Result<()> {
    let Some(parent) = &options.parent_path else {
        return Ok(());
    };
    if parent.is_absolute() {
        return Err(Error::Config("--parent-path must be relative".to_owned()));
    }
    let place = options.image_path.join(parent);
    let why = match fs::metadata(&place) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "not a directory",
        Err(_) => "no such file or directory",
    };
    Err(Error::Config(format!(
        "invalid --parent-path: stat {}: {why}",
        place.display()
    )))
}

fn need(criu: &Criu, feature: Feature, log: &Log) -> Result<()> {
    let answer = criu
        .ask(&message::can(feature), &[], &mut Anywhere, log)
        .map_err(|error| Error::State(format!("CRIU feature check failed: {}", error.chain())))?;
    match answer.can(feature) {
        true => Ok(()),
        false => Err(Error::State(format!("criu is missing features: [{feature:?}]"))),
    }
}

/// The caller's descriptor, which is open for writing.
fn writable(number: i32) -> Result<OwnedFd> {
    const ACCESS: i32 = 3;
    let invalid = |why: &str| Error::Config(format!("invalid --status-fd argument {number}: {why}"));
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    match flags.map(|flags| flags & ACCESS) {
        None => Err(invalid("bad file descriptor")),
        Some(0) => Err(invalid("not writable")),
        Some(_) => fd::inherited(number).ok_or_else(|| invalid("bad file descriptor")),
    }
}

/// Masked paths that are files. Folders have a file system of their own.
fn masked_files(container: &Container) -> Vec<String> {
    const O_PATH: i32 = 0o10_000_000;
    const S_IFMT: u32 = 0o170_000;
    const S_IFDIR: u32 = 0o040_000;
    let linux = container.spec().linux.as_ref();
    let Ok(root) = path::open(Path::new(&format!("/proc/{}/root", container.pid())), O_PATH) else {
        return Vec::new();
    };
    let is_file = |place: &&String| {
        path::open_in_root(root.as_fd(), Path::new(place), O_PATH)
            .and_then(|found| path::fstat(found.as_fd()))
            .is_ok_and(|found| found.st_mode & S_IFMT != S_IFDIR)
    };
    let all = linux.into_iter().flat_map(|linux| &linux.masked_paths);
    all.filter(is_file).cloned().collect()
}

/// Where the standard streams go: their pipes are somebody's on the host, and their terminal may be.
fn streams(container: &Container, shell_job: bool) -> Vec<String> {
    (0..3)
        .map(|number| {
            let link = format!("/proc/{}/fd/{number}", container.pid());
            match (fs::read_link(&link), fs::metadata(&link)) {
                (Ok(path), Ok(found)) if shell_job && is_terminal(&path) => {
                    format!("tty[{:x}:{:x}]", found.rdev(), found.dev())
                }
                (Ok(path), _) => path.display().to_string(),
                (Err(_), _) => "/dev/null".to_owned(),
            }
        })
        .collect()
}

fn is_terminal(path: &Path) -> bool {
    path.starts_with("/dev/pts") || path.to_string_lossy().starts_with("/dev/tty")
}

/// Notes it for who makes them again.
fn note(streams: &[String], images: &Path) -> Result<()> {
    let path = images.join(DESCRIPTORS);
    let text = serde_json::to_vec(streams).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    write_atomically(&path, &text)
}

/// Where criu writes down: beside the container. Killed with us, it would leave the processes stopped where they are; it ends by
/// itself when it hears nothing more of us.
struct Beside {
    yard: Option<Yard>,
    status: Option<OwnedFd>,
}

impl Place for Beside {
    fn enter(&self) -> Result<()> {
        match &self.yard {
            Some(yard) => leave_mounts().and_then(|()| yard.mount()),
            None => Ok(()),
        }
    }

    fn reached(&mut self, script: &str, _pid: Option<Pid>, _passed: Option<OwnedFd>) -> Result<()> {
        if script == "status-ready"
            && let Some(status) = self.status.take()
        {
            // Who waits there may have gone.
            let _ = fd::write(status.as_fd(), &[0]);
        }
        Ok(())
    }
}
