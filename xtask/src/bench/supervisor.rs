//! The supervisor beside containerd: the same client (`examples/load.rs` of `gantry-supervisor-api`) gives both the same calls
//! over one connection; containers stand on snapshots, and each side has its own shim and runtime below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Options;
use super::measure::{Times, times};
use super::memory::pss;
use super::report::Report;
use super::scratch::Scratch;
use crate::binaries::{self, Profile};

/// How many containers are started at once.
const AT_ONCE: usize = 8;
/// How many events are published.
const EVENTS: usize = 5000;

/// A supervisor on private roots.
struct Host {
    name: &'static str,
    load: PathBuf,
    command: Command,
    socket: PathBuf,
    /// For the client: the shim, and the runtime below it.
    runtime: String,
    /// How its shims' processes are called, as the kernel cuts it.
    shim: &'static str,
    child: Option<Child>,
}

impl Host {
    fn gantry(binaries: &Path, load: &Path, scratch: &Scratch) -> Result<Self> {
        let dir = scratch.path("gantry");
        fs::create_dir_all(&dir)?;
        let mut command = Command::new(binaries.join("gantry-supervisor"));
        command.arg("--root").arg(dir.join("root"));
        command.arg("--state").arg(dir.join("state"));
        Ok(Self {
            name: "gantry-supervisor",
            load: load.to_owned(),
            command,
            socket: dir.join("state/supervisor.sock"),
            runtime: "io.containerd.gantry.v2".to_owned(),
            shim: "gantry-shim",
            child: None,
        })
    }

    fn containerd(load: &Path, scratch: &Scratch) -> Result<Self> {
        let dir = scratch.path("containerd");
        fs::create_dir_all(&dir)?;
        let config = dir.join("config.toml");
        let text = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{0}/c.sock\"\n[ttrpc]\naddress = \"{0}/c.sock.ttrpc\"\n",
            dir.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(config);
        Ok(Self {
            name: "containerd",
            load: load.to_owned(),
            command,
            socket: dir.join("c.sock"),
            runtime: "io.containerd.runc.v2".to_owned(),
            shim: "containerd-shim",
            child: None,
        })
    }

    fn start(&mut self) -> Result<()> {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = self.command.spawn();
        self.child = Some(child.with_context(|| format!("start {}", self.name))?);
        Ok(())
    }

