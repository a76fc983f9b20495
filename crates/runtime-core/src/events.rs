//! What happens in a container's cgroup while it runs: its figures from time to time, and processes killed for want of memory.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use gantry_cgroups::{Oom, Stats};
use gantry_sys::epoll::{Epoll, event};
use gantry_sys::process;

use crate::error::{Error, Result};
use crate::state::{Container, Status};

const ENDED: u64 = 0;
const MEMORY: u64 = 1;

/// One event.
#[derive(Debug)]
pub enum Event {
    /// The figures.
    Stats(Box<Stats>),
    /// Memory was not enough.
    Oom,
}

/// The figures now.
pub fn stats(container: &Container) -> Result<Stats> {
    match container.status()? {
        Status::Stopped => Err(Error::State(format!(
            "container with id {} is not running",
            container.id()
        ))),
        _ => Ok(container.cgroup()?.stats()),
    }
}

/// Tells of every event until the container ends, or whoever listens has enough.
pub fn watch(container: &Container, interval: Duration, mut tell: impl FnMut(Event) -> bool) -> Result<()> {
    stats(container)?;
    let cgroup = container.cgroup()?;
    let init = process::pidfd_open(container.pid()).map_err(|_| Error::NotRunning)?;
    let epoll = Epoll::new()?;
    epoll.add(init.as_fd(), event::READ, ENDED)?;
    let mut memory = cgroup.watch_oom()?;
    if let Some(watch) = &memory {
        epoll.add(watch.as_fd(), event::READ, MEMORY)?;
    }
    let mut next = Instant::now() + interval;
    while container.alive() {
        let left = next.saturating_duration_since(Instant::now());
        let limit = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let mut ended = false;
        let mut heard = false;
        epoll.wait(Some(limit), |token, _| match token {
            ENDED => ended = true,
            _ => heard = true,
        })?;
        if ended {
            return Ok(());
        }
        if heard && let Some(watch) = &mut memory {
            match watch.take() {
                Oom::Killed => {
                    if !tell(Event::Oom) {
                        return Ok(());
                    }
                }
                Oom::Gone => {
                    epoll.remove(watch.as_fd());
                    memory = None;
                }
                Oom::Nothing => {}
            }
        }
        if Instant::now() >= next {
            next += interval;
            if !tell(Event::Stats(Box::new(cgroup.stats()))) {
                return Ok(());
            }
        }
    }
    Ok(())
}
