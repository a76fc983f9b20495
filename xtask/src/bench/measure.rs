//! Runs commands in turns and takes their wall and processor time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Somebody who does the work: a name, and the commands of each turn, one after the other.
pub(crate) struct Contender {
    name: String,
    commands: Box<dyn Fn(usize) -> Vec<Command>>,
}

impl Contender {
    pub(crate) fn new(name: &str, commands: impl Fn(usize) -> Vec<Command> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            commands: Box::new(commands),
        }
    }

    /// Does the work of one turn; the processor time that it took.
    pub(crate) fn turn(&self, turn: usize) -> Result<Duration> {
        (self.commands)(turn).into_iter().map(once).sum()
    }
}

/// What a contender took, a value for each turn.
pub(crate) struct Times {
    pub(crate) name: String,
    pub(crate) wall: Vec<Duration>,
    /// Of the command and the children it waited for: of an engine only its client's.
    pub(crate) cpu: Vec<Duration>,
}

/// Nothing measured yet.
pub(crate) fn times(name: &str) -> Times {
    Times {
        name: name.to_owned(),
        wall: Vec::new(),
        cpu: Vec::new(),
    }
}

impl Times {
    /// Adds what was taken since `begun`.
    pub(crate) fn push(&mut self, begun: Instant, cpu: Duration) {
        self.wall.push(begun.elapsed());
        self.cpu.push(cpu);
    }
}

/// Runs every contender `runs` times, in turns, after one turn that does not count.
pub(crate) fn alternate(contenders: &[Contender], runs: usize) -> Result<Vec<Times>> {
    let mut all: Vec<Times> = contenders
        .iter()
        .map(|contender| times(&contender.name))
        .collect();
    for turn in 0..=runs {
        for (contender, times) in contenders.iter().zip(&mut all) {
            let begun = Instant::now();
            let cpu = contender.turn(turn)?;
            if turn > 0 {
                times.push(begun, cpu);
            }
        }
    }
    Ok(all)
}

/// Runs a command that must succeed, and returns the processor time of it and the children it waited for. Its output is dropped: a
/// container may keep it open for longer than the command lives.
pub(crate) fn once(mut command: Command) -> Result<Duration> {
    let (said, theirs) = unnamed()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(theirs));
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("run {program}"))?;
    let (status, cpu) = wait(child.id())?;
    if status != 0 {
        let mut text = [0; 4096];
        let length = said.read_at(&mut text, 0).unwrap_or(0);
        bail!(
            "{command:?}: wait status {status}: {}",
            String::from_utf8_lossy(&text[..length]).trim()
        );
    }
    Ok(cpu)
}

/// A file without a name, twice open.
fn unnamed() -> Result<(File, File)> {
    let path = std::env::temp_dir().join(format!(
        "gantry-bench-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .with_context(|| format!("make {}", path.display()))?;
    std::fs::remove_file(&path)?;
    let again = file.try_clone()?;
    Ok((file, again))
}

/// Waits for a child; its wait status and processor time.
#[allow(unsafe_code)]
fn wait(pid: u32) -> Result<(i32, Duration)> {
    let mut status = 0;
    // SAFETY: wait4 fills the two places it is given, which are ours and of the right types.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        if libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) < 0 {
            bail!("wait4: {}", std::io::Error::last_os_error());
        }
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    Ok((status, time(usage.ru_utime) + time(usage.ru_stime)))
}