    /// SIGKILL.
    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Has the client do some work; how long each piece took.
    fn load(&self, work: &[&str]) -> Result<Vec<Duration>> {
        let output = Command::new(&self.load).arg(&self.socket).args(work).output()?;
        if !output.status.success() {
            bail!(
                "{}: {}: {}",
                self.name,
                work.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let took = said
            .lines()
            .map(|line| Ok(Duration::from_secs_f64(line.parse::<f64>()? / 1000.0)));
        took.collect()
    }

    /// What all of its shims take together, in bytes.
    fn shims(&self) -> Result<u64> {
        let mut all = 0;
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let words = fs::read(path.join("cmdline")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&words).contains(&*self.socket.to_string_lossy());
            let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let (true, true, Some(pid)) = (comm.starts_with(self.shim), ours, pid) {
                all += pss(pid)?;
            }
        }
        Ok(all)
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it does not run")?.id())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Everything, with `--many` containers at the end.
pub(crate) fn compare(
    binaries: &Path,
    scratch: &Scratch,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let load = client()?;
    let layer = scratch.path("layer.tar");
    fs::write(&layer, scratch.tar()?)?;
    let work = Work::new(scratch)?;
    let mut hosts = [
        Host::gantry(binaries, &load, scratch)?,
        Host::containerd(&load, scratch)?,
    ];
    for host in &mut hosts {
        host.start()?;
        host.load(&["list", "0"])?;
        host.load(&["prepare", &layer.to_string_lossy()])?;
    }
    let ended = measure(&mut hosts, &work, options, report);
    if ended.is_err() {
        // What was started ends by its supervisor, as far as that goes; the error is the first one's.
        for host in &hosts {
            let _ = host.load(&["remove", "0", &options.many.max(50).to_string()]);
        }
    }
    for host in &mut hosts {
        host.kill()?;
    }
    ended?;
    Ok(crate::leaks::remove_cgroup(&work.cgroup)?)
}

/// Bundles' configurations for the client.
struct Work {
    short: String,
    long: String,
    cgroup: String,
}

impl Work {
    fn new(scratch: &Scratch) -> Result<Self> {
        let bundle = scratch.bundle()?;
        let cgroup = format!("/gantry-bench-{}", std::process::id());
        let mut config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
        config["linux"]["cgroupsPath"] = json!(cgroup);
        let mut write = |name: &str, args: &[&str]| -> Result<String> {
            config["process"]["args"] = json!(args);
            let path = scratch.path(name);
            fs::write(&path, serde_json::to_vec(&config)?)?;
            Ok(path.to_string_lossy().into_owned())
        };
        Ok(Self {
            short: write("short.json", &["true"])?,
            long: write("long.json", &["sleep", "100000"])?,
            cgroup,
        })
    }
}

fn measure(hosts: &mut [Host], work: &Work, options: &Options, report: &mut Report) -> Result<()> {
    let runs = options.runs.to_string();
    let memory = |hosts: &[Host], live: usize, report: &mut Report| -> Result<()> {
        let mut servers = Vec::new();
        let mut shims = Vec::new();
        for host in hosts {
            servers.push((host.name, pss(host.pid()?)?));
            shims.push((host.name, host.shims()?));
        }
        report.sizes(&format!("supervisor: its memory, {live} containers"), &servers);
        if live > 0 {
            report.sizes(
                &format!("supervisor: all shims' memory, {live} containers"),
                &shims,
            );
        }
        Ok(())
    };
    let each = |hosts: &[Host], what: &dyn Fn(&Host) -> Result<Vec<Duration>>| -> Result<Vec<Times>> {
        hosts.iter().map(|host| Ok(of(host, what(host)?))).collect()
    };
    let run = |host: &Host| host.load(&["run", &host.runtime, &work.short, &runs]);

    memory(hosts, 0, report)?;
    report.times("supervisor: run --rm of true", each(hosts, &run)?);
    let mut live = 0;
    for many in [1, 50, options.many] {
        if many <= live {
            continue;
        }
        let (from, to) = (live.to_string(), many.to_string());
        let started = each(hosts, &|host| {
            let at_once = AT_ONCE.to_string();
            host.load(&["start", &host.runtime, &work.long, &from, &to, &at_once])
        })?;
        live = many;
        if live == 1 {
            let exec = |host: &Host| host.load(&["exec", "load-0", &work.long, &runs]);
            report.times("supervisor: exec of true", each(hosts, &exec)?);
            continue;
        }
        report.times(
            &format!("supervisor: start, {AT_ONCE} at a time, up to {live}"),
            started,
        );
        report.times(
            &format!("supervisor: run --rm of true, {live} running"),
            each(hosts, &run)?,
        );
        memory(hosts, live, report)?;
    }
    restart(hosts, live, report)?;
    let heard = each(hosts, &|host| host.load(&["events", &EVENTS.to_string()]))?;
    report.times(&format!("supervisor: {EVENTS} events"), heard);
    each(hosts, &|host| host.load(&["remove", "0", &live.to_string()]))?;
    Ok(())
}

/// SIGKILL, start, and until all containers are listed as running.
fn restart(hosts: &mut [Host], live: usize, report: &mut Report) -> Result<()> {
    let mut all: Vec<Times> = hosts.iter().map(|host| times(host.name)).collect();
    for _ in 0..3 {
        for (host, times) in hosts.iter_mut().zip(&mut all) {
            host.kill()?;
            let begun = Instant::now();
            host.start()?;
            host.load(&["list", &live.to_string()])?;
            times.push(begun, Duration::ZERO);
        }
    }
    report.times(&format!("supervisor: restart until {live} are listed"), all);
    Ok(())
}

/// Times of a host's pieces of work. The processor time is not the client's to tell.
fn of(host: &Host, took: Vec<Duration>) -> Times {
    let mut all = times(host.name);
    all.cpu = vec![Duration::ZERO; took.len()];
    all.wall = took;
    all
}

/// Builds the client.
fn client() -> Result<PathBuf> {
    let mut cargo = binaries::cargo("build", Profile::Release);
    cargo.args(["--package", "gantry-supervisor-api", "--example", "load"]);
    binaries::run(cargo)?;
    Ok(binaries::folder(Profile::Release)?.join("examples/load"))
}
