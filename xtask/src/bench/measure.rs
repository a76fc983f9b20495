//! Runs commands in turns and takes their wall and processor time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Somebody who does the work: a name, and the command of each turn.
pub(crate) struct Contender {
    name: &'static str,
    command: Box<dyn Fn(usize) -> Command>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, command: impl Fn(usize) -> Command + 'static) -> Self {
        Self {
            name,
            command: Box::new(command),
        }
    }

    /// The command of one turn.
    pub(crate) fn command(&self, turn: usize) -> Command {
        (self.command)(turn)
    }
}

/// What a contender took, a value for each turn.
pub(crate) struct Times {
    pub(crate) name: &'static str,
    pub(crate) wall: Vec<Duration>,
    /// Of the command and the children it waited for: of an engine only its client's.
    pub(crate) cpu: Vec<Duration>,
}

/// Runs every contender `runs` times, in turns, after one turn that does not count.
pub(crate) fn alternate(contenders: Vec<Contender>, runs: usize) -> Result<Vec<Times>> {
    let mut all: Vec<Times> = contenders
        .iter()
        .map(|c| Times {
            name: c.name,
            wall: Vec::new(),
            cpu: Vec::new(),
        })
        .collect();
    for turn in 0..=runs {
        for (contender, times) in contenders.iter().zip(&mut all) {
            let command = contender.command(turn);
            let (begun, cpu) = (Instant::now(), children());
            once(command)?;
            if turn > 0 {
                times.wall.push(begun.elapsed());
                times.cpu.push(children().saturating_sub(cpu));
            }
        }
    }
    Ok(all)
}

/// Runs a command that must succeed; its output is dropped.
pub(crate) fn once(mut command: Command) -> Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("run {program}"))?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The processor time of all children waited for so far.
#[allow(unsafe_code)]
fn children() -> Duration {
    // SAFETY: getrusage fills the structure it is given, which is ours and of the right type.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
