//! When the filter of system calls is loaded. What a process does behind it must be allowed by the profile, and a profile
//! speaks of the user's program, not of us. So it is loaded last:
//!
//! ```text
//!                        no_new_privs                           without
//! nobody is notified     start ─► filter ─► program             start ─► filter ─► capset ─► program
//! somebody is            filter ─► write, read ─► Ready ─► start ─► program      (capset behind the filter too)
//! ```
//!
//! Without no_new_privs the kernel asks for CAP_SYS_ADMIN, which is kept for that long and no longer. Who is notified must
//! hear of it while the container is being created; then the listener's number is told by write(2), of which nobody is ever
//! notified, and the parent fetches the descriptor: the filter may hold what we call, but not whom we wait for.

use gantry_oci::runtime::Process;
use gantry_sys::caps::{self, Set, Sets};

use crate::error::{Error, Result, chain};
use crate::log::Log;
use crate::protocol::{Channel, Message};
use crate::seccomp::Filter;

/// The number of CAP_SYS_ADMIN.
const SYS_ADMIN: u64 = 1 << 21;

/// A filter that is still to be loaded.
pub(super) struct Confinement<'a> {
    filter: Option<&'a Filter>,
    no_new_privs: bool,
    log: &'a Log,
    /// What the process is left with once the filter is loaded.
    rest: Option<Sets>,
}

impl<'a> Confinement<'a> {
    /// For a process that has all of its rights still. Fails if the kernel is going to refuse the filter.
    pub(super) fn new(wanted: &Process, filter: Option<&'a Filter>, log: &'a Log) -> Result<Self> {
        let new = Self {
            filter,
            no_new_privs: wanted.no_new_privileges,
            log,
            rest: None,
        };
        let Some(filter) = filter else { return Ok(new) };
        if !gantry_seccomp::load::is_known(filter) {
            return Err(Error::Init(format!(
                "unable to init seccomp: the kernel does not know the flags {:#x}",
                filter.kernel_flags()
            )));
        }
        if !new.no_new_privs && caps::get()?.permitted.0 & SYS_ADMIN == 0 {
            // In its own words.
            gantry_seccomp::load::install(filter).map_err(failed)?;
        }
        Ok(new)
    }

    /// Takes the capabilities that the program is to have, but keeps what the filter needs until it is loaded.
    pub(super) fn take(&mut self, sets: Sets) -> Result<()> {
        let missing = sets.effective.0 & SYS_ADMIN == 0;
        if self.filter.is_none() || self.no_new_privs || !missing {
            return Ok(caps::set(sets)?);
        }
        self.rest = Some(sets);
        Ok(caps::set(Sets {
            effective: Set(sets.effective.0 | SYS_ADMIN),
            permitted: Set(sets.permitted.0 | SYS_ADMIN),
            inheritable: sets.inheritable,
        })?)
    }

    /// Whether somebody waits for the listener of the filter.
    pub(super) fn notifies(&self) -> bool {
        self.filter.is_some_and(|filter| filter.notifies)
    }

    /// Loads the filter, if that was not done before.
    pub(super) fn apply(&mut self, channel: &Channel) -> Result<()> {
        use std::os::fd::AsRawFd;
        let Some(filter) = self.filter.take() else {
            return Ok(());
        };
        self.log
            .debug(|| format!("seccomp filter flags: {}", filter.kernel_flags()));
        let listener = gantry_seccomp::load::install(filter).map_err(failed)?;
        if let Some(listener) = listener {
            channel.tell(&Message::SeccompListener(listener.as_raw_fd()))?;
            channel.hear(&Message::SeccompTaken)?;
        }
        match self.rest.take() {
            Some(sets) => Ok(caps::set(sets)?),
            None => Ok(()),
        }
    }
}

fn failed(error: gantry_seccomp::load::LoadError) -> Error {
    Error::Init(format!("unable to init seccomp: {}", chain(&error)))
}
