//! What a profile's rules say of each call of one architecture. Where they contradict each other, libseccomp's order
//! decides, on which profiles of the field were tried: see [`verdict`].

use std::cmp::{Ordering, Reverse};

use gantry_oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall};

use super::{ACTION, ALLOW, CompileError, ENOSYS, ERRNO, LOG, TRACE, answer};
use crate::arch::{Arch, Numbers, X32_BIT, numbers};

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Always the same.
    Fixed(u32),
    /// The first of these whose conditions all hold, or else the last.
    Tested(Vec<(Vec<Condition>, u32)>, u32),
}

/// A condition on one argument, whose values are as wide as the architecture's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) index: u32,
    pub(super) op: Op,
    /// What it is compared with; for [`Op::MaskedEqual`] only bits of the mask.
    pub(super) value: u64,
    /// Which bits are compared by [`Op::MaskedEqual`].
    pub(super) mask: u64,
    /// Whether the argument has 32 bits.
    pub(super) narrow: bool,
}

impl Condition {
    fn new(arg: &LinuxSeccompArg, narrow: bool) -> Self {
        let width = if narrow { u64::from(u32::MAX) } else { u64::MAX };
        let (mask, value) = match arg.op {
            Op::MaskedEqual => (arg.value & width, arg.value_two & arg.value & width),
            _ => (width, arg.value & width),
        };
        Self {
            index: arg.index,
            op: arg.op,
            value,
            mask,
            narrow,
        }
    }

    /// Which is asked first: a later argument, then an equality before a bound, then the higher value, or the lower one where
    /// it is an upper bound. The narrower of two overlapping conditions comes first that way.
    fn rank(&self) -> (Reverse<u32>, u8, Ranked) {
        let (kind, value) = match self.op {
            Op::EqualTo | Op::NotEqual | Op::MaskedEqual => (0, Ranked::Falling(Reverse(self.value))),
            Op::LessThan | Op::LessEqual => (1, Ranked::Rising(self.value)),
            Op::GreaterThan | Op::GreaterEqual => (2, Ranked::Falling(Reverse(self.value))),
        };
        (Reverse(self.index), kind, value)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Ranked {
    Rising(u64),
    Falling(Reverse<u64>),
}

/// A rule for one number: its conditions, its answer, and the first argument if the call is made by another.
struct Entry<'a> {
    alternatives: &'a [Vec<Condition>],
    action: u32,
    through: Option<u64>,
}

/// A profile's rules with their names looked up.
pub(super) struct Rules<'a> {
    profile: &'a LinuxSeccomp,
    default: u32,
    /// By rule, what its names mean.
    numbers: Vec<Vec<Numbers>>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(profile: &'a LinuxSeccomp, default: u32) -> Self {
        let of = |rule: &LinuxSyscall| rule.names.iter().filter_map(|name| numbers(name)).collect();
        Self {
            profile,
            default,
            numbers: profile.syscalls.iter().map(of).collect(),
        }
    }

    /// The verdict from each number on, up to the next.
    pub(super) fn ranges(&self, arch: Arch) -> Result<Vec<(u32, Verdict)>, CompileError> {
        let default = self.default;
        let alternatives: Vec<Vec<Vec<Condition>>> = self
            .profile
            .syscalls
            .iter()
            .map(|rule| alternatives(rule, arch))
            .collect::<Result<_, _>>()?;
        let mut entries: Vec<Entry<'_>> = Vec::new();
        // The number and behind it the place in `entries`: sorted as one word, much faster than as structures.
        let mut by_number: Vec<u64> = Vec::new();
        let mut highest = 0;
        let rules = self.profile.syscalls.iter().zip(&alternatives);
        for ((rule, alternatives), names) in rules.zip(&self.numbers) {
            let action = answer(rule.action, rule.errno_ret)?;
            for numbers in names {
                let number = numbers.of(arch);
                highest = highest.max(number.filter(|n| *n < arch.private_numbers()).unwrap_or(0));
                // What the profile answers anyway is no rule, and contradicts none.
                if action == default {
                    continue;
                }
                let mut add = |number: u32, through| {
                    by_number.push(u64::from(number) << 32 | entries.len() as u64);
                    entries.push(Entry {
                        alternatives,
                        action,
                        through,
                    });
                };
                if let Some(number) = number {
                    add(number, None);
                }
                if let Some((number, value)) = numbers.multiplexed(arch) {
                    add(number, Some(value));
                }
            }
        }
        by_number.sort_unstable();
        // A program that tries a call newer than the profile must hear that the kernel does not have it, and fall back;
        // told that it may not, it gives up.
        let newer = (denies(default) && highest > 0).then_some(highest);
        let plain = |number: u32| match newer {
            Some(highest) if number > highest && number < arch.private_numbers() => {
                Verdict::Fixed(ERRNO | ENOSYS)
            }
            _ => Verdict::Fixed(default),
        };
        let first = if arch == Arch::X32 { X32_BIT } else { 0 };
        let mut ranges = vec![(first, plain(first))];
        let mut add = |from: u32, verdict: Verdict| {
            match ranges.last_mut() {
                // What was said of a number as that behind another gives way to what is said of itself.
                Some((last, kept)) if *last == from => *kept = verdict,
                Some((_, kept)) if *kept == verdict => return,
                _ => ranges.push((from, verdict)),
            }
            if let [.., before, last] = ranges.as_slice()
                && before.1 == last.1
            {
                ranges.pop();
            }
        };
        let mut breaks: Vec<u32> = newer.map(|highest| highest + 1).into_iter().collect();
        breaks.extend(
            newer
                .and(Some(arch.private_numbers()))
                .filter(|from| *from != u32::MAX),
        );
        let mut breaks = breaks.into_iter().peekable();
        for group in by_number.chunk_by(|a, b| a >> 32 == b >> 32) {
            let number = (group[0] >> 32) as u32;
            let group = group.iter().map(|packed| &entries[*packed as u32 as usize]);
            while let Some(from) = breaks.next_if(|from| *from <= number) {
                add(from, plain(from));
            }
            add(number, verdict(number, group, default)?);
            add(number + 1, plain(number + 1));
        }
        for from in breaks {
            add(from, plain(from));
        }
        Ok(ranges)
    }
}

