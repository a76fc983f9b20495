//! Writing a container's processes down and making them again from that, by the program criu. It does the work; here is said
//! what of the container is the host's, and what a restored one needs around it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_cgroups::{Manager, Version};
use gantry_oci::runtime::{LinuxNamespaceType, Mount};
use gantry_sys::mount::{self, Options as MountOptions};
use gantry_sys::process::{self, Forked, Pid};
use gantry_sys::{ns, path, prctl};

use crate::announce::announce;
use crate::config::Config;
use crate::create::{Created, Options as CreateOptions};
use crate::error::{Error, Result, chain};
use crate::lifecycle;
use crate::log::Log;
use crate::making::{Unfinished, claim_cgroup, resources};
use crate::plan;
use crate::protocol::{Channel, Message};
use crate::sources::is_bind;
use crate::state::{Claim, Container, New, Status, write_atomically};

/// How to write down, or make again.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the images are.
    pub image_path: PathBuf,
    /// Where logs are written.
    pub work_path: Option<PathBuf>,
    /// Images of an earlier `pre_dump`, from `image_path`.
    pub parent_path: Option<PathBuf>,
    /// Lets the processes go on.
    pub leave_running: bool,
    /// Writes memory only, and lets the processes go on.
    pub pre_dump: bool,
    /// criu's own switches, without their dashes.
    pub switches: Vec<&'static str>,
    /// criu's own options with a value.
    pub values: Vec<(&'static str, String)>,
}

/// Where the three standard streams went when they were written down.
const DESCRIPTORS: &str = "descriptors.json";

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
    if options
        .parent_path
        .as_ref()
        .is_some_and(|path| path.is_absolute())
    {
        return Err(Error::Config("--parent-path must be relative".to_owned()));
    }
    make_folder(&options.image_path)?;
    if let Some(parent) = &options.parent_path {
        let place = options.image_path.join(parent);
        if !place.is_dir() {
            let why = format!(
                "invalid --parent-path: stat {}: no such file or directory",
                place.display()
            );
            return Err(Error::Config(why));
        }
    }
    available()?;
    let verb = if options.pre_dump { "pre-dump" } else { "dump" };
    let mut criu = command(verb, options)?;
    criu.arg("--tree").arg(container.pid().to_string());
    criu.arg("--root").arg(container.rootfs());
    if options.leave_running {
        criu.arg("--leave-running");
    }
    if let Some(parent) = &options.parent_path {
        criu.arg("--prev-images-dir").arg(parent).arg("--track-mem");
    }
    let cgroup = container.cgroup()?;
    if let Some(folder) = cgroup.folder("freezer") {
        criu.arg("--freeze-cgroup").arg(folder);
    }
    if !options.pre_dump {
        let spec = container.spec();
        for place in places(&spec.mounts, &cgroup, container.rootfs()) {
            criu.arg("--external")
                .arg(format!("mnt[{0}]:{0}", place.destination));
        }
        for one in spec.linux.iter().flat_map(|linux| &linux.namespaces) {
            if let Some((word, name)) = external(one.typ).filter(|_| !one.path.is_empty()) {
                let inode = namespace_inode(&one.path)?;
                criu.arg("--external").arg(format!("{word}[{inode}]:{name}"));
            }
        }
        let streams: Vec<String> = (0..3)
            .map(|number| {
                let link = format!("/proc/{}/fd/{number}", container.pid());
                fs::read_link(link).map_or_else(|_| "/dev/null".to_owned(), |path| path.display().to_string())
            })
            .collect();
        let path = options.image_path.join(DESCRIPTORS);
        let text = serde_json::to_vec(&streams).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        write_atomically(&path, &text)?;
    }
    run(criu, verb, options, log)?;
    match options.leave_running || options.pre_dump {
        true => Ok(()),
        false => lifecycle::delete(container, true, log),
    }
}

