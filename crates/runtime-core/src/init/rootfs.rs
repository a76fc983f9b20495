//! The root file system: a copy of its mount, everything that is mounted on it, and pivot_root. Every place is found with
//! openat2 below the root's descriptor; nothing in the image can lead out of it.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gantry_cgroups::Version;
use gantry_oci::runtime::{LinuxNamespaceType, Mount};
use gantry_sys::mount::{self, Attributes, Options};
use gantry_sys::path;
use gantry_sys::procfs::{self, Mounted};

use super::{Parent, Setup, bind, copyup, devices, enter_cgroup_namespace, has};
use crate::error::{Error, Result, chain};
use crate::hooks;
use crate::sources::{self, is_bind};
use gantry_oci::runtime::ContainerState;

const O_PATH: i32 = 0o10_000_000;
const O_DIRECTORY: i32 = 0o200_000;
const MS_REC: u64 = 0x4000;
const MS_SLAVE: u64 = 1 << 19;
const MS_BIND: u64 = 0x1000;
const MS_REMOUNT: u64 = 0x20;
const MS_MOVE: u64 = 0x2000;
const MS_RDONLY: u64 = 1;
/// `MOUNT_ATTR_…`
const ATTR_RDONLY: u64 = 1;
const ATTR_ATIME: u64 = 0x70;

/// Builds it and makes it `/`.
pub(super) fn build(setup: &Setup<'_>, parent: &mut Parent<'_>) -> Result<()> {
    let propagation = propagation(&setup.linux.rootfs_propagation)?;
    let own = has(setup.linux, LinuxNamespaceType::Mount);
    if own {
        keep_to_ourselves(setup, propagation)?;
    }
    let old_root = path::open(Path::new("/"), O_PATH | O_DIRECTORY)?;
    let place = path::open(&setup.config.rootfs, O_PATH | O_DIRECTORY)?;
    let root = mount::open_tree(place.as_fd(), "", true)?;
    mount::move_mount(root.as_fd(), place.as_fd())?;

    let mut entered = false;
    for (at, one) in setup.config.spec.mounts.iter().enumerate() {
        if is_cgroup(one) && !entered {
            parent.await_go()?;
            enter_cgroup_namespace(setup)?;
            entered = true;
        }
        mount_one(setup, parent, root.as_fd(), at, one).map_err(|error| {
            let what = if one.typ.is_empty() { "bind" } else { &one.typ };
            let source = if one.source.is_empty() { what } else { &one.source };
            Error::Init(format!(
                "error mounting {source:?} to rootfs at {:?}: {}",
                one.destination,
                chain(&error)
            ))
        })?;
    }
    if !entered {
        parent.await_go()?;
        enter_cgroup_namespace(setup)?;
    }
    if !dev_is_from_the_host(setup) {
        let before = gantry_sys::prctl::umask(0);
        let made = devices::make(
            root.as_fd(),
            setup.linux,
            setup.namespaces.has_user,
            setup.process.terminal,
        );
        gantry_sys::prctl::umask(before);
        made?;
    }
    for one in setup
        .config
        .spec
        .mounts
        .iter()
        .filter(|one| is_dev(&destination(setup, one)))
    {
        let options = Options::parse(one.options.iter().map(String::as_str));
        if options.flags & MS_RDONLY != 0 && !is_bind(one, &options) {
            make_read_only(root.as_fd(), Path::new("/dev"))?;
        }
    }
    parent.run_hooks(setup.hooks)?;
    let pid = gantry_sys::process::pid();
    let state = setup.config.state(setup.id, ContainerState::Creating, pid);
    let here = path::of_fd(root.as_fd());
    let place = hooks::Place {
        folder: Some(&here),
        env: Some(&[]),
    };
    hooks::run("createContainer", &setup.hooks.create_container, &state, &place)?;

    // runc makes the working directory if the image has none.
    path::make_dirs_in_root(root.as_fd(), Path::new(&setup.process.cwd), 0o755).map_err(|error| {
        Error::Init(format!(
            "failed to make the working directory {}: {}",
            setup.process.cwd,
            chain(&error)
        ))
    })?;

    mount::fchdir(root.as_fd())?;
    if !own {
        // The host's root stays where it is: it is everybody's.
        mount::chroot(Path::new("."))?;
    } else if setup.options.no_pivot {
        uncover(&setup.config.rootfs)?;
        mount::mount(Path::new("."), Path::new("/"), "", MS_MOVE, "")?;
        mount::chroot(Path::new("."))?;
    } else {
        mount::pivot_root_here()?;
        // The old root lies on the new one now; the working directory decides which is taken away.
        mount::fchdir(old_root.as_fd())?;
        if propagation.is_some_and(|flags| flags & SHARED != 0) {
            // The host must not lose what we take away.
            mount::set_propagation(Path::new("."), MS_SLAVE | MS_REC)?;
        }
        mount::unmount(Path::new("."), 2)?;
    }
    std::env::set_current_dir("/").map_err(Error::file("failed to change the directory to", "/"))?;
    if let Some(propagation) = propagation.filter(|_| own) {
        mount::set_propagation(Path::new("/"), propagation)?;
    }
    if setup.config.spec.root.as_ref().is_some_and(|root| root.readonly) {
        let here = path::open(Path::new("/"), O_PATH | O_DIRECTORY)?;
        mount::set_attributes(
            here.as_fd(),
            Attributes {
                set: ATTR_RDONLY,
                ..Default::default()
            },
            false,
        )?;
    }
    Ok(())
}

