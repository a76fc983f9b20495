//! Architectures: their names in profiles, their numbers in the kernel, and those of their system calls. Facts only.

#[rustfmt::skip]
mod numbers;

use numbers::{I, N, NUMBERS, P, S};

/// An architecture that filters can be compiled for, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 32-bit pointers on x86-64: its calls carry x86-64's architecture and a bit in their numbers.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

/// The bit by which calls of x32 are known.
pub const X32_BIT: u32 = 0x4000_0000;

/// Names of architectures that profiles may hold though no filter is compiled for them: this machine cannot run them.
const OTHERS: &[&str] = &[
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

impl Arch {
    /// All of them.
    pub const ALL: &[Arch] = &[Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

    /// That of this program.
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "x86" => Some(Self::X86),
            "aarch64" => Some(Self::Aarch64),
            "arm" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The name in profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// Those that a profile's name means: none when the name is that of a machine we are not, an error when it is no name.
    pub fn by_name(name: &str) -> Result<Option<Self>, String> {
        match Self::ALL.iter().find(|arch| arch.name() == name) {
            Some(arch) => Ok(Some(*arch)),
            None if name == "SCMP_ARCH_NATIVE" => Ok(Self::native()),
            None if OTHERS.contains(&name) => Ok(None),
            None => Err(format!("string {name} is not a valid arch for seccomp")),
        }
    }

    /// `AUDIT_ARCH_…`, as the kernel tells a filter.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are of 32 bits. The kernel extends them with zeros; those of x32 come in whole registers, of which
    /// its calls take the lower half.
    pub fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    /// From where on numbers are not in the order in which calls were added to the kernel.
    pub fn private_numbers(self) -> u32 {
        match self {
            // What the kernel's table calls `__ARM_NR_BASE`.
            Self::Arm => P,
            _ => u32::MAX,
        }
    }

    /// The number of a system call, if the architecture has it.
    pub fn number(self, name: &str) -> Option<u32> {
        numbers(name)?.of(self)
    }

    /// The name of a number, if the architecture has it.
    pub fn name_of(self, number: u32) -> Option<&'static str> {
        let mut found = NUMBERS
            .iter()
            .filter(|(_, numbers)| number != N && numbers[self as usize] == number);
        found.next().map(|(name, _)| *name)
    }
}

/// The numbers of one system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers(&'static [u32; 6]);

impl Numbers {
    /// That on one architecture, if it has the call.
    pub fn of(self, arch: Arch) -> Option<u32> {
        Some(self.0[arch as usize]).filter(|number| *number != N)
    }

    /// 32-bit x86 has some calls twice: under numbers of their own, and behind `socketcall` or `ipc`. The number of that one,
    /// and the value of its first argument that means this call; a rule that held for one way only would be no rule.
    pub fn multiplexed(self, arch: Arch) -> Option<(u32, u64)> {
        const SOCKETCALL: u32 = 102;
        const IPC: u32 = 117;
        let code = self.0[5];
        match code & !0xff {
            _ if arch != Arch::X86 => None,
            S => Some((SOCKETCALL, u64::from(code & 0xff))),
            I => Some((IPC, u64::from(code & 0xff))),
            _ => None,
        }
    }
}

/// The numbers of a system call, if any architecture has it.
pub fn numbers(name: &str) -> Option<Numbers> {
    // Lengths are compared before texts, which is cheap and mostly decides.
    let order = |known: &str| known.len().cmp(&name.len()).then_with(|| known.cmp(name));
    let at = NUMBERS.binary_search_by(|(known, _)| order(known)).ok()?;
    Some(Numbers(&NUMBERS[at].1))
}

/// Whether any architecture has a call of this name.
pub fn is_known(name: &str) -> bool {
    numbers(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_right_at_known_points() {
        let order = |name: &'static str| (name.len(), name);
        assert!(NUMBERS.windows(2).all(|pair| order(pair[0].0) < order(pair[1].0)));
        for (arch, name, number) in [
            (Arch::X86_64, "read", 0),
            (Arch::X86_64, "listns", 470),
            (Arch::Arm, "read", 3),
            (Arch::Arm, "set_tls", 0xf_0005),
            (Arch::X86_64, "clone3", 435),
            (Arch::X86, "read", 3),
            (Arch::X86, "socketcall", 102),
            (Arch::X32, "read", X32_BIT),
            (Arch::X32, "rt_sigaction", X32_BIT | 512),
            (Arch::Aarch64, "read", 63),
            (Arch::Aarch64, "openat", 56),
        ] {
            assert_eq!(arch.number(name), Some(number), "{arch:?} {name}");
        }
        assert_eq!(Arch::Aarch64.number("open"), None);
        let multiplexed = |arch, name| numbers(name).unwrap().multiplexed(arch);
        assert_eq!(multiplexed(Arch::X86, "connect"), Some((102, 3)));
        assert_eq!(multiplexed(Arch::X86, "shmget"), Some((117, 23)));
        assert_eq!(multiplexed(Arch::X86_64, "connect"), None);
        assert_eq!(multiplexed(Arch::X86, "read"), None);
        assert!(is_known("mseal") && !is_known("nonsense"));
        assert!(Arch::by_name("SCMP_ARCH_PDP11").is_err());
        assert_eq!(Arch::by_name("SCMP_ARCH_S390X"), Ok(None));
    }
}