/// Makes a container's processes from what was written down. They run.
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
    if terminal || create.console_socket.is_some() {
        return Err(Error::Config(
            "restore of a container with a terminal is not supported".to_owned(),
        ));
    }
    if create.systemd_cgroup {
        return Err(Error::Config(
            "restore into a cgroup of systemd's is not supported".to_owned(),
        ));
    }
    let other = |(name, mode): &&(&str, String)| *name == "manage-cgroups" && mode != "ignore";
    if let Some((_, mode)) = options.values.iter().find(other) {
        return Err(Error::Config(format!(
            "restore with --manage-cgroups-mode {mode} is not supported: processes are made in the container's cgroup"
        )));
    }
    available()?;
    let linux = config.linux();
    let claim = Claim::new(root, id)?;
    let cgroup = claim_cgroup(&claim, id, config, create)?;
    let stage = claim.folder().join("criu-root");
    make_folder(&stage)?;
    let mounts = &config.spec.mounts;
    let places = places(mounts, &cgroup, &config.rootfs);
    make_places(&config.rootfs, mounts)?;
    let pid_file = claim.folder().join("criu.pid");
    let mut criu = command("restore", options)?;
    criu.args(["--restore-detached", "--restore-sibling"]);
    criu.arg("--pidfile").arg(&pid_file);
    criu.arg("--root").arg(&stage);
    for place in &places {
        criu.arg("--external")
            .arg(format!("mnt[{}]:{}", place.destination, place.source.display()));
    }
    let mut kept = Vec::new();
    for one in &linux.namespaces {
        if let Some((_, name)) = external(one.typ).filter(|_| !one.path.is_empty()) {
            let open = path::open(Path::new(&one.path), 0)?;
            criu.arg("--inherit-fd").arg(inherited(&open, name)?);
            kept.push(open);
        }
    }
    let streams = options.image_path.join(DESCRIPTORS);
    let streams: Vec<String> = fs::read(&streams)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    for (number, stream) in streams
        .iter()
        .enumerate()
        .filter(|(_, stream)| stream.starts_with("pipe:"))
    {
        criu.arg("--inherit-fd").arg(format!("fd[{number}]:{stream}"));
    }
    let resources = resources(&linux);
    let mut unfinished = Unfinished::new(&cgroup);
    cgroup.create_for(0, &resources)?;
    cgroup.set_devices(&resources)?;
    cgroup.set_first(&resources)?;
    let surroundings = Surroundings {
        stage: &stage,
        entrance: cgroup.entrance()?,
        rootfs: &config.rootfs,
    };
    log.debug(|| format!("{criu:?}"));
    let status = surroundings.run(&criu)?;
    judge(
        status == 0,
        &format!("exit status {status}"),
        "restore",
        options,
        log,
    )?;
    drop(kept);
    let text = fs::read_to_string(&pid_file).map_err(Error::file("failed to read", &pid_file))?;
    let pid: Pid = text
        .trim()
        .parse()
        .map_err(|_| Error::Init(format!("criu wrote no process id: {text:?}")))?;
    // From here on it is a child of ours.
    let pidfd = process::pidfd_open(pid)?;
    let noted = announce(pid, pidfd.as_fd(), None, create.pid_file.as_deref());
    let new = New {
        id,
        pid,
        config,
        cgroup: &cgroup,
    };
    if let Err(error) = noted.and_then(|()| claim.keep(&new)) {
        let _ = process::kill(pid, 9);
        let _ = process::wait(pid);
        return Err(error);
    }
    unfinished.finish();
    Ok(Created {
        pid,
        pidfd,
        console: None,
    })
}

/// A descriptor that criu gets, as it names it.
fn inherited(open: &std::os::fd::OwnedFd, name: &str) -> Result<String> {
    use std::os::fd::AsRawFd;
    gantry_sys::fd::keep_on_exec(open.as_fd())?;
    Ok(format!("fd[{}]:{name}", open.as_raw_fd()))
}

