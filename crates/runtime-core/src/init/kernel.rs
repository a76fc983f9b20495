//! How the kernel is to treat the process: which processors, how soon, which memory, as which kind of Linux.

use gantry_oci::runtime::{Linux, LinuxMemoryPolicy, Process};
use gantry_sys::prctl;

use crate::error::{Error, Result, chain};

/// All processors that the cgroup allows, whatever those were that we were started on.
pub(crate) fn reset_affinity() {
    // A machine that does not have it, or a filter that forbids it, is no reason to fail.
    let _ = prctl::set_affinity(&[u64::MAX; 128]);
}

/// The processors of a list like `0-3,7`.
pub(crate) fn set_affinity(list: &str) -> Result<()> {
    Ok(prctl::set_affinity(&mask(list)?)?)
}

/// A list of processors or nodes like `0-3,7` as bits.
pub(crate) fn mask(list: &str) -> Result<Vec<u64>> {
    const LIMIT: usize = 8192;
    let invalid = || {
        Error::Config(format!(
            "invalid CPU list {list:?}: numbers and ranges like 0-3,7 are needed"
        ))
    };
    let number = |text: &str| {
        text.trim()
            .parse::<usize>()
            .ok()
            .filter(|n| *n < LIMIT)
            .ok_or_else(invalid)
    };
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(invalid());
        }
        for bit in first..=last {
            if mask.len() <= bit / 64 {
                mask.resize(bit / 64 + 1, 0);
            }
            mask[bit / 64] |= 1 << (bit % 64);
        }
    }
    match mask.is_empty() {
        true => Err(invalid()),
        false => Ok(mask),
    }
}

/// A mask as one number in hexadecimal digits.
pub(crate) fn hexadecimal(mask: &[u64]) -> String {
    let digits: String = mask.iter().rev().map(|word| format!("{word:016x}")).collect();
    format!("0x{}", digits.trim_start_matches('0'))
}

/// Everything that is the same for the first process and for those that are added.
pub(crate) fn apply(process: &Process, linux: &Linux) -> Result<()> {
    let cpus = linux
        .resources
        .as_ref()
        .and_then(|resources| resources.cpu.as_ref());
    scheduling(process, cpus.is_some_and(|cpu| !cpu.cpus.is_empty()))?;
    if let Some(personality) = &linux.personality {
        prctl::set_personality(domain(&personality.domain)?)?;
    }
    if let Some(policy) = &linux.memory_policy {
        let (mode, nodes) = memory_policy(policy)?;
        prctl::set_memory_policy(mode, &nodes)?;
    }
    Ok(())
}

/// The number of an execution domain.
pub(crate) fn domain(name: &str) -> Result<u64> {
    match name {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(Error::Config(format!("unknown personality domain {other:?}"))),
    }
}

