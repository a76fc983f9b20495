//! The kernel's machine, as far as filters use it: what a program would answer, without loading it. Pure.

use crate::compile::Instruction;

/// A call as a filter sees it, `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_…`
    pub arch: u32,
    /// The call's number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The answer of a program, `SECCOMP_RET_…`; none if the program is not one that the kernel takes.
pub fn run(code: &[Instruction], call: &Call) -> Option<u32> {
    let mut data = Vec::with_capacity(64);
    data.extend(call.number.to_ne_bytes());
    data.extend(call.arch.to_ne_bytes());
    data.extend([0; 8]);
    for arg in call.args {
        data.extend(arg.to_ne_bytes());
    }
    let (mut at, mut a, mut x) = (0_usize, 0_u32, 0_u32);
    let mut memory = [0_u32; 16];
    loop {
        let one = code.get(at)?;
        at += 1;
        let operand = if one.code & 0x08 != 0 { x } else { one.operand };
        let jump = |holds: bool| usize::from(if holds { one.jump_true } else { one.jump_false });
        match one.code {
            0x20 => {
                let from = one.operand as usize;
                a = u32::from_ne_bytes(data.get(from..from + 4)?.try_into().ok()?);
            }
            0x00 => a = one.operand,
            0x01 => x = one.operand,
            0x02 => *memory.get_mut(one.operand as usize)? = a,
            0x60 => a = *memory.get(one.operand as usize)?,
            0x61 => x = *memory.get(one.operand as usize)?,
            0x07 => x = a,
            0x87 => a = x,
            0x54 | 0x5c => a &= operand,
            0x44 | 0x4c => a |= operand,
            0x05 => at += one.operand as usize,
            0x15 | 0x1d => at += jump(a == operand),
            0x25 | 0x2d => at += jump(a > operand),
            0x35 | 0x3d => at += jump(a >= operand),
            0x45 | 0x4d => at += jump(a & operand != 0),
            0x06 => return Some(one.operand),
            0x16 => return Some(a),
            _ => return None,
        }
    }
}
