//! Making again. criu does it in a process that is in the container's cgroup already, under its limits, and in a namespace of
//! mounts of its own: whoever is killed leaves no mount behind, below which the host's files would be.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use gantry_cgroups::Manager;
use gantry_oci::runtime::{ContainerState, Linux, LinuxNamespaceType, LinuxResources};
use gantry_sys::process::{self, Pid};
use gantry_sys::{mount, ns, path, prctl};

use super::criu::{self, Criu, Place};
use super::message::{Kind, Request};
use super::wire::Fields;
use super::{CgroupsMode, DESCRIPTORS, Folders, Options, Yard, external, leave_mounts, make_folder, places};
use crate::announce::announce;
use crate::config::Config;
use crate::console::Console;
use crate::create::{Created, Options as CreateOptions};
use crate::error::{Error, Result};
use crate::making::{Unfinished, claim_cgroup, resources};
use crate::state::{Claim, New};
use crate::{hooks, plan};

/// Makes a container's processes from what was written down. They run. When it fails nothing stays.
pub fn restore(
    root: &Path,
    id: &str,
    config: &Config,
    create: &CreateOptions,
    options: &Options,
) -> Result<Created> {
    let log = &create.log;
    let terminal = config
        .spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let criu = Criu::find()?;
    let linux = config.linux();
    let claim = Claim::new(root, id)?;
    let cgroup = claim_cgroup(&claim, id, config, create)?;
    let folders = Folders::open(options)?;
    let mode = match has_cgroup_folders(&options.image_path) {
        true => super::mode(options, &cgroup),
        false => CgroupsMode::Ignore,
    };
    let streams = streams(&options.image_path)?;
    let stage = claim.folder().join("criu-root");
    make_folder(&stage)?;

    let mut request = super::request(Kind::Restore, options, &folders, &config.spec.annotations);
    request.cgroups(mode);
    request.evasive_devices().sibling();
    request.root(&stage.display().to_string());
    if let Some(profile) = &options.lsm_profile {
        request.lsm_profile(profile);
    }
    if let Some(context) = &options.lsm_mount_context {
        request.lsm_mount_context(context);
    }
    for place in places::external(&config.spec, &config.bundle, &config.rootfs, &cgroup) {
        request.external(&format!("mnt[{}]:{}", place.destination, place.source.display()));
    }
    if !linux.masked_paths.is_empty() {
        request.external("mnt[/dev/null]:/dev/null");
    }
    let mut opened = join(&linux, &mut request)?;
    inherit(&streams, &mut request, &mut opened)?;
    let own_cgroups = places::has_cgroups(&linux);
    // It sees no other cgroup than the container's, which is the root to it.
    let yard = Yard::new(claim.folder(), &cgroup, false, mode)?;
    if let Some(yard) = &yard {
        request.cgroup_yard(&yard.folder.display().to_string());
        roots(&cgroup, &mut request);
    }
    let mut stage = Stage {
        id,
        config,
        own_network: has_own(&linux, LinuxNamespaceType::Network),
        own_cgroups,
        cgroup: &cgroup,
        resources: resources(&linux),
        unfinished: Unfinished::new(&cgroup),
        folder: stage,
        yard,
        console: Console::open(create.console_socket.as_deref(), terminal)?,
        master: None,
    };
    let kept: Vec<_> = opened.iter().map(AsFd::as_fd).collect();
    let answer = criu.ask(&request.ask(Kind::Restore), &kept, &mut stage, log)?;
    criu::judge(&answer, Kind::Restore, options.log_folder(), log)?;
    let Some(pid) = answer.restored else {
        return Err(Error::State("criu failed: it named no process".to_owned()));
    };
    // From here on it is a child of ours.
    let pidfd = process::pidfd_open(pid)?;
    let config = &with_time(config, pid)?;
    let new = New {
        id,
        pid,
        config,
        cgroup: &cgroup,
    };
    let noted = announce(
        pid,
        pidfd.as_fd(),
        create.pidfd_socket.as_deref(),
        create.pid_file.as_deref(),
    );
    if let Err(error) = noted.and_then(|()| claim.keep(&new)) {
        let _ = process::kill(pid, 9);
        let _ = process::wait(pid);
        return Err(error);
    }
    stage.unfinished.finish();
    Ok(Created {
        pid,
        pidfd,
        console: stage.master.take(),
    })
}

