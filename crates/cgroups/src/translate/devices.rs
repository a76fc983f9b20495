//! Rules for devices as version 2 needs them: what version 1's kernel would make of the list, then a program for the
//! kernel's machine that answers for one use of a device. Pure.

use gantry_oci::runtime::LinuxDeviceCgroup;

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const BLOCK: u32 = 1;
pub(crate) const CHARACTER: u32 = 2;

/// One instruction: operation, registers, jump, operand.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// The destination in the lower half, the source in the upper.
    pub(crate) registers: u8,
    pub(crate) jump: i16,
    pub(crate) operand: i32,
}

/// What differs from the answer for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) kind: u32,
    /// None: every one.
    pub(crate) major: Option<i32>,
    pub(crate) minor: Option<i32>,
    access: u32,
}

impl Exception {
    /// What is done with the device, in the specification's letters.
    pub(crate) fn letters(&self) -> &'static str {
        match (
            self.access & READ != 0,
            self.access & WRITE != 0,
            self.access & MKNOD != 0,
        ) {
            (true, true, true) => "rwm",
            (true, true, false) => "rw",
            (true, false, true) => "rm",
            (true, false, false) => "r",
            (false, true, true) => "wm",
            (false, true, false) => "w",
            (false, false, true) => "m",
            (false, false, false) => "",
        }
    }
}

/// What a list of rules comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) allow: bool,
    pub(crate) exceptions: Vec<Exception>,
}

impl Policy {
    /// Nothing is allowed that no rule allows, as with runc; a rule for all devices begins anew; a later rule changes only
    /// exceptions for the very same numbers.
    pub(crate) fn of(rules: &[LinuxDeviceCgroup]) -> Result<Self, String> {
        let mut policy = Self {
            allow: false,
            exceptions: Vec::new(),
        };
        for rule in rules {
            let kinds: &[u32] = match rule.typ.as_str() {
                "" | "a" => {
                    policy = Self {
                        allow: rule.allow,
                        exceptions: Vec::new(),
                    };
                    continue;
                }
                "b" => &[BLOCK],
                "c" | "u" => &[CHARACTER],
                other => return Err(format!("invalid device type {other:?} in a device cgroup rule")),
            };
            let number = |number: Option<i64>| match number {
                Some(number) if number >= 0 => i32::try_from(number)
                    .map(Some)
                    .map_err(|_| format!("device number {number} is out of range")),
                _ => Ok(None),
            };
            let (major, minor, access) = (number(rule.major)?, number(rule.minor)?, access(&rule.access));
            for kind in kinds {
                policy.add(
                    rule.allow,
                    Exception {
                        kind: *kind,
                        major,
                        minor,
                        access,
                    },
                );
            }
        }
        Ok(policy)
    }

    fn add(&mut self, allow: bool, rule: Exception) {
        if rule.access == 0 {
            return;
        }
        let same = |old: &Exception| (old.kind, old.major, old.minor) == (rule.kind, rule.major, rule.minor);
        let found = self.exceptions.iter().position(same);
        match (allow == self.allow, found) {
            (false, Some(at)) => self.exceptions[at].access |= rule.access,
            (false, None) => self.exceptions.push(rule),
            (true, Some(at)) => {
                self.exceptions[at].access &= !rule.access;
                if self.exceptions[at].access == 0 {
                    self.exceptions.remove(at);
                }
            }
            (true, None) => {}
        }
    }
}