fn available() -> Result<()> {
    let failed = |why: String| Err(Error::State(format!("CRIU version check failed: {why}")));
    match Command::new("criu").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            failed("exec: \"criu\": executable file not found in $PATH".to_owned())
        }
        Err(error) => failed(chain(&error)),
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::file("failed to make", folder))
}

/// criu with what both ways have in common.
fn command(verb: &str, options: &Options) -> Result<Command> {
    let mut criu = Command::new("criu");
    criu.arg(verb).arg("--images-dir").arg(&options.image_path);
    if let Some(folder) = &options.work_path {
        make_folder(folder)?;
        criu.arg("--work-dir").arg(folder);
    }
    criu.args(["-v4", "--log-file", &log_name(verb)]);
    criu.args(options.switches.iter().map(|name| format!("--{name}")));
    for (name, value) in &options.values {
        criu.arg(format!("--{name}={value}"));
    }
    Ok(criu)
}

fn log_name(verb: &str) -> String {
    let verb = if verb == "pre-dump" { "dump" } else { verb };
    format!("{verb}.log")
}

fn run(mut criu: Command, verb: &str, options: &Options, log: &Log) -> Result<()> {
    log.debug(|| format!("{criu:?}"));
    let status = criu
        .status()
        .map_err(|error| Error::State(format!("failed to run criu: {}", chain(&error))))?;
    judge(status.success(), &status.to_string(), verb, options, log)
}

/// What became of criu; of a failure its own log tells more.
fn judge(well: bool, status: &str, verb: &str, options: &Options, log: &Log) -> Result<()> {
    if well {
        return Ok(());
    }
    let folder = options.work_path.as_ref().unwrap_or(&options.image_path);
    let path = folder.join(log_name(verb));
    let text = fs::read_to_string(&path).unwrap_or_default();
    log.warn(&format!("--- Quoting {:?}", path.display().to_string()));
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("Error"))
    {
        log.warn(&format!("{}:{line}", at + 1));
    }
    Err(Error::State(format!(
        "criu failed: type {}: {status}",
        verb.to_uppercase().replace('-', "_")
    )))
}