fn has_own(linux: &Linux, kind: LinuxNamespaceType) -> bool {
    let mut all = linux.namespaces.iter();
    all.any(|one| one.typ == kind && one.path.is_empty())
}

fn streams(images: &Path) -> Result<Vec<String>> {
    let path = images.join(DESCRIPTORS);
    let text = fs::read(&path).map_err(Error::file("failed to read", &path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })
}

/// Tells of our streams that stand for those that there were. criu gets copies: it may want the streams too.
fn inherit(streams: &[String], request: &mut Request, opened: &mut Vec<OwnedFd>) -> Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let ours = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    for (at, (stream, own)) in streams.iter().zip(ours).enumerate() {
        let wanted = stream.starts_with("pipe:") || stream.starts_with("tty[");
        if wanted && !streams[..at].contains(stream) {
            let copy = own
                .try_clone_to_owned()
                .map_err(Error::file("failed to copy the standard stream", at.to_string()))?;
            request.inherit(copy.as_raw_fd(), stream);
            opened.push(copy);
        }
    }
    Ok(())
}

/// Whether it was written down which cgroups there were. Otherwise criu looks for those that the processes were in.
fn has_cgroup_folders(images: &Path) -> bool {
    // Two magic numbers and the length of the one message: its controllers (2) have folders (2).
    const HEAD: usize = 12;
    let image = fs::read(images.join("cgroup.img")).unwrap_or_default();
    let mut all = Fields(image.get(HEAD..).unwrap_or_default());
    all.any(|(field, value)| field == 2 && Fields::of(value).any(|(field, _)| field == 2))
}

/// Tells of the namespaces that are there already. Those that are returned criu gets opened.
fn join(linux: &Linux, request: &mut Request) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    for one in linux.namespaces.iter().filter(|one| !one.path.is_empty()) {
        if let Some((_, name)) = external(one.typ) {
            let namespace = path::open(Path::new(&one.path), 0).map_err(|_| {
                Error::Config(format!(
                    "Requested {} namespace {} does not exist",
                    plan::word(one.typ),
                    one.path
                ))
            })?;
            request.inherit(namespace.as_raw_fd(), name);
            opened.push(namespace);
        } else if one.typ == LinuxNamespaceType::Cgroup {
            return Err(Error::Config(
                "Do not know how to handle namespace NEWCGROUP".to_owned(),
            ));
        } else {
            request.join(plan::file(one.typ), &one.path);
        }
    }
    Ok(opened)
}

/// In each hierarchy the processes go into what is its root to criu.
fn roots(cgroup: &Manager, request: &mut Request) {
    for (hierarchy, _) in cgroup.hierarchies() {
        if hierarchy.controllers.is_empty() {
            request.cgroup_root("", "/");
        }
        for controller in &hierarchy.controllers {
            request.cgroup_root(controller, "/");
        }
    }
}

/// The configuration with the namespace of times in which criu makes all processes: who is executed in the container later shall
/// join it.
fn with_time(config: &Config, pid: Pid) -> Result<Config> {
    let kind = LinuxNamespaceType::Time;
    let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{}", plan::file(kind))).ok();
    let mut text = config.text.clone();
    let mut named = config.linux().namespaces.into_iter();
    if of("self") != of(&pid.to_string()) && !named.any(|one| one.typ == kind) {
        let path = || config.bundle.join("config.json");
        let failed = |source| Error::Json { path: path(), source };
        let mut value: serde_json::Value = serde_json::from_str(&text).map_err(failed)?;
        let all = value.pointer_mut("/linux/namespaces");
        if let Some(all) = all.and_then(serde_json::Value::as_array_mut) {
            all.push(serde_json::json!({ "type": "time" }));
            text = value.to_string();
        }
    }
    Ok(Config {
        spec: config.spec.clone(),
        text,
        bundle: config.bundle.clone(),
        rootfs: config.rootfs.clone(),
    })
}

