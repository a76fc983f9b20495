//! What the container may not see or change of the kernel: names, parameters, masked and read-only paths.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use gantry_oci::runtime::Mount;
use gantry_sys::mount::{self, Attributes};
use gantry_sys::{fd, ns, path, pty};

use super::{Setup, lsm};
use crate::error::{Error, Result, chain};

const O_PATH: i32 = 0o10_000_000;
const O_WRONLY: i32 = 1;
const O_DIRECTORY: i32 = 0o200_000;
const O_NOFOLLOW: i32 = 0o400_000;
const ATTR_RDONLY: u64 = 1;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// Applies all of it, in the container's root.
pub(super) fn apply(setup: &Setup<'_>) -> Result<()> {
    let spec = &setup.config.spec;
    if !spec.hostname.is_empty() {
        ns::set_hostname(&spec.hostname)?;
    }
    if !spec.domainname.is_empty() {
        ns::set_domainname(&spec.domainname)?;
    }
    lsm::prepare(setup.process)?;
    for (name, value) in &setup.linux.sysctl {
        sysctl(name, value)?;
    }
    let kernel = Kernel::found(&setup.config.spec.mounts)?;
    for place in &setup.linux.readonly_paths {
        read_only(&kernel, Path::new(place))
            .map_err(|error| Error::Init(format!("can't make {place:?} readonly: {}", chain(&error))))?;
    }
    if !setup.linux.masked_paths.is_empty() {
        let null = null()?;
        let mut empty = None;
        let mut seen = BTreeSet::new();
        for place in setup
            .linux
            .masked_paths
            .iter()
            .filter(|place| seen.insert(place.as_str()))
        {
            mask(&kernel, Path::new(place), &null, &mut empty)
                .map_err(|error| Error::Init(format!("can't mask path {place:?}: {}", chain(&error))))?;
        }
    }
    Ok(())
}

/// The kernel's file systems of the container, held open: who can change the image while we work could otherwise put a link
/// in their place, and what is to be masked would stay open where they were moved to.
struct Kernel {
    /// By the path where it was mounted.
    found: Vec<(&'static Path, OwnedFd)>,
}

impl Kernel {
    /// Those that the configuration mounts, checked to be there.
    fn found(mounts: &[Mount]) -> Result<Self> {
        let mut found = Vec::new();
        for (path, kind, magic) in [
            ("/proc", "proc", PROC_SUPER_MAGIC),
            ("/sys", "sysfs", SYSFS_MAGIC),
        ] {
            let path = Path::new(path);
            let last = mounts.iter().rfind(|one| {
                Path::new("/")
                    .join(&one.destination)
                    .components()
                    .eq(path.components())
            });
            if last.is_some_and(|one| one.typ == kind) {
                let place = path::open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW)?;
                if path::file_system(place.as_fd())? != magic {
                    return Err(Error::Init(format!(
                        "{} is not a {kind} file system",
                        path.display()
                    )));
                }
                found.push((path, place));
            }
        }
        Ok(Self { found })
    }

