//! Architectures: their names in profiles, their numbers in the kernel, and those of their system calls. Facts only.

#[rustfmt::skip]
mod aarch64;
#[rustfmt::skip]
mod x32;
#[rustfmt::skip]
mod x86;
#[rustfmt::skip]
mod x86_64;

/// An architecture that filters can be compiled for.
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
}

/// The bit by which calls of x32 are known.
pub const X32_BIT: u32 = 0x4000_0000;

/// Names of architectures that profiles may hold though no filter is compiled for them: this machine cannot run them.
const OTHERS: &[&str] = &[
    "SCMP_ARCH_ARM",
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
    pub const ALL: &[Arch] = &[Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64];

    /// That of this program.
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "x86" => Some(Self::X86),
            "aarch64" => Some(Self::Aarch64),
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
        }
    }

    /// Those that a profile's name means: none when the name is that of a machine we are not, an error when it is no name.
    pub fn by_name(name: &str) -> Result<Option<Self>, String> {
        match Self::ALL.iter().find(|arch| arch.name() == name) {
            Some(arch) => Ok(Some(*arch)),
            None if name == "SCMP_ARCH_NATIVE" => Ok(Self::native()),
            None if OTHERS.contains(&name) => Ok(None),
            None => Err(format!("unknown architecture {name:?}")),
        }
    }

    /// `AUDIT_ARCH_…`, as the kernel tells a filter.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of a system call, if the architecture has it.
    pub fn number(self, name: &str) -> Option<u32> {
        let find = |table: &[(&str, u32)]| {
            table
                .binary_search_by_key(&name, |(known, _)| known)
                .ok()
                .map(|at| table[at].1)
        };
        match self {
            Self::X86_64 => find(x86_64::NUMBERS),
            Self::X86 => find(x86::NUMBERS),
            Self::X32 => find(x32::NUMBERS).or_else(|| find(x86_64::NUMBERS).map(|number| number | X32_BIT)),
            Self::Aarch64 => find(aarch64::NUMBERS),
        }
    }
}

/// Whether any architecture has a call of this name.
pub fn is_known(name: &str) -> bool {
    Arch::ALL.iter().any(|arch| arch.number(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_right_at_known_points() {
        for table in [x86_64::NUMBERS, x86::NUMBERS, x32::NUMBERS, aarch64::NUMBERS] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        for (arch, name, number) in [
            (Arch::X86_64, "read", 0),
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
        assert!(is_known("mseal") && !is_known("nonsense"));
        assert!(Arch::by_name("SCMP_ARCH_PDP11").is_err());
        assert_eq!(Arch::by_name("SCMP_ARCH_S390X"), Ok(None));
    }
}
