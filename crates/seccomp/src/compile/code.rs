//! The instructions. Every jump is forward, and what is jumped over is known before it is written.

use gantry_oci::runtime::LinuxSeccompOperator as Op;

use super::KILL_THREAD;
use super::rules::{Condition, Verdict};

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

pub(crate) const LOAD: u16 = 0x20;
pub(crate) const AND: u16 = 0x54;
pub(crate) const JUMP: u16 = 0x05;
pub(crate) const EQUAL: u16 = 0x15;
pub(crate) const GREATER: u16 = 0x25;
pub(crate) const GREATER_EQUAL: u16 = 0x35;
pub(crate) const RETURN: u16 = 0x06;

// Where things are in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a verdict may be from its first use so that the comparisons on the way to it reach it by their own jumps: a rule
/// has at most six conditions of six instructions.
const NEAR: usize = 200;

/// A place in the program: how many instructions there are from it to the end.
pub(super) type Label = usize;

/// A program, written from its end: what is jumped to is there before the jump is, and what is there is shared.
#[derive(Default)]
pub(super) struct Writer {
    reversed: Vec<Instruction>,
    /// The last place of each answer.
    answers: Vec<(u32, Label)>,
}

impl Writer {
    /// The program, in order.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Label {
        self.reversed.push(Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        });
        self.reversed.len()
    }

    /// How many instructions one that is written now has to skip.
    fn distance(&self, to: Label) -> usize {
        self.reversed.len() - to
    }

    /// A place that one instruction more can reach by its own jump: the label, or a jump to it.
    fn reachable(&mut self, to: Label) -> Label {
        match self.distance(to) {
            0..255 => to,
            distance => self.push(JUMP, distance as u32, 0, 0),
        }
    }

    /// Loads the architecture and goes on at `next`.
    pub(super) fn load_arch(&mut self, next: Label) -> Label {
        self.load(ARCH, next)
    }

    /// Loads the number and goes on at `next`.
    pub(super) fn load_number(&mut self, next: Label) -> Label {
        self.load(NUMBER, next)
    }

    fn load(&mut self, from: u32, next: Label) -> Label {
        match self.distance(next) {
            0 => {}
            // An answer that was there already.
            distance => drop(self.push(JUMP, distance as u32, 0, 0)),
        }
        self.push(LOAD, from, 0, 0)
    }

    /// Goes to `yes` if the comparison holds, otherwise to `no`.
    fn compare(&mut self, code: u16, operand: u32, yes: Label, no: Label) -> Label {
        let yes = self.reachable(yes);
        // Behind a jump that was just written the other may have got out of reach, and is jumped to as well.
        let no = self.reachable(no);
        let (jump_true, jump_false) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, operand, jump_true, jump_false)
    }

    /// Goes to `yes` for one architecture and to `no` for others.
    pub(super) fn if_arch(&mut self, audit: u32, yes: Label, no: Label) -> Label {
        self.compare(EQUAL, audit, yes, no)
    }

    /// Goes to `otherwise` for numbers from the limit on, to `below` for the rest.
    pub(super) fn if_at_least(&mut self, limit: u32, otherwise: Label, below: Label) -> Label {
        self.compare(GREATER_EQUAL, limit, otherwise, below)
    }

    /// Returns an answer.
    pub(super) fn answer(&mut self, value: u32) -> Label {
        let length = self.reversed.len();
        let known = self.answers.iter_mut().find(|(known, _)| *known == value);
        if let Some((_, at)) = &known
            && length - *at < NEAR
        {
            return *at;
        }
        let at = length + 1;
        match known {
            Some((_, place)) => *place = at,
            None => self.answers.push((value, at)),
        }
        self.push(RETURN, value, 0, 0)
    }

    /// Finds a number's range.
    pub(super) fn tree(&mut self, ranges: &[(u32, Verdict)]) -> Label {
        match ranges {
            [] => self.answer(KILL_THREAD),
            [(_, verdict)] => self.verdict(verdict),
            _ => {
                let (left, right) = ranges.split_at(ranges.len() / 2);
                let otherwise = self.tree(right);
                let below = self.tree(left);
                self.if_at_least(right[0].0, otherwise, below)
            }
        }
    }

    fn verdict(&mut self, verdict: &Verdict) -> Label {
        match verdict {
            Verdict::Fixed(action) => self.answer(*action),
            Verdict::Tested(rules, otherwise) => {
                let mut next = self.answer(*otherwise);
                for (conditions, action) in rules.iter().rev() {
                    let mut yes = self.answer(*action);
                    for one in conditions.iter().rev() {
                        yes = self.condition(one, yes, next);
                    }
                    next = yes;
                }
                next
            }
        }
    }

    /// Goes to `yes` if the condition holds, otherwise to `no`.
    fn condition(&mut self, one: &Condition, yes: Label, no: Label) -> Label {
        let offset = ARGUMENTS + one.index * 8;
        let (low, high) = if cfg!(target_endian = "little") {
            (offset, offset + 4)
        } else {
            (offset + 4, offset)
        };
        let half = |value: u64| ((value >> 32) as u32, value as u32);
        let (wanted_high, wanted) = half(one.value);
        let (mask_high, mask) = half(one.mask);
        match one.op {
            Op::EqualTo | Op::MaskedEqual => self.compare(EQUAL, wanted, yes, no),
            Op::NotEqual => self.compare(EQUAL, wanted, no, yes),
            Op::GreaterThan => self.compare(GREATER, wanted, yes, no),
            Op::GreaterEqual => self.compare(GREATER_EQUAL, wanted, yes, no),
            Op::LessThan => self.compare(GREATER_EQUAL, wanted, no, yes),
            Op::LessEqual => self.compare(GREATER, wanted, no, yes),
        };
        if one.op == Op::MaskedEqual {
            self.push(AND, mask, 0, 0);
        }
        let lower = self.push(LOAD, low, 0, 0);
        if one.narrow {
            return lower;
        }
        // The upper half decides, or leaves it to the lower one.
        match one.op {
            Op::EqualTo | Op::MaskedEqual => self.compare(EQUAL, wanted_high, lower, no),
            Op::NotEqual => self.compare(EQUAL, wanted_high, lower, yes),
            Op::GreaterThan | Op::GreaterEqual => {
                let equal = self.compare(EQUAL, wanted_high, lower, no);
                self.compare(GREATER, wanted_high, yes, equal)
            }
            Op::LessThan | Op::LessEqual => {
                let equal = self.compare(EQUAL, wanted_high, lower, yes);
                self.compare(GREATER, wanted_high, no, equal)
            }
        };
        if one.op == Op::MaskedEqual {
            self.push(AND, mask_high, 0, 0);
        }
        self.push(LOAD, high, 0, 0)
    }
}