/// The words of a memory policy, and their numbers, for `features` too.
pub(crate) const MEMORY_MODES: &[(&str, i32)] = &[
    ("MPOL_BIND", 2),
    ("MPOL_DEFAULT", 0),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED", 1),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Its flags.
pub(crate) const MEMORY_FLAGS: &[(&str, i32)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Mode with flags, and nodes.
pub(crate) fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<(i32, Vec<u64>)> {
    let find =
        |table: &[(&str, i32)], word: &str| table.iter().find(|(name, _)| *name == word).map(|(_, n)| *n);
    let mut mode = find(MEMORY_MODES, &policy.mode)
        .ok_or_else(|| Error::Config(format!("invalid memory policy mode {:?}", policy.mode)))?;
    let without_nodes = matches!(policy.mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL");
    for flag in &policy.flags {
        mode |= find(MEMORY_FLAGS, flag)
            .ok_or_else(|| Error::Config(format!("invalid memory policy flag {flag:?}")))?;
    }
    if without_nodes && !policy.flags.is_empty() {
        return Err(Error::Config("memory policy mode allows no flags".to_owned()));
    }
    let nodes = match policy.nodes.trim() {
        "" => Vec::new(),
        nodes => mask(nodes).map_err(|_| Error::Config(format!("invalid memory policy nodes {nodes:?}")))?,
    };
    match (without_nodes, nodes.is_empty()) {
        (true, false) => {
            let count: u32 = nodes.iter().map(|word| word.count_ones()).sum();
            Err(Error::Config(format!(
                "memory policy mode requires 0 nodes but got {count}"
            )))
        }
        (false, true) if policy.mode != "MPOL_PREFERRED" => Err(Error::Config(format!(
            "{} mode requires at least one node",
            policy.mode
        ))),
        _ => Ok((mode, nodes)),
    }
}

/// The number of a scheduling policy.
pub(crate) fn policy(name: &str) -> Result<u32> {
    Ok(match name {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Error::Config(format!("invalid scheduler policy: {other}"))),
    })
}

fn scheduling(wanted: &Process, cpuset: bool) -> Result<()> {
    if let Some(scheduler) = &wanted.scheduler {
        let mut flags = 0;
        for flag in &scheduler.flags {
            flags |= match flag.as_str() {
                "SCHED_FLAG_RESET_ON_FORK" => 0x01,
                "SCHED_FLAG_RECLAIM" => 0x02,
                "SCHED_FLAG_DL_OVERRUN" => 0x04,
                "SCHED_FLAG_KEEP_POLICY" => 0x08,
                "SCHED_FLAG_KEEP_PARAMS" => 0x10,
                "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
                "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
                other => return Err(Error::Config(format!("invalid scheduler flag: {other}"))),
            };
        }
        prctl::set_scheduler(prctl::SchedAttr {
            policy: policy(&scheduler.policy)?,
            flags,
            nice: scheduler.nice,
            priority: u32::try_from(scheduler.priority).unwrap_or(0),
            runtime: scheduler.runtime,
            deadline: scheduler.deadline,
            period: scheduler.period,
            ..Default::default()
        })
        .map_err(|error| match (error.errno(), cpuset) {
            (1, true) => Error::Init("process scheduler can't be used together with AllowedCPUs".to_owned()),
            _ => Error::Init(format!("error setting scheduler: {}", chain(&error))),
        })?;
    }
    if let Some(io) = &wanted.io_priority {
        prctl::set_io_priority(io_class(&io.class)?, io.priority)?;
    }
    Ok(())
}

/// The number of a class of I/O.
pub(crate) fn io_class(name: &str) -> Result<i32> {
    match name {
        "IOPRIO_CLASS_RT" => Ok(1),
        "IOPRIO_CLASS_BE" => Ok(2),
        "IOPRIO_CLASS_IDLE" => Ok(3),
        other => Err(Error::Config(format!("invalid ioPriority.class: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_masks() {
        for (list, bits) in [
            ("0", 1),
            ("0-3", 15),
            ("0,2", 5),
            (" 1 - 2, 4", 22),
            ("63", 1 << 63),
        ] {
            assert_eq!(mask(list).unwrap(), [bits], "{list}");
        }
        assert_eq!(mask("64").unwrap(), [0, 1]);
        for bad in ["", ",", "a", "3-1", "-1", "1-", "99999"] {
            assert!(mask(bad).is_err(), "{bad}");
        }
        assert_eq!(hexadecimal(&[3]), "0x3");
        assert_eq!(hexadecimal(&[0, 1]), "0x10000000000000000");
    }

    #[test]
    fn memory_policies_are_checked() {
        let policy = |mode: &str, nodes: &str, flags: &[&str]| {
            memory_policy(&LinuxMemoryPolicy {
                mode: mode.to_owned(),
                nodes: nodes.to_owned(),
                flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            })
        };
        assert_eq!(
            policy("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"]).unwrap(),
            (0x8002, vec![1])
        );
        assert_eq!(policy("MPOL_DEFAULT", "", &[]).unwrap(), (0, Vec::new()));
        for (mode, nodes, flags) in [
            ("MPOL_NO", "0", &[][..]),
            ("MPOL_BIND", "", &[]),
            ("MPOL_BIND", "x", &[]),
            ("MPOL_LOCAL", "0", &[]),
            ("MPOL_BIND", "0", &["MPOL_F_NO"]),
            ("MPOL_DEFAULT", "", &["MPOL_F_STATIC_NODES"]),
        ] {
            assert!(policy(mode, nodes, flags).is_err(), "{mode} {nodes}");
        }
    }
}
