//! Debian's podman for one test: on storage, locks and a configuration of its own, with the runtime of the test's choice.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gantry_testkit::cmd::{Said, run, run_with_input};
use gantry_testkit::image::Image;
use gantry_testkit::kernel;
use gantry_testkit::place::Place;

/// What is loaded into every one.
pub const IMAGE: &str = "localhost/busybox:latest";

/// A private podman. Dropped, it removes its containers, and the test fails when something of them stays.
pub struct Podman {
    runtime: PathBuf,
    place: Place,
}

impl Podman {
    /// One that calls `runtime`, with [`IMAGE`].
    pub fn start(runtime: &Path) -> Self {
        let place = Place::new();
        // The limits: those it would set are more than a machine without CAP_SYS_RESOURCE can. The locks are in shared memory
        // otherwise, one folder of them for all podmans of the machine, which a new one takes for free.
        let config = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1000:1000\", \"nproc=1000:1000\"]\n\
             init_path = \"/usr/bin/tini-static\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             tmp_dir = \"{0}/tmp\"\nvolume_path = \"{0}/volumes\"\n\
             infra_image = \"{IMAGE}\"\n\
             [network]\nnetwork_config_dir = \"{0}/networks\"\n",
            place.dir().display()
        );
        fs::write(place.join("containers.conf"), config).expect("the configuration");
        remove_what_looks_like_a_hierarchy();
        let podman = Self {
            runtime: runtime.to_owned(),
            place,
        };
        let archive = Image::busybox().archive(IMAGE);
        run_with_input(&mut podman.command(["load", "-q"]), &archive).success();
        podman
    }

    /// One that calls `runtime` by the name of runc, which it knows to log in JSON.
    pub fn with_runc_replaced(runtime: &Path) -> Self {
        let mut podman = Self::start(runtime);
        podman.runtime = podman.place.join("runc");
        symlink(runtime, &podman.runtime).expect("a link to the runtime");
        podman
    }

    /// The place of the test.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A command of `podman`.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("podman");
        command
            // runc's checkpoint leaves a log of criu's where it is called.
            .current_dir(self.place.dir())
            .env("CONTAINERS_CONF", self.place.join("containers.conf"))
            .env("HOME", self.place.dir())
            .arg("--root")
            .arg(self.place.join("root"))
            .arg("--runroot")
            .arg(self.place.join("run"))
            .args(["--storage-driver", "overlay", "--runtime"])
            .arg(&self.runtime)
            .args(args);
        command
    }

    /// Runs a command of `podman`.
    #[track_caller]
    pub fn podman<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&mut self.command(args))
    }

    /// `podman run`, in a cgroup of the test and without a network unless the flags tell of one.
    pub fn run_command(&self, flags: &[&str], args: &[&str]) -> Command {
        let own = ["run", "--cgroup-parent", self.place.cgroup()];
        let network = if flags.contains(&"--network") || flags.contains(&"--pod") {
            &[][..]
        } else {
            &["--network", "none"]
        };
        self.command([&own[..], network, flags, &[IMAGE], args].concat())
    }
}

/// An empty folder beside the mounted hierarchies of version 1, left of another, is one for podman: it makes its own there as if
/// they were cgroups, and can then not remove its pods. What is mounted stays, and so does what is in use.
fn remove_what_looks_like_a_hierarchy() {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return;
    }
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(entry.path());
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(["pod", "rm", "-fa", "-t", "0"]).output();
        let _ = self.command(["rm", "-fa", "-t", "0"]).output();
        // A monitor or the cleaner that it starts may still be on its way out.
        for _ in 0..100 {
            if kernel::processes(self.place.dir()).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // The cgroups of its monitors stay, and of those of pods some; with a process or a container's cgroup in them they are
        // not empty, and the place tells of them.
        for path in kernel::cgroups(self.place.cgroup()).iter().rev() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("libpod-") {
                let _ = fs::remove_dir(path);
            }
        }
        // The folder of all root file systems, mounted on itself, stays where two of its processes ended at once.
        let overlay = self.place.join("root/overlay");
        let _ = Command::new("umount").arg("--quiet").arg(overlay).output();
    }
}
