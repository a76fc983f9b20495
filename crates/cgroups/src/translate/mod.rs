//! Limits of the runtime specification as writes to files. Pure: what is to be written where, in which order.

pub(crate) mod devices;
pub(crate) mod v1;
pub(crate) mod v2;

/// One value for one file of one controller's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The controller; empty: the core files.
    pub(crate) controller: &'static str,
    /// The file.
    pub(crate) file: String,
    /// What is written.
    pub(crate) value: String,
    /// Whether a machine without the file, or that refuses, is well enough.
    pub(crate) optional: bool,
}

impl Write {
    pub(crate) fn new(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Self {
        Self {
            controller,
            file: file.into(),
            value: value.to_string(),
            optional: false,
        }
    }

    pub(crate) fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

/// Memory and swap together, checked: `(memory, memory + swap)` as far as each is to be set; -1 is no limit.
pub(crate) fn memory_and_swap(
    memory: &gantry_oci::runtime::LinuxMemory,
) -> Result<(Option<i64>, Option<i64>), String> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    let mut swap = memory.swap.filter(|swap| *swap != 0);
    // No limit on memory lifts that on swap too.
    if limit == Some(-1) && swap.is_none() {
        swap = Some(-1);
    }
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && swap < limit
    {
        return Err(format!(
            "memory+swap limit {swap} should be >= memory limit {limit}"
        ));
    }
    Ok((limit, swap))
}
