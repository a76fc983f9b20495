//! A profile as a program for the kernel's packet-filter machine. Pure.
//!
//! ```text
//! load the architecture
//!   x86-64 ─► load the number ─► below x32's bit: its calls; above: x32's, or the end of the thread
//!   x86    ─► load the number ─► its calls                         (arm, aarch64 likewise)
//!   none of the profile's ─► the end of the thread
//! ```
//!
//! For each architecture the numbers are sorted, neighbours with the same answer are joined to ranges, and a call finds
//! its range by halving: some ten comparisons instead of hundreds. Conditions on arguments are a chain at the leaf.

mod code;
mod rules;

use gantry_oci::runtime::{LinuxSeccomp, LinuxSeccompAction};

use crate::arch::{Arch, X32_BIT, is_known};

use code::Writer;
use rules::Rules;

pub use code::Instruction;

/// Why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub(crate) String);

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions.
    pub code: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…`, without that of a listener.
    pub flags: u64,
    /// Whether somebody is notified of calls.
    pub notifies: bool,
}

impl Program {
    /// The flags with which the kernel loads it.
    pub fn kernel_flags(&self) -> u64 {
        const NEW_LISTENER: u64 = 8;
        self.flags | if self.notifies { NEW_LISTENER } else { 0 }
    }
}

/// What the kernel takes at most.
const LONGEST: usize = 4096;

const KILL_THREAD: u32 = 0;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
const ERRNO: u32 = 0x0005_0000;
const SPEC_ALLOW: u64 = 4;
const WAIT_KILLABLE: u64 = 32;

/// The flags of profiles, with the kernel's numbers.
pub const FLAGS: &[(&str, u64)] = &[
    ("SECCOMP_FILTER_FLAG_LOG", 2),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    // The process has one thread: there is nothing to synchronise.
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE),
];

/// The part of an answer that says what is done; the rest is a number that goes with it.
const ACTION: u32 = 0xffff_0000;

/// The number by which a tracer has a call skipped: not one of another architecture.
const SKIPPED: u32 = u32::MAX;

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    let default = answer(profile.default_action, profile.default_errno_ret)?;
    let notifies = check_notify(profile)?;
    let mut archs: Vec<Arch> = Vec::new();
    for name in &profile.architectures {
        archs.extend(Arch::by_name(name).map_err(CompileError)?);
    }
    // The machine's own is always meant.
    archs.extend(Arch::native());
    archs.sort_unstable();
    archs.dedup();

    let rules = Rules::new(profile, default);
    let mut code = Writer::default();
    let mut bodies = Vec::new();
    // Written from the end: the machine's own architecture comes first, for most calls are made on it.
    archs.sort_by_key(|arch| Some(*arch) == Arch::native());
    for arch in archs.iter().filter(|arch| **arch != Arch::X32) {
        let body = if *arch == Arch::X86_64 {
            // The other ABI behind the same architecture is filtered by itself, or not let in.
            let other = match archs.contains(&Arch::X32) {
                true => code.tree(&rules.ranges(Arch::X32)?),
                false => {
                    let (skipped, foreign) = (code.answer(default), code.answer(KILL_THREAD));
                    code.if_at_least(SKIPPED, skipped, foreign)
                }
            };
            let own = code.tree(&rules.ranges(*arch)?);
            code.if_at_least(X32_BIT, other, own)
        } else {
            code.tree(&rules.ranges(*arch)?)
        };
        bodies.push((arch.audit(), code.load_number(body)));
    }
    let mut next = code.answer(KILL_THREAD);
    for (audit, body) in bodies {
        next = code.if_arch(audit, body, next);
    }
    code.load_arch(next);
    let program = code.finish();
    if program.len() > LONGEST {
        return Err(CompileError(format!(
            "the filter has {} instructions, more than the kernel's {LONGEST}",
            program.len()
        )));
    }
    Ok(Program {
        code: program,
        flags: flags(profile, notifies)?,
        notifies,
    })
}

/// Whether somebody is notified. Two things cannot be, for by them the listener's descriptor is handed on.
fn check_notify(profile: &LinuxSeccomp) -> Result<bool, CompileError> {
    let refuse = |why: &str| Err(CompileError(why.to_owned()));
    if profile.default_action == LinuxSeccompAction::Notify {
        return refuse("SCMP_ACT_NOTIFY cannot be used as default action");
    }
    let mut notified = profile
        .syscalls
        .iter()
        .filter(|rule| rule.action == LinuxSeccompAction::Notify)
        .peekable();
    let notifies = notified.peek().is_some();
    if notified.any(|rule| rule.names.iter().any(|name| name == "write")) {
        return refuse("SCMP_ACT_NOTIFY cannot be used for the write syscall");
    }
    Ok(notifies)
}

fn flags(profile: &LinuxSeccomp, notifies: bool) -> Result<u64, CompileError> {
    let Some(names) = &profile.flags else {
        // runc's choice where nothing is said: mitigations that slow every program down are asked for, not given.
        return Ok(SPEC_ALLOW);
    };
    let mut flags = 0;
    for name in names {
        let known = FLAGS.iter().find(|(known, _)| known == name);
        let Some((_, flag)) = known else {
            return Err(CompileError(format!("seccomp flag {name} is not known to runc")));
        };
        flags |= flag;
    }
    // The kernel refuses this one where nobody is notified, though it would change nothing there.
    Ok(if notifies { flags } else { flags & !WAIT_KILLABLE })
}

/// An action as the value that the kernel takes.
fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, CompileError> {
    use LinuxSeccompAction as Action;
    let base = match action {
        Action::KillProcess => 0x8000_0000,
        Action::Kill | Action::KillThread => KILL_THREAD,
        Action::Trap => 0x0003_0000,
        Action::Errno => ERRNO,
        Action::Trace => TRACE,
        Action::Allow => ALLOW,
        Action::Log => LOG,
        Action::Notify => 0x7fc0_0000,
    };
    let highest = match action {
        Action::Errno => 4095,
        // A tracer reads it as a message of its own.
        Action::Trace => 0xffff,
        _ => match errno {
            None => return Ok(base),
            Some(number) => {
                return Err(CompileError(format!(
                    "errnoRet {number}: the action {action:?} has none"
                )));
            }
        },
    };
    match errno.unwrap_or(EPERM) {
        number if number <= highest => Ok(base | number),
        number => Err(CompileError(format!(
            "errnoRet {number} is out of range: 0 to {highest}"
        ))),
    }
}

/// The names of a profile that no architecture has: passed over, as they are of a kernel that is newer than we are.
pub fn unknown_names(profile: &LinuxSeccomp) -> Vec<&str> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    names.map(String::as_str).filter(|name| !is_known(name)).collect()
}

#[cfg(test)]
mod tests;