/// Whether an answer keeps calls from being made. A tracer does not: it may know of calls that we do not.
fn denies(answer: u32) -> bool {
    !matches!(answer & ACTION, ALLOW | LOG | TRACE)
}

/// The sets of conditions of which one has to hold for the rule to hold.
fn alternatives(rule: &LinuxSyscall, arch: Arch) -> Result<Vec<Vec<Condition>>, CompileError> {
    let mut conditions = Vec::new();
    let mut twice = false;
    for (at, arg) in rule.args.iter().enumerate() {
        if arg.index > 5 {
            return Err(CompileError(format!(
                "argument {} of {:?}: a system call has arguments 0 to 5",
                arg.index, rule.names
            )));
        }
        twice |= rule.args[..at].iter().any(|before| before.index == arg.index);
        conditions.push(Condition::new(arg, arch.is_narrow()));
    }
    if twice {
        // runc's rule: with two conditions on one argument all are alternatives.
        return Ok(conditions.into_iter().map(|one| vec![one]).collect());
    }
    conditions.sort_by_key(|one| one.index);
    Ok(vec![conditions])
}

/// The conditions for the same call made through another, which takes its arguments from memory, where no filter sees them.
fn through(args: &[Condition], value: u64) -> Vec<Condition> {
    let which = Condition {
        index: 0,
        op: Op::EqualTo,
        value,
        mask: u64::from(u32::MAX),
        narrow: true,
    };
    let others = args.iter().filter(|arg| arg.index != 0).cloned();
    std::iter::once(which).chain(others).collect()
}

/// One answer of all the rules for a call: a rule without conditions, the first of them, overrules those with, and of these
/// the narrower comes before the wider, wherever they stand in the profile.
fn verdict<'a>(
    number: u32,
    group: impl Iterator<Item = &'a Entry<'a>> + Clone,
    default: u32,
) -> Result<Verdict, CompileError> {
    let bare = |entry: &&Entry<'_>| entry.through.is_none() && entry.alternatives.iter().any(Vec::is_empty);
    if let Some(entry) = group.clone().find(bare) {
        return Ok(Verdict::Fixed(entry.action));
    }
    let mut rules: Vec<(Vec<Condition>, u32)> = Vec::new();
    for entry in group {
        rules.extend(entry.alternatives.iter().map(|conditions| match entry.through {
            Some(value) => (through(conditions, value), entry.action),
            None => (conditions.clone(), entry.action),
        }));
    }
    rules.sort_by(|(a, _), (b, _)| order(a, b));
    rules.dedup();
    for pair in rules.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(CompileError(format!(
                "two rules for the call {number} have the same conditions and different actions"
            )));
        }
    }
    Ok(Verdict::Tested(rules, default))
}

fn order(a: &[Condition], b: &[Condition]) -> Ordering {
    let ranks = |conditions: &[Condition]| conditions.iter().map(Condition::rank).collect::<Vec<_>>();
    // The rest only makes equal ones neighbours.
    ranks(a).cmp(&ranks(b)).then_with(|| {
        let rest = |conditions: &[Condition]| {
            conditions
                .iter()
                .map(|one| (one.op as u8, one.mask))
                .collect::<Vec<_>>()
        };
        rest(a).cmp(&rest(b))
    })
}
