//! A profile as a program for the kernel's packet-filter machine. Pure.
//!
//! For each architecture the numbers are sorted, neighbours with the same answer are joined to ranges, and a call finds
//! its range by halving: some ten comparisons instead of hundreds. Conditions on arguments are a chain at the leaf.

use std::collections::BTreeMap;

use gantry_oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use crate::arch::{Arch, X32_BIT, is_known};

/// Why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(String);

/// One instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many are skipped if the comparison holds.
    pub jump_true: u8,
    /// How many are skipped if not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions.
    pub code: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…`
    pub flags: u64,
    /// Whether somebody is notified of calls.
    pub notifies: bool,
}

/// What the kernel takes at most.
const LONGEST: usize = 4096;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
const ERRNO: u32 = 0x0005_0000;

fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        operand,
    }
}

fn compare(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    let default = answer(profile.default_action, profile.default_errno_ret)?;
    let mut archs: Vec<Arch> = Vec::new();
    for name in &profile.architectures {
        archs.extend(Arch::by_name(name).map_err(CompileError)?);
    }
    // The machine's own is always meant.
    archs.extend(Arch::native());
    archs.sort_unstable();
    archs.dedup();
    for rule in &profile.syscalls {
        check(rule)?;
    }

    let mut code = vec![instruction(LOAD, ARCH)];
    let x32 = archs.contains(&Arch::X32);
    for arch in archs.iter().filter(|arch| **arch != Arch::X32) {
        let mut body = vec![instruction(LOAD, NUMBER)];
        if *arch == Arch::X86_64 {
            // The other ABI behind the same architecture is filtered by itself, or not let in.
            let other = match x32 {
                true => tree(&ranges(profile, Arch::X32, default)?),
                false => vec![instruction(RETURN, KILL_THREAD)],
            };
            body.extend(unless_at_least(
                X32_BIT,
                tree(&ranges(profile, *arch, default)?),
                other,
            ));
        } else {
            body.extend(tree(&ranges(profile, *arch, default)?));
        }
        code.push(compare(EQUAL, arch.audit(), 1, 0));
        code.push(instruction(JUMP, body.len() as u32));
        code.extend(body);
    }
    code.push(instruction(RETURN, KILL_THREAD));
    if code.len() > LONGEST {
        return Err(CompileError(format!(
            "the filter has {} instructions, more than the kernel's {LONGEST}",
            code.len()
        )));
    }
    let notifies = profile.default_action == LinuxSeccompAction::Notify
        || profile
            .syscalls
            .iter()
            .any(|rule| rule.action == LinuxSeccompAction::Notify);
    Ok(Program {
        code,
        flags: flags(profile)?,
        notifies,
    })
}

fn flags(profile: &LinuxSeccomp) -> Result<u64, CompileError> {
    let mut flags = 0;
    for flag in &profile.flags {
        flags |= match flag.as_str() {
            // The process has one thread: there is nothing to synchronise.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => 2,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 4,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 32,
            other => return Err(CompileError(format!("seccomp flag {other:?} is not known"))),
        };
    }
    Ok(flags)
}

fn check(rule: &LinuxSyscall) -> Result<(), CompileError> {
    for arg in &rule.args {
        if arg.index > 5 {
            return Err(CompileError(format!(
                "argument {} of {:?}: a system call has arguments 0 to 5",
                arg.index, rule.names
            )));
        }
    }
    Ok(())
}

/// An action as the value that the kernel takes.
fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, CompileError> {
    let data = |default: u32| match errno.unwrap_or(default) {
        number @ 0..=4095 => Ok(number),
        number => Err(CompileError(format!(
            "errnoRet {number} is out of range: 0 to 4095"
        ))),
    };
    Ok(match action {
        LinuxSeccompAction::KillProcess => 0x8000_0000,
        LinuxSeccompAction::Kill | LinuxSeccompAction::KillThread => KILL_THREAD,
        LinuxSeccompAction::Trap => 0x0003_0000,
        LinuxSeccompAction::Errno => ERRNO | data(EPERM)?,
        LinuxSeccompAction::Trace => 0x7ff0_0000 | data(EPERM)?,
        LinuxSeccompAction::Allow => 0x7fff_0000,
        LinuxSeccompAction::Log => 0x7ffc_0000,
        LinuxSeccompAction::Notify => 0x7fc0_0000,
    })
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Always the same.
    Fixed(u32),
    /// The first of these whose conditions all hold, or else the last.
    Tested(Vec<(Vec<LinuxSeccompArg>, u32)>, u32),
}

/// The verdict from each number on, up to the next. The first begins at 0.
fn ranges(profile: &LinuxSeccomp, arch: Arch, default: u32) -> Result<Vec<(u32, Verdict)>, CompileError> {
    let mut rules: BTreeMap<u32, Vec<(&LinuxSyscall, u32)>> = BTreeMap::new();
    let mut highest = 0;
    for rule in &profile.syscalls {
        let action = answer(rule.action, rule.errno_ret)?;
        for name in &rule.names {
            if let Some(number) = arch.number(name) {
                highest = highest.max(number);
                rules.entry(number).or_default().push((rule, action));
            }
        }
    }
    let first = if arch == Arch::X32 { X32_BIT } else { 0 };
    let mut points: Vec<(u32, Verdict)> = vec![(first, Verdict::Fixed(default))];
    for (number, rules) in &rules {
        points.push((*number, verdict(rules, default)));
        points.push((number + 1, Verdict::Fixed(default)));
    }
    // A program that tries a call newer than the profile must hear that the kernel does not have it, and fall back; told
    // that it may not, it gives up.
    let denies = default & 0xffff_0000 != 0x7fff_0000 && default & 0xffff_0000 != 0x7ffc_0000;
    if denies && !rules.is_empty() && highest < u32::MAX - 1 {
        points.push((highest + 1, Verdict::Fixed(ERRNO | ENOSYS)));
    }
    let mut joined: Vec<(u32, Verdict)> = Vec::new();
    for (from, verdict) in points {
        match joined.last_mut() {
            // A later point at the same number replaces what was there: the default behind the call before it.
            Some((last, kept)) if *last == from => *kept = verdict,
            _ => joined.push((from, verdict)),
        }
    }
    joined.dedup_by(|next, kept| next.1 == kept.1);
    Ok(joined)
}

fn verdict(rules: &[(&LinuxSyscall, u32)], default: u32) -> Verdict {
    let mut tested: Vec<(Vec<LinuxSeccompArg>, u32)> = Vec::new();
    for (rule, action) in rules {
        if rule.args.is_empty() {
            return match tested.is_empty() {
                true => Verdict::Fixed(*action),
                false => Verdict::Tested(tested, *action),
            };
        }
        let twice = rule
            .args
            .iter()
            .enumerate()
            .any(|(at, arg)| rule.args[..at].iter().any(|a| a.index == arg.index));
        match twice {
            // runc's rule: conditions on one argument twice are alternatives.
            true => tested.extend(rule.args.iter().map(|arg| (vec![arg.clone()], *action))),
            false => tested.push((rule.args.clone(), *action)),
        }
    }
    Verdict::Tested(tested, default)
}

/// The code that finds a number's range.
fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![instruction(RETURN, KILL_THREAD)],
        [(_, verdict)] => leaf(verdict),
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            unless_at_least(right[0].0, tree(left), tree(right))
        }
    }
}

/// `below` for numbers under the limit, `otherwise` for the rest.
fn unless_at_least(limit: u32, below: Vec<Instruction>, otherwise: Vec<Instruction>) -> Vec<Instruction> {
    let mut code = match u8::try_from(below.len()) {
        Ok(length) => vec![compare(GREATER_EQUAL, limit, length, 0)],
        // Too far for a comparison's own jump.
        Err(_) => vec![
            compare(GREATER_EQUAL, limit, 0, 1),
            instruction(JUMP, below.len() as u32),
        ],
    };
    code.extend(below);
    code.extend(otherwise);
    code
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Fixed(action) => vec![instruction(RETURN, *action)],
        Verdict::Tested(rules, otherwise) => {
            let mut code: Vec<Instruction> = rules
                .iter()
                .flat_map(|(args, action)| chain(args, *action))
                .collect();
            code.push(instruction(RETURN, *otherwise));
            code
        }
    }
}

/// One rule: returns if all conditions hold, otherwise goes on behind itself.
fn chain(args: &[LinuxSeccompArg], action: u32) -> Vec<Instruction> {
    // Written from the end, so that every condition knows how far the way out is.
    let mut code = vec![instruction(RETURN, action)];
    for arg in args.iter().rev() {
        let mut test = condition(arg, code.len());
        test.append(&mut code);
        code = test;
    }
    code
}

/// Falls through if the condition holds; otherwise skips `rest` instructions more.
fn condition(arg: &LinuxSeccompArg, rest: usize) -> Vec<Instruction> {
    use LinuxSeccompOperator as Op;
    let offset = ARGUMENTS + arg.index * 8;
    let (low, high) = if cfg!(target_endian = "little") {
        (offset, offset + 4)
    } else {
        (offset + 4, offset)
    };
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let out = |behind: usize| (behind + rest) as u8;
    let (wanted_high, wanted_low) = halves(arg.value);
    match arg.op {
        Op::EqualTo => vec![
            instruction(LOAD, high),
            compare(EQUAL, wanted_high, 0, out(2)),
            instruction(LOAD, low),
            compare(EQUAL, wanted_low, 0, out(0)),
        ],
        Op::NotEqual => vec![
            instruction(LOAD, high),
            compare(EQUAL, wanted_high, 0, 2),
            instruction(LOAD, low),
            compare(EQUAL, wanted_low, out(0), 0),
        ],
        Op::MaskedEqual => {
            let (mask_high, mask_low) = halves(arg.value);
            let (equal_high, equal_low) = halves(arg.value_two);
            vec![
                instruction(LOAD, high),
                instruction(AND, mask_high),
                compare(EQUAL, equal_high, 0, out(3)),
                instruction(LOAD, low),
                instruction(AND, mask_low),
                compare(EQUAL, equal_low, 0, out(0)),
            ]
        }
        Op::GreaterThan | Op::GreaterEqual => {
            let code = if arg.op == Op::GreaterThan {
                GREATER
            } else {
                GREATER_EQUAL
            };
            vec![
                instruction(LOAD, high),
                compare(GREATER, wanted_high, 3, 0),
                compare(EQUAL, wanted_high, 0, out(2)),
                instruction(LOAD, low),
                compare(code, wanted_low, 0, out(0)),
            ]
        }
        Op::LessThan | Op::LessEqual => {
            let code = if arg.op == Op::LessThan {
                GREATER_EQUAL
            } else {
                GREATER
            };
            vec![
                instruction(LOAD, high),
                compare(GREATER, wanted_high, out(3), 0),
                compare(EQUAL, wanted_high, 0, 2),
                instruction(LOAD, low),
                compare(code, wanted_low, out(0), 0),
            ]
        }
    }
}

/// The names of a profile that no architecture has: passed over, as they are of a kernel that is newer than we are.
pub fn unknown_names(profile: &LinuxSeccomp) -> Vec<&str> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    names.map(String::as_str).filter(|name| !is_known(name)).collect()
}

#[cfg(test)]
mod tests;
