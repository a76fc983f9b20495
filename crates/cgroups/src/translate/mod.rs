//! Limits of the runtime specification as writes to files. Pure: what is to be written where, in which order.

pub(crate) mod devices;
pub(crate) mod v1;
pub(crate) mod v2;

/// What is done when a write is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is an error.
    #[default]
    Fails,
    /// It is well enough that the machine has no such file.
    Missing,
    /// The value does not go together with one that is about to change: it is tried again after that.
    Later,
    /// Both.
    MissingOrLater,
}

/// One value for one file of one controller's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The controller; empty: the core files.
    pub(crate) controller: &'static str,
    /// The file.
    pub(crate) file: String,
    /// What is written.
    pub(crate) value: String,
    /// If it is not.
    pub(crate) refused: Refused,
    /// Another file and value, where there is no such file.
    pub(crate) instead: Option<(String, String)>,
}

impl Write {
    pub(crate) fn new(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Self {
        Self {
            controller,
            file: file.into(),
            value: value.to_string(),
            refused: Refused::Fails,
            instead: None,
        }
    }

    pub(crate) fn refused(self, refused: Refused) -> Self {
        Self { refused, ..self }
    }

    pub(crate) fn instead(self, file: &str, value: impl ToString) -> Self {
        Self {
            instead: Some((file.to_owned(), value.to_string())),
            ..self
        }
    }
}

/// The number of processes: none is as good as one, and what systemd takes.
fn processes(limit: i64) -> String {
    match limit {
        0 => "1".to_owned(),
        1.. => limit.to_string(),
        _ => "max".to_owned(),
    }
}

/// One device's RDMA limits: only those that are given.
fn rdma(device: &str, limits: &gantry_oci::runtime::LinuxRdma) -> Write {
    let mut value = device.to_owned();
    if let Some(handles) = limits.hca_handles {
        value += &format!(" hca_handle={handles}");
    }
    if let Some(objects) = limits.hca_objects {
        value += &format!(" hca_object={objects}");
    }
    Write::new("rdma", "rdma.max", value)
}

/// A value that is given and not zero, which the specification takes for not given.
fn set<T: Copy + Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}