    /// Opens a place of the container; none when it is not there.
    fn open(&self, at: &Path) -> Result<Option<OwnedFd>> {
        let up = at.components().any(|part| part == Component::ParentDir);
        let within = self
            .found
            .iter()
            .filter(|_| !up)
            .find_map(|(path, place)| Some((place, at.strip_prefix(path).ok()?)));
        let opened = match within {
            Some((place, below)) => {
                // Links in there are the kernel's own.
                path::openat2(place.as_fd(), path::relative(below), O_PATH, 0, 0)
            }
            None => path::open(at, O_PATH),
        };
        match opened {
            Ok(place) => Ok(Some(place)),
            Err(error) if matches!(error.errno(), 2 | 20) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn sysctl(name: &str, value: &str) -> Result<()> {
    let file = crate::sysctl::file(name).ok_or_else(|| Error::Config(format!("invalid sysctl {name:?}")))?;
    write_proc(&file, value)
}

/// The folder of `/proc` that is that of whoever asks.
pub(super) const SELF: &str = "self";

/// Writes to a file of `/proc`, which is found there and nowhere else: neither a link nor something that was mounted over it
/// may take its place, or the write would go astray and nobody would know (CVE-2025-52881).
pub(super) fn write_proc(file: &Path, value: &str) -> Result<()> {
    const ROOT_INODE: u64 = 1;
    let proc = path::open(Path::new("/proc"), O_PATH | O_DIRECTORY | O_NOFOLLOW)?;
    if path::file_system(proc.as_fd())? != PROC_SUPER_MAGIC || path::fstat(proc.as_fd())?.st_ino != ROOT_INODE
    {
        return Err(Error::Init("/proc is not a proc file system".to_owned()));
    }
    let how = path::BENEATH | path::NO_SYMLINKS | path::NO_XDEV;
    let own = match file.strip_prefix(SELF) {
        // That file system's word for us: in one of another namespace of processes our number would be somebody else's.
        Ok(below) => {
            let link = path::openat2(
                proc.as_fd(),
                Path::new(SELF),
                O_PATH | O_NOFOLLOW,
                0,
                path::BENEATH,
            )?;
            path::read_link(link.as_fd())?.join(below)
        }
        Err(_) => file.to_owned(),
    };
    let shown = Path::new("/proc").join(file);
    let open = path::openat2(proc.as_fd(), &own, O_WRONLY, 0, how).map_err(|error| {
        let source = std::io::Error::from_raw_os_error(error.errno());
        gantry_sys::Error::new(format!("open {}", shown.display()), source)
    })?;
    fd::write_all(open.as_fd(), value.as_bytes()).map_err(Error::file("failed to write", shown))
}

fn read_only(kernel: &Kernel, at: &Path) -> Result<()> {
    let Some(place) = kernel.open(at)? else {
        return Ok(());
    };
    let copy = mount::open_tree(place.as_fd(), "", true)?;
    mount::set_attributes(
        copy.as_fd(),
        Attributes {
            set: ATTR_RDONLY,
            ..Default::default()
        },
        false,
    )?;
    Ok(mount::move_mount(copy.as_fd(), place.as_fd())?)
}

/// Makes standard streams that are the host's null device the container's: theirs is on a mount that nobody sees from within.
pub(crate) fn own_null() -> Result<()> {
    const O_RDWR: i32 = 2;
    let is_null = |fd: BorrowedFd<'_>| {
        let stat = path::fstat(fd);
        stat.is_ok_and(|stat| stat.st_mode & 0o170_000 == 0o020_000 && stat.st_rdev == path::NULL_DEVICE)
    };
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)];
    if !streams.iter().any(|(stream, _)| is_null(*stream)) {
        return Ok(());
    }
    // An image without one, or with something else in its place, keeps what it was given.
    let Ok(null) = path::open(Path::new("/dev/null"), O_RDWR) else {
        return Ok(());
    };
    if is_null(null.as_fd()) {
        for (stream, number) in streams {
            if is_null(stream) {
                pty::duplicate_onto(null.as_fd(), number)?;
            }
        }
    }
    Ok(())
}

/// The container's `/dev/null`, checked to be one: a link in the image would otherwise choose what is bound.
fn null() -> Result<OwnedFd> {
    let null = path::open(Path::new("/dev/null"), O_PATH)?;
    let stat = path::fstat(null.as_fd())?;
    match stat.st_mode & 0o170_000 == 0o020_000 && stat.st_rdev == path::device(1, 3) {
        true => Ok(null),
        false => Err(Error::Init("/dev/null is not the null device".to_owned())),
    }
}

/// Covers a file with the null device, and a folder with an empty file system: one for all of them.
fn mask(kernel: &Kernel, at: &Path, null: &OwnedFd, empty: &mut Option<OwnedFd>) -> Result<()> {
    let Some(place) = kernel.open(at)? else {
        return Ok(());
    };
    let cover = match path::fstat(place.as_fd())?.st_mode & 0o170_000 {
        0o040_000 => match empty {
            Some(empty) => mount::open_tree(empty.as_fd(), "", false)?,
            None => {
                let context = mount::fsopen("tmpfs")?;
                mount::fsconfig(&context, "nr_blocks", Some("1"))?;
                mount::fsconfig(&context, "nr_inodes", Some("1"))?;
                let made = mount::fsmount(&context, ATTR_RDONLY)?;
                mount::move_mount(made.as_fd(), place.as_fd())?;
                // Copied for the others from where it is: one that is nowhere cannot be copied before Linux 6.15.
                *empty = Some(made);
                return Ok(());
            }
        },
        _ => mount::open_tree(null.as_fd(), "", false)?,
    };
    Ok(mount::move_mount(cover.as_fd(), place.as_fd())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_not_there_is_named_with_its_whole_path() {
        let error = sysctl("net.nothing", "1").unwrap_err();
        assert_eq!(
            error.chain(),
            "open /proc/sys/net/nothing: no such file or directory"
        );
    }

    #[test]
    fn our_own_files_are_written_and_no_links_are_followed() {
        let names = |at: &str| std::fs::read_to_string(at).unwrap();
        let before = names("/proc/self/comm");
        write_proc(Path::new("self/comm"), "renamed").unwrap();
        assert_eq!(names("/proc/self/comm"), "renamed\n");
        write_proc(Path::new("self/comm"), before.trim_end()).unwrap();
        // Links of the kernel's own, out of it and within.
        for file in [
            "self/fd/0",
            "self/exe",
            "self/cwd/x",
            "mounts",
            "thread-self/comm",
            "../etc/x",
            "/etc/x",
        ] {
            assert!(write_proc(Path::new(file), "").is_err(), "{file}");
        }
    }
}
