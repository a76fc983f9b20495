//! Network interfaces that the container is given: moved from the runtime's namespace into its own, with their addresses.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gantry_oci::runtime::{Linux, LinuxNamespaceType};
use gantry_sys::netlink::Netlink;
use gantry_sys::process::Pid;
use gantry_sys::{ns, path};

use crate::error::{Error, Result, chain};
use crate::plan;

/// Moves all that are named into the namespace of a process, or that which it is about to join.
pub(crate) fn give(linux: &Linux, pid: Pid) -> Result<()> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    let kind = LinuxNamespaceType::Network;
    let joined = linux
        .namespaces
        .iter()
        .find(|one| one.typ == kind && !one.path.is_empty());
    let place = joined.map_or_else(|| format!("/proc/{pid}/ns/net"), |one| one.path.clone());
    let namespace = path::open(Path::new(&place), 0)?;
    let (here, there) = (Netlink::open()?, opened_in(namespace.as_fd())?);
    for (name, device) in &linux.net_devices {
        let new = if device.name.is_empty() {
            name
        } else {
            &device.name
        };
        one(&here, &there, namespace.as_fd(), name, new).map_err(|error| {
            Error::Init(format!(
                "error moving network device {name} to the container: {}",
                chain(&error)
            ))
        })?;
    }
    Ok(())
}

fn one(
    here: &Netlink,
    there: &Netlink,
    namespace: BorrowedFd<'_>,
    name: &str,
    new: &str,
) -> gantry_sys::Result<()> {
    let index = here.index(name)?;
    // A move takes them away.
    let addresses = here.addresses(index)?;
    here.move_to(index, namespace, new)?;
    let index = there.index(new)?;
    for address in &addresses {
        there.add_address(index, address)?;
    }
    there.up(index)
}

/// A socket of another namespace.
fn opened_in(namespace: BorrowedFd<'_>) -> Result<Netlink> {
    let flag = plan::flag(LinuxNamespaceType::Network);
    let own: OwnedFd = path::open(Path::new("/proc/self/ns/net"), 0)?;
    ns::join(namespace, flag)?;
    let opened = Netlink::open();
    ns::join(own.as_fd(), flag)?;
    Ok(opened?)
}