/// What is around the processes.
struct Stage<'a> {
    id: &'a str,
    config: &'a Config,
    own_network: bool,
    own_cgroups: bool,
    cgroup: &'a Manager,
    resources: LinuxResources,
    unfinished: Unfinished<'a>,
    /// Where the root file system is mounted, as criu wants it to be a mount of its own.
    folder: PathBuf,
    yard: Option<Yard>,
    console: Console,
    master: Option<OwnedFd>,
}

impl Place for Stage<'_> {
    fn prepare(&mut self, criu: Pid) -> Result<()> {
        self.cgroup.create_for(criu, &self.resources)?;
        self.cgroup.set_devices(&self.resources)?;
        self.cgroup.set_first(&self.resources)?;
        match plan::cgroup_owner(&self.config.spec) {
            Some(owner) => Ok(self.cgroup.delegate(owner)?),
            None => Ok(()),
        }
    }

    fn enter(&self) -> Result<()> {
        const MS_BIND_REC: u64 = 0x5000;
        // Alone it would go on making a container that nobody has a record of.
        prctl::set_parent_death_signal(9)?;
        // Before anything is made: whom criu makes is born in the cgroup, under its limits.
        self.cgroup
            .entrance()?
            .enter()
            .map_err(Error::file("failed to enter the", "cgroup"))?;
        if self.own_cgroups {
            // Criu makes none that it was not told of; they inherit this one, and it reaches no other cgroup.
            ns::unshare(plan::flag(LinuxNamespaceType::Cgroup))?;
        }
        leave_mounts()?;
        let rootfs = &self.config.rootfs;
        mount::mount(rootfs, &self.folder, "", MS_BIND_REC, "")?;
        places::make(&self.folder, &self.config.bundle, &self.config.spec.mounts)?;
        // With all that was mounted on it.
        mount::detach(&self.folder)?;
        mount::mount(rootfs, &self.folder, "", MS_BIND_REC, "")?;
        self.yard.as_ref().map_or(Ok(()), Yard::mount)
    }

    fn reached(&mut self, script: &str, pid: Option<Pid>, passed: Option<OwnedFd>) -> Result<()> {
        match (script, pid, passed) {
            ("setup-namespaces", Some(pid), _) => self.set_up(pid),
            ("orphan-pts-master", _, Some(master)) => {
                self.master = self.console.give(master)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Stage<'_> {
    /// The namespaces are there, and nothing runs in them yet.
    fn set_up(&self, pid: Pid) -> Result<()> {
        if self.own_network {
            loopback_up(pid)?;
        }
        let Some(all) = &self.config.spec.hooks else {
            return Ok(());
        };
        let state = self.config.state(self.id, ContainerState::Creating, pid);
        let place = hooks::Place {
            folder: Some(&self.config.bundle),
            env: None,
        };
        hooks::run("prestart", &all.prestart, &state, &place)?;
        hooks::run("createRuntime", &all.create_runtime, &state, &place)
    }
}

/// criu makes the network empty: the loopback interface is there, but down.
fn loopback_up(pid: Pid) -> Result<()> {
    let flag = plan::flag(LinuxNamespaceType::Network);
    let own = path::open(Path::new("/proc/self/ns/net"), 0)?;
    let its = path::open(Path::new(&format!("/proc/{pid}/ns/net")), 0)?;
    ns::join(its.as_fd(), flag)?;
    let up = ns::loopback_up();
    ns::join(own.as_fd(), flag)?;
    Ok(up?)
}