/// Takes the host's views of the kernel away before the root is moved over them: where one is not covered, the kernel lets
/// an unprivileged user mount another, in which nothing is masked.
fn uncover(rootfs: &Path) -> Result<()> {
    const DETACH: i32 = 2;
    let mounts = procfs::mounts().map_err(Error::file("failed to read", "/proc/self/mountinfo"))?;
    let of_kernel = |one: &Mounted| matches!(one.kind.as_str(), "proc" | "sysfs");
    let places: Vec<PathBuf> = mounts
        .into_iter()
        .filter(|one| of_kernel(one) && !one.place.starts_with(rootfs))
        .map(|one| one.place)
        .collect();
    // The last ones lie on the first ones.
    for place in places.iter().rev() {
        match mount::unmount(place, DETACH) {
            // Locked in a user namespace: covered for good.
            Err(error) if matches!(error.errno(), 1 | 22) => {
                mount::mount(Path::new("tmpfs"), place, "tmpfs", 0, "")?;
            }
            other => other?,
        }
    }
    Ok(())
}

const SHARED: u64 = 1 << 20;
const MS_PRIVATE: u64 = 1 << 18;

/// Nothing that is done here is to be seen by the host; but with a shared root, what is mounted later in a shared volume is.
fn keep_to_ourselves(setup: &Setup<'_>, propagation: Option<u64>) -> Result<()> {
    let root = Path::new("/");
    let shared = propagation.is_some_and(|flags| flags & SHARED != 0);
    if !shared || setup.options.no_pivot {
        let private = propagation.filter(|flags| flags & MS_PRIVATE != 0);
        return Ok(mount::set_propagation(
            root,
            private.unwrap_or(MS_SLAVE) | MS_REC,
        )?);
    }
    // The copy of the root file system must be nobody's peer, nor be seen where it is put.
    for folder in setup.config.rootfs.ancestors() {
        match mount::set_propagation(folder, MS_PRIVATE) {
            // Not what is mounted here: a folder of what is further up.
            Err(error) if error.errno() == 22 => {}
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// The flags of a word of `rootfsPropagation`.
pub(crate) fn propagation(word: &str) -> Result<Option<u64>> {
    let (recursive, plain) = match word.strip_prefix('r') {
        Some(plain) => (MS_REC, plain),
        None => (0, word),
    };
    let flags = match plain {
        "" if recursive == 0 => return Ok(None),
        "shared" => SHARED,
        "slave" => MS_SLAVE,
        "private" => MS_PRIVATE,
        "unbindable" => 1 << 17,
        _ => {
            return Err(Error::Config(format!(
                "rootfsPropagation={word} is not supported"
            )));
        }
    };
    Ok(Some(flags | recursive))
}

fn is_cgroup(mount: &Mount) -> bool {
    matches!(mount.typ.as_str(), "cgroup" | "cgroup2")
}

/// With the host's `/dev` bound in, no device is made in it.
fn dev_is_from_the_host(setup: &Setup<'_>) -> bool {
    setup.config.spec.mounts.iter().any(|mount| {
        let options = Options::parse(mount.options.iter().map(String::as_str));
        Path::new("/").join(&mount.destination) == Path::new("/dev") && is_bind(mount, &options)
    })
}

fn mount_one(
    setup: &Setup<'_>,
    parent: &mut Parent<'_>,
    root: BorrowedFd<'_>,
    at: usize,
    one: &Mount,
) -> Result<()> {
    let destination = destination(setup, one);
    let options = Options::parse(one.options.iter().map(String::as_str));
    let bind = is_bind(one, &options);
    bind::refuse_inside_proc(&destination, one, bind)?;
    if bind {
        let copy = match sources::is_asked_for(one, &options, setup.linux, setup.by_root) {
            true => parent.copy_source(at)?,
            false => {
                let from = path::open(&setup.config.bundle.join(&one.source), O_PATH)?;
                mount::open_tree(from.as_fd(), "", options.flags & MS_REC != 0)?
            }
        };
        return bind::put(root, one, &destination, &options, copy.as_fd());
    }
    match one.typ.as_str() {
        "cgroup" | "cgroup2" => {
            let place = path::make_dirs_in_root(root, &destination, 0o755)?;
            bind::refuse_led_into_proc(root, place.as_fd(), one, bind)?;
            return cgroup(setup, root, &place, &destination, &options);
        }
        "proc" | "sysfs" => {
            drop(path::make_dirs_in_root(root, &destination, 0o755)?);
            // A link would put the kernel's files somewhere that is not known to be masked.
            let flags = O_PATH | O_DIRECTORY;
            let place = path::openat2(
                root,
                path::relative(&destination),
                flags,
                0,
                path::IN_ROOT | path::NO_SYMLINKS,
            )
            .map_err(|_| {
                Error::Config(format!(
                    "{:?} must be mounted on ordinary directory",
                    one.destination
                ))
            })?;
            mount_on(&place, &one.typ, &one.source, &options)?;
        }
        kind => {
            let was_there = path::open_in_root(root, &destination, O_PATH).is_ok();
            let place = path::make_dirs_in_root(root, &destination, 0o755)?;
            bind::refuse_led_into_proc(root, place.as_fd(), one, bind)?;
            let mode = (was_there && kind == "tmpfs" && !options.data.contains("mode="))
                .then(|| path::fstat(place.as_fd()))
                .transpose()?;
            let mut options = options.clone();
            // What makes it read-only comes when there is nothing to be made in it any more.
            let later = kind == "tmpfs"
                && options.flags & MS_RDONLY != 0
                && (options.copy_up || is_dev(&destination));
            if later {
                options.flags &= !MS_RDONLY;
            }
            if let Some(stat) = mode {
                // A tmpfs looks like the folder that it covers.
                let separator = if options.data.is_empty() { "" } else { "," };
                options.data = format!("{}{separator}mode={:o}", options.data, stat.st_mode & 0o7777);
            }
            // Other kinds have labels of their own.
            let label = setup.linux.mount_label.as_str();
            if !label.is_empty() && kind != "mqueue" && Path::new("/sys/fs/selinux/enforce").exists() {
                let separator = if options.data.is_empty() { "" } else { "," };
                options.data = format!("{}{separator}context=\"{label}\"", options.data);
            }
            mount_on(&place, kind, &one.source, &options)?;
            if options.copy_up && kind == "tmpfs" {
                let covered = path::open(&path::of_fd(place.as_fd()), O_DIRECTORY)?;
                let top = path::open_in_root(root, &destination, O_DIRECTORY)?;
                copyup::copy(covered.as_fd(), top.as_fd())?;
            }
            if later && !is_dev(&destination) {
                make_read_only(root, &destination)?;
            }
        }
    }
    finish(root, &destination, &options)
}

fn is_dev(destination: &Path) -> bool {
    destination.components().eq(Path::new("/dev").components())
}

fn make_read_only(root: BorrowedFd<'_>, destination: &Path) -> Result<()> {
    let mounted = path::open_in_root(root, destination, O_PATH)?;
    let attributes = Attributes {
        set: ATTR_RDONLY,
        ..Default::default()
    };
    Ok(mount::set_attributes(mounted.as_fd(), attributes, false)?)
}

/// Where a mount goes, from the container's root. Some callers name the place on the host.
fn destination(setup: &Setup<'_>, one: &Mount) -> PathBuf {
    let path = Path::new("/").join(&one.destination);
    match path.strip_prefix(&setup.config.rootfs) {
        Ok(below) => Path::new("/").join(below),
        Err(_) => path,
    }
}

/// mount(2) on what a descriptor is open on.
fn mount_on(place: &OwnedFd, kind: &str, source: &str, options: &Options) -> Result<()> {
    let source = if source.is_empty() { kind } else { source };
    let target = path::of_fd(place.as_fd());
    Ok(mount::mount(
        Path::new(source),
        &target,
        kind,
        options.flags & !MS_REC,
        &options.data,
    )?)
}

/// Propagation and recursive attributes of what was just mounted.
fn finish(root: BorrowedFd<'_>, destination: &Path, options: &Options) -> Result<()> {
    if options.propagation.is_empty() && options.recursive == Default::default() {
        return Ok(());
    }
    let mounted = path::open_in_root(root, destination, O_PATH)?;
    set_tree(mounted.as_fd(), options)
}

pub(super) fn set_tree(mounted: BorrowedFd<'_>, options: &Options) -> Result<()> {
    for flags in &options.propagation {
        let attributes = Attributes {
            propagation: flags & !MS_REC,
            ..Default::default()
        };
        mount::set_attributes(mounted, attributes, flags & MS_REC != 0)?;
    }
    let recursive = options.recursive;
    if recursive != Default::default() {
        let attributes = Attributes {
            set: recursive.set,
            clear: recursive.clear,
            ..Default::default()
        };
        mount::set_attributes(mounted, attributes, true)?;
    }
    Ok(())
}

/// The cgroup file systems, as the container is to see them.
fn cgroup(
    setup: &Setup<'_>,
    root: BorrowedFd<'_>,
    place: &OwnedFd,
    destination: &Path,
    options: &Options,
) -> Result<()> {
    if setup.cgroup.version() == Version::V2 {
        let flags = options.flags;
        let target = path::of_fd(place.as_fd());
        let top = setup.cgroup.hierarchies().next().map(|(one, _)| &one.mount);
        if let (Some(top), false, false) = (
            top,
            has(setup.linux, LinuxNamespaceType::Cgroup),
            setup.namespaces.has_user,
        ) {
            // The host's own view: mounted anew without its options, such as `nsdelegate`, it would lose them.
            attach(top, place.as_fd(), options)?;
        } else if mount::mount(Path::new("cgroup"), &target, "cgroup2", flags, "").is_err() {
            // Not allowed in a user namespace that has no cgroup namespace: the host's view, of this container only.
            let folder = setup.cgroup.folder("").unwrap_or(Path::new("/sys/fs/cgroup"));
            match folder.is_dir() {
                true => attach(folder, place.as_fd(), options)?,
                // Without a cgroup of its own there is nothing to show, and those of the host are not to be seen.
                false => mount::mount(
                    Path::new("tmpfs"),
                    &target,
                    "tmpfs",
                    MS_RDONLY,
                    "nr_blocks=1,nr_inodes=1",
                )?,
            }
        }
        return finish(root, destination, options);
    }
    let own = has(setup.linux, LinuxNamespaceType::Cgroup);
    let target = path::of_fd(place.as_fd());
    mount::mount(
        Path::new("tmpfs"),
        &target,
        "tmpfs",
        options.flags & !MS_RDONLY,
        "mode=755",
    )?;
    let top = path::open_in_root(root, destination, O_PATH | O_DIRECTORY)?;
    for (hierarchy, folder) in setup.cgroup.hierarchies() {
        let name = hierarchy
            .mount
            .file_name()
            .unwrap_or_else(|| OsStr::new("unified"));
        path::make_dir_at(top.as_fd(), name, 0o755)?;
        let below = path::openat2(
            top.as_fd(),
            Path::new(name),
            O_PATH | O_DIRECTORY,
            0,
            path::BENEATH,
        )?;
        if own {
            let kind = if hierarchy.controllers.is_empty() {
                "cgroup2"
            } else {
                "cgroup"
            };
            let data = hierarchy.controllers.join(",");
            mount::mount(
                Path::new(kind),
                &path::of_fd(below.as_fd()),
                kind,
                options.flags,
                &data,
            )?;
        } else {
            attach(folder, below.as_fd(), options)?;
        }
        // Hierarchies of several controllers are known by each of their names too.
        for controller in hierarchy
            .controllers
            .iter()
            .filter(|c| hierarchy.controllers.len() > 1 && OsStr::new(c) != name)
        {
            path::make_link_at(Path::new(name), top.as_fd(), OsStr::new(controller))?;
        }
    }
    if options.flags & MS_RDONLY != 0 {
        let flags = MS_REMOUNT | MS_BIND | options.flags;
        mount::mount(Path::new(""), &path::of_fd(top.as_fd()), "", flags, "")?;
    }
    finish(root, destination, options)
}

/// Puts a copy of the mount at `folder` onto `place`.
fn attach(folder: &Path, place: BorrowedFd<'_>, options: &Options) -> Result<()> {
    fs::metadata(folder).map_err(Error::file("failed to find the cgroup", folder))?;
    let from = path::open(folder, O_PATH | O_DIRECTORY)?;
    let copy = mount::open_tree(from.as_fd(), "", false)?;
    let set = options.attributes();
    let clear = if set & ATTR_ATIME != 0 { ATTR_ATIME } else { 0 };
    mount::set_attributes(
        copy.as_fd(),
        Attributes {
            set,
            clear,
            ..Default::default()
        },
        false,
    )?;
    mount::move_mount(copy.as_fd(), place)?;
    Ok(())
}