/// The letters that are none are passed over, as runc does; no letter at all means everything.
fn access(text: &str) -> u32 {
    let bit = |letter| match letter {
        'r' => READ,
        'w' => WRITE,
        'm' => MKNOD,
        _ => 0,
    };
    match text {
        "" => MKNOD | READ | WRITE,
        text => text.chars().fold(0, |bits, letter| bits | bit(letter)),
    }
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// The registers: 0 the answer, 1 what is asked (then scratch), and its parts.
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn instruction(code: u8, to: u8, from: u8, jump: i16, operand: i32) -> Instruction {
    Instruction {
        code,
        registers: to | from << 4,
        jump,
        operand,
    }
}

/// The program of a list of rules; none when everything is allowed.
pub(crate) fn program(rules: &[LinuxDeviceCgroup]) -> Result<Option<Vec<Instruction>>, String> {
    let policy = Policy::of(rules)?;
    if policy.allow && policy.exceptions.is_empty() {
        return Ok(None);
    }
    let mut code = vec![
        instruction(LOAD_WORD, KIND, 1, 0, 0),
        instruction(LOAD_WORD, MAJOR, 1, 4, 0),
        instruction(LOAD_WORD, MINOR, 1, 8, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
    ];
    for exception in &policy.exceptions {
        let mut tests = vec![(JUMP_NOT_EQUAL, KIND, 0, exception.kind as i32)];
        // Allowed is a use that is covered wholly; denied one that is touched at all.
        tests.push((MOVE_REGISTER, SCRATCH, ACCESS, 0));
        tests.push((AND, SCRATCH, 0, exception.access as i32));
        tests.push(match policy.allow {
            true => (JUMP_EQUAL, SCRATCH, 0, 0),
            false => (JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0),
        });
        tests.extend(exception.major.map(|major| (JUMP_NOT_EQUAL, MAJOR, 0, major)));
        tests.extend(exception.minor.map(|minor| (JUMP_NOT_EQUAL, MINOR, 0, minor)));
        let count = tests.len();
        for (at, (operation, to, from, operand)) in tests.into_iter().enumerate() {
            let jumps = matches!(operation, JUMP_EQUAL | JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER);
            // Past the tests that follow and the two instructions that answer.
            let jump = if jumps { (count - at - 1 + 2) as i16 } else { 0 };
            code.push(instruction(operation, to, from, jump, operand));
        }
        code.push(instruction(MOVE, 0, 0, 0, i32::from(!policy.allow)));
        code.push(instruction(EXIT, 0, 0, 0, 0));
    }
    code.push(instruction(MOVE, 0, 0, 0, i32::from(policy.allow)));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    /// The kernel's machine, as far as these programs use it.
    fn run(code: &[Instruction], asked: [u32; 3]) -> u64 {
        let mut registers = [0_u64; 16];
        let mut at = 0_usize;
        loop {
            let now = code[at];
            let (to, from) = (usize::from(now.registers & 15), usize::from(now.registers >> 4));
            let operand = now.operand as u64;
            let jump = match now.code {
                LOAD_WORD => {
                    registers[to] = u64::from(asked[now.jump as usize / 4]);
                    false
                }
                MOVE | MOVE_REGISTER | AND | SHIFT_RIGHT => {
                    registers[to] = match now.code {
                        MOVE => operand,
                        MOVE_REGISTER => registers[from],
                        AND => registers[to] & operand,
                        _ => registers[to] >> operand,
                    };
                    false
                }
                JUMP_EQUAL => registers[to] == operand,
                JUMP_NOT_EQUAL => registers[to] != operand,
                JUMP_NOT_EQUAL_REGISTER => registers[to] != registers[from],
                EXIT => return registers[0],
                other => panic!("{other:#x}"),
            };
            at += 1 + if jump { now.jump as usize } else { 0 };
        }
    }

    fn allowed(json: &str, kind: u32, access: u32, major: u32, minor: u32) -> bool {
        match program(&rules(json)).unwrap() {
            None => true,
            Some(code) => run(&code, [access << 16 | kind, major, minor]) == 1,
        }
    }

    #[test]
    fn what_is_not_allowed_is_denied() {
        let list = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","access":"m"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},{"allow":true,"type":"c","major":136,"access":"rwm"}]"#;
        for (access, major, minor, expected) in [
            (READ, 1, 3, true),
            (READ | WRITE, 1, 3, true),
            (READ, 1, 8, false),
            (MKNOD, 1, 8, true),
            (READ | WRITE | MKNOD, 136, 77, true),
        ] {
            assert_eq!(
                allowed(list, CHARACTER, access, major, minor),
                expected,
                "{access} {major}:{minor}"
            );
        }
        assert!(!allowed(list, BLOCK, MKNOD, 1, 3));
    }

    #[test]
    fn what_is_not_denied_is_allowed() {
        assert!(!allowed("[]", CHARACTER, READ, 1, 3), "nothing is, to begin with");
        let list = r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"},
            {"allow":false,"type":"c","major":1,"minor":3},{"allow":true,"type":"c","major":1,"minor":3}]"#;
        assert!(allowed(list, BLOCK, READ, 8, 0));
        assert!(
            !allowed(list, BLOCK, READ | WRITE, 8, 0),
            "one denied part is enough"
        );
        assert!(allowed(list, CHARACTER, READ, 1, 3), "a rule taken back");
        assert_eq!(program(&rules(r#"[{"allow":true}]"#)), Ok(None));
        assert!(allowed(
            r#"[{"allow":true,"type":"c","access":"ar"}]"#,
            CHARACTER,
            READ,
            1,
            3
        ));
        assert!(program(&rules(r#"[{"allow":true,"type":"x"}]"#)).is_err());
    }
}
