//! A private containerd for one test, Debian's or our supervisor in its place: with the shim and the runtime of the test's
//! choice below it, and `ctr` above.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gantry_testkit::cmd::{Said, binaries, run, run_with_input, wait_until};
use gantry_testkit::image::Image;
use gantry_testkit::place::Place;

/// What is loaded into every one.
pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// The daemon. Dropped, it ends with its containers, and the test fails when something of them stays.
pub struct Containerd {
    daemon: Option<Child>,
    ours: bool,
    runtime: PathBuf,
    path: String,
    place: Place,
}

impl Containerd {
    /// Starts one that starts `shim` for `io.containerd.runc.v2`, with `runtime` below it, and loads [`IMAGE`].
    pub fn start(shim: &Path, runtime: &Path) -> Self {
        Self::new(false, shim, runtime)
    }

    /// The same with our supervisor in the place of containerd.
    pub fn ours(shim: &Path, runtime: &Path) -> Self {
        Self::new(true, shim, runtime)
    }

    fn new(ours: bool, shim: &Path, runtime: &Path) -> Self {
        let place = Place::new();
        let programs = place.join("bin");
        fs::create_dir(&programs).expect("a folder");
        // It looks for the shim by this name in its PATH.
        symlink(shim, programs.join("containerd-shim-runc-v2")).expect("a link to the shim");
        let path = format!(
            "{}:{}",
            programs.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{0}/c.sock\"\n[ttrpc]\naddress = \"{0}/c.sock.ttrpc\"\n",
            place.dir().display()
        );
        fs::write(place.join("config.toml"), config).expect("the configuration");
        let mut daemon = Self {
            daemon: None,
            ours,
            runtime: runtime.to_owned(),
            path,
            place,
        };
        daemon.start_daemon();
        let archive = daemon.place.join("busybox.tar");
        fs::write(&archive, Image::busybox().archive("busybox:latest")).expect("the image");
        daemon
            .ctr(["image", "import", &archive.to_string_lossy()])
            .success();
        daemon
    }

    /// The place of the test.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.place.join("c.sock")
    }

    /// Whether it is our supervisor.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// Starts the daemon, which must not run, and waits until it answers.
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "containerd runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.place.join("log"))
            .expect("the log");
        let mut command;
        if self.ours {
            command = Command::new(binaries().join("gantry-supervisor"));
            command.arg("--root").arg(self.place.join("root"));
            command.arg("--state").arg(self.place.join("state"));
            command.arg("--address").arg(self.socket());
        } else {
            command = Command::new("containerd");
            command.arg("--config").arg(self.place.join("config.toml"));
        }
        command.env("PATH", &self.path).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.daemon = Some(child.expect("containerd"));
        wait_until("containerd to answer", || self.ctr(["version"]).code == 0);
    }

    /// SIGKILL.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// A command of `ctr`.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command_in("test", args)
    }

    /// A command of `ctr` in another namespace. `GANTRY_CTR` names another `ctr` than the one in PATH.
    pub fn command_in<S: AsRef<OsStr>>(&self, namespace: &str, args: impl IntoIterator<Item = S>) -> Command {
        let ctr = std::env::var_os("GANTRY_CTR").unwrap_or_else(|| "ctr".into());
        let mut command = Command::new(ctr);
        command.arg("--address").arg(self.socket());
        command.args(["-n", namespace]).args(args);
        command
    }

    /// Runs a command of `ctr`.
    #[track_caller]
    pub fn ctr<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&mut self.command(args))
    }

    /// `ctr run` with flags, of a container that runs `args`; its id is `name` made one of the test's own.
    pub fn run_command(&self, flags: &[&str], name: &str, args: &[&str]) -> Command {
        let id = self.id(name);
        let mut command = self.command(["run", "--runtime", "io.containerd.runc.v2", "--runc-binary"]);
        command
            .arg(&self.runtime)
            .arg("--runc-root")
            .arg(self.place.join("runc"));
        command.arg("--fifo-dir").arg(self.place.join("fifo"));
        command
            .arg("--cgroup")
            .arg(format!("{}/{id}", self.place.cgroup()));
        command.args(flags).args([IMAGE, &id]).args(args);
        command
    }

    /// `ctr run --rm` in the foreground, with input.
    #[track_caller]
    pub fn run(&self, flags: &[&str], name: &str, args: &[&str], input: &[u8]) -> Said {
        let mut command = self.run_command(&[&["--rm"], flags].concat(), name, args);
        // `ctr` forgets an end of its input that comes before it has made the task: it waits for ever.
        let mut late = Command::new("sh");
        let wait = r#"(cat; for i in $(seq 200); do $0 task ls | grep -q "$1 .*RUNNING" && break; sleep 0.1; done) |
            (shift; exec "$@")"#;
        let ctr = self.command::<&str>([]);
        let words = std::iter::once(ctr.get_program()).chain(ctr.get_args());
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        late.args(["-c", wait, &words.join(" "), &self.id(name)])
            .arg(command.get_program())
            .args(command.get_args());
        run_with_input(if input.is_empty() { &mut command } else { &mut late }, input)
    }

    /// `ctr run --detach`; what the container says is written to a file, see [`Containerd::output`].
    #[track_caller]
    pub fn detach(&self, flags: &[&str], name: &str, args: &[&str]) {
        let log = format!("file://{}", self.place.join(format!("{name}.out")).display());
        let flags = [&["--detach", "--log-uri", &log], flags].concat();
        run(&mut self.run_command(&flags, name, args)).success();
    }

    /// What a detached container has said.
    pub fn output(&self, name: &str) -> String {
        fs::read_to_string(self.place.join(format!("{name}.out"))).unwrap_or_default()
    }

    /// The id of the container `name`.
    pub fn id(&self, name: &str) -> String {
        self.place.name(name)
    }

    /// The process id and the status of a task.
    pub fn task(&self, name: &str) -> Option<(i32, String)> {
        let said = self.ctr(["task", "ls"]).success();
        let id = self.id(name);
        said.stdout.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [found, pid, status] if found == id => Some((pid.parse().ok()?, status.to_owned())),
                _ => None,
            }
        })
    }

    /// Waits until a task has a status.
    #[track_caller]
    pub fn wait_status(&self, name: &str, wanted: &str) {
        wait_until(&format!("{name} to be {wanted}"), || {
            self.task(name).is_some_and(|(_, status)| status == wanted)
        });
    }

    /// What the daemon logged last.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.place.join("log")).unwrap_or_default();
        let tail: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("loading plugin"))
            .collect();
        let tail: Vec<&str> = tail.into_iter().rev().take(30).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        self.kill_daemon();
    }
}
