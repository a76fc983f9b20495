//! Capabilities: their names and numbers, and the sets of the calling thread.

use crate::error::{Result, check};

/// Names in the order of their numbers.
const NAMES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities: bit N is number N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub u64);

impl Set {
    /// Those of `names` that are known, and the others.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> (Self, Vec<&'a str>) {
        let mut set = 0;
        let mut unknown = Vec::new();
        for name in names {
            match NAMES.iter().position(|known| *known == name) {
                Some(number) => set |= 1 << number,
                None => unknown.push(name),
            }
        }
        (Self(set), unknown)
    }

    /// The names of the set's members.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .enumerate()
            .filter(move |(number, _)| self.0 & (1 << number) != 0)
            .map(|(_, name)| *name)
    }

    /// Whether a number is in the set.
    pub fn has(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }
}

/// All names.
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// The sets of a thread but the bounding one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// Used for checks.
    pub effective: Set,
    /// May become effective.
    pub permitted: Set,
    /// Handed on by programs that have them in their files.
    pub inheritable: Set,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// The sets of the calling thread.
pub fn get() -> Result<Sets> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 takes a header and two elements of data, which live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(result, || "get capabilities".to_owned())?;
    let join = |pick: fn(&Data) -> u32| Set(u64::from(pick(&data[0])) | u64::from(pick(&data[1])) << 32);
    Ok(Sets {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// Sets the sets of the calling thread.
pub fn set(sets: Sets) -> Result<()> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let half = |shift: u32| Data {
        effective: (sets.effective.0 >> shift) as u32,
        permitted: (sets.permitted.0 >> shift) as u32,
        inheritable: (sets.inheritable.0 >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two elements of data, which live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    check(result, || "set capabilities".to_owned()).map(drop)
}

/// Drops from the bounding set what is not in `keep`. Numbers that the kernel does not know end the walk.
pub fn bound(keep: Set) -> Result<()> {
    for number in 0..64_u32 {
        if keep.has(number) {
            continue;
        }
        // SAFETY: prctl with integers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) };
        match check(result, || format!("drop capability {number}")) {
            Err(error) if error.errno() == libc::EINVAL => break,
            other => drop(other?),
        }
    }
    Ok(())
}

/// Makes `set` the ambient set. What the kernel does not allow is left out.
pub fn set_ambient(set: Set) -> Result<()> {
    const PR_CAP_AMBIENT_RAISE: libc::c_ulong = 2;
    const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;
    // SAFETY: prctl with integers.
    let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    check(result, || "clear the ambient capabilities".to_owned())?;
    for number in (0..64_u32).filter(|number| set.has(*number)) {
        // SAFETY: prctl with integers.
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                PR_CAP_AMBIENT_RAISE,
                number as libc::c_ulong,
                0,
                0,
            )
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        let (set, unknown) = Set::from_names(["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NONSENSE"]);
        assert_eq!(set, Set(1 | 1 << 21));
        assert_eq!(unknown, ["CAP_NONSENSE"]);
        assert_eq!(set.names().collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        assert_eq!(NAMES.len(), 41);
        assert!(get().is_ok());
    }
}