/// criu's words for namespaces that may be the host's.
fn external(kind: LinuxNamespaceType) -> Option<(&'static str, &'static str)> {
    match kind {
        LinuxNamespaceType::Network => Some(("net", "extRootNetNS")),
        LinuxNamespaceType::Pid => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

fn namespace_inode(place: &str) -> Result<u64> {
    Ok(path::fstat(path::open(Path::new(place), 0)?.as_fd())?.st_ino)
}

/// A mount whose source is the host's.
struct Place {
    destination: String,
    source: PathBuf,
}

/// All of them: bind mounts, and with version 1 the cgroups.
fn places(mounts: &[Mount], cgroup: &Manager, rootfs: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for one in mounts {
        let options = MountOptions::parse(one.options.iter().map(String::as_str));
        if is_bind(one, &options) {
            places.push(Place {
                destination: resolved(rootfs, Path::new(&one.destination)),
                source: PathBuf::from(&one.source),
            });
        } else if one.typ == "cgroup" && cgroup.version() == Version::V1 {
            for (hierarchy, folder) in cgroup.hierarchies() {
                let name = hierarchy.mount.file_name().unwrap_or_default();
                places.push(Place {
                    destination: Path::new(&one.destination).join(name).display().to_string(),
                    source: folder.to_owned(),
                });
            }
        }
    }
    places
}

/// A place in the container without the links on the way.
fn resolved(rootfs: &Path, destination: &Path) -> String {
    const O_PATH: i32 = 0o10_000_000;
    let found = || {
        let root = path::open(rootfs, O_PATH).ok()?;
        let place = path::open_in_root(root.as_fd(), destination, O_PATH).ok()?;
        let place = fs::read_link(path::of_fd(place.as_fd())).ok()?;
        Some(Path::new("/").join(place.strip_prefix(rootfs).ok()?))
    };
    found()
        .unwrap_or_else(|| destination.to_owned())
        .display()
        .to_string()
}

/// Makes in the root file system what is mounted on.
fn make_places(rootfs: &Path, mounts: &[Mount]) -> Result<()> {
    const O_PATH: i32 = 0o10_000_000;
    let root = path::open(rootfs, O_PATH)?;
    let on_tmpfs = |one: &Mount| {
        let within = |other: &&Mount| {
            other.typ == "tmpfs"
                && Path::new(&one.destination).starts_with(&other.destination)
                && *other != one
        };
        mounts.iter().any(|other| within(&other))
    };
    for one in mounts.iter().filter(|one| one.typ != "cgroup" && !on_tmpfs(one)) {
        let options = MountOptions::parse(one.options.iter().map(String::as_str));
        let destination = Path::new("/").join(&one.destination);
        let made = match is_bind(one, &options) && !Path::new(&one.source).is_dir() {
            true => path::make_file_in_root(root.as_fd(), &destination, 0o755),
            false => path::make_dirs_in_root(root.as_fd(), &destination, 0o755),
        };
        drop(made?);
    }
    Ok(())
}

/// Where criu makes the processes: the root file system is a mount of its own, as criu wants it, and only in criu's
/// namespace of mounts. Whoever is killed leaves no mount behind, below which the host's files would be.
struct Surroundings<'a> {
    entrance: gantry_cgroups::Entrance,
    stage: &'a Path,
    rootfs: &'a Path,
}

impl Surroundings<'_> {
    /// Runs criu to its end. The process it makes becomes our child, as criu is.
    fn run(&self, criu: &Command) -> Result<i32> {
        let program = find_program(criu.get_program())?;
        let args = std::iter::once(criu.get_program()).chain(criu.get_args());
        let args = args.map(c_string).collect::<Result<Vec<_>>>()?;
        let environment = std::env::vars_os().map(|(name, value)| {
            let mut both = name;
            both.push("=");
            both.push(value);
            c_string(&both)
        });
        let environment = environment.collect::<Result<Vec<_>>>()?;
        let program = c_string(program.as_os_str())?;
        let (ours, theirs) = Channel::pair()?;
        let pid = match process::fork(0)? {
            Forked::Child => {
                drop(ours);
                let error = match self.enter() {
                    Ok(()) => process::exec(&program, &args, &environment).into(),
                    Err(error) => error,
                };
                let _ = theirs.send(&Message::Failed(error.chain()), None);
                process::exit(1)
            }
            Forked::Parent(pid, _) => pid,
        };
        drop(theirs);
        // The channel closes when criu is executed.
        let said = ours.receive();
        let status = process::wait(pid)?.status;
        match said? {
            Some((Message::Failed(why), _)) => Err(Error::State(format!("failed to run criu: {why}"))),
            _ => Ok(status),
        }
    }

    fn enter(&self) -> Result<()> {
        const MS_SLAVE_REC: u64 = 0x8_4000;
        const MS_BIND_REC: u64 = 0x5000;
        // Alone it would go on making a container that nobody has a record of.
        prctl::set_parent_death_signal(9)?;
        // Before anything is made: whom criu makes is born in the cgroup, under its limits.
        self.entrance
            .enter()
            .map_err(Error::file("failed to enter the", "cgroup"))?;
        ns::unshare(plan::flag(LinuxNamespaceType::Mount))?;
        mount::set_propagation(Path::new("/"), MS_SLAVE_REC)?;
        Ok(mount::mount(self.rootfs, self.stage, "", MS_BIND_REC, "")?)
    }
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| Error::Config(format!("{:?} has a NUL in it", text.display().to_string())))
}

/// The program in `$PATH`.
fn find_program(name: &OsStr) -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::State(format!("failed to run {}: not found in $PATH", name.display())))
}
