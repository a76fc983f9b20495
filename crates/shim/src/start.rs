//! `start`: binds the task socket, makes the serving process, tells where it listens. And the serving process's first steps.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gantry_sys::process::{self, Forked};
use gantry_sys::{pty, signal, socket};

use crate::args::Args;
use crate::server::{self, Server};

/// Where sockets are when the supervisor names no folder, as containerd's.
const SOCKETS: &str = "/run/containerd/s";

/// Makes the serving shim. Its address is printed once it listens.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    // Options come again with every `Create`; whoever wrote them must not be cut off.
    let mut options = Vec::new();
    let _ = std::io::stdin().take(1 << 20).read_to_end(&mut options);
    let folder =
        std::env::var_os("GANTRY_SHIM_SOCKET_DIR").map_or_else(|| PathBuf::from(SOCKETS), PathBuf::from);
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&folder)
        .map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    let path = folder.join(name(&[&args.address, &args.namespace, &args.id]));
    if socket::connect(&path).is_ok() {
        return Err(format!(
            "a shim of {} serves already at {}: already exists",
            args.id,
            path.display()
        ));
    }
    let _ = fs::remove_file(&path);
    let listener =
        socket::listen(&path).map_err(|error| format!("failed to listen on {}: {error}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(|error| error.to_string())?;
    let address = format!("unix://{}", path.display());
    fs::write(args.bundle.join("address"), &address)
        .map_err(|error| format!("failed to write the address: {error}"))?;

    match process::fork(0).map_err(|error| gantry_errdefs::chain(&error))? {
        Forked::Parent(pid, _) => {
            gantry_sys::trace::line("shim", &format!("started pid={pid} id={}", args.id), None);
            print!("{}", answer(&address));
            Ok(())
        }
        Forked::Child => {
            let served = prepare(&args.bundle)
                .and_then(|()| Server::new(args, listener, path.clone()))
                .and_then(|mut server| server::serve(&mut server));
            let _ = fs::remove_file(&path);
            if let Err(error) = &served {
                // Standard error is the shim's log by now.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes());
            }
            process::exit(i32::from(served.is_err()))
        }
    }
}

/// What the caller reads: the bare address from before version 3 of the contract, JSON since.
fn answer(address: &str) -> String {
    let newest = std::env::var("MAX_SHIM_VERSION")
        .ok()
        .and_then(|version| version.parse().ok())
        .unwrap_or(2);
    match newest {
        0..=2 => address.to_owned(),
        _ => format!("{{\"version\":3,\"address\":\"{address}\",\"protocol\":\"ttrpc\"}}"),
    }
}

/// A name of fixed length for a socket. Not secret: FNV-1a of what makes a shim one of its kind.
fn name(parts: &[&str]) -> String {
    let hash = |seed: u64| {
        parts
            .iter()
            .flat_map(|part| part.bytes().chain([0]))
            .fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    };
    format!(
        "{:016x}{:016x}",
        hash(0xcbf2_9ce4_8422_2325),
        hash(0x8422_2325_cbf2_9ce4)
    )
}

/// Cuts all ties to whoever started us.
fn prepare(bundle: &Path) -> Result<(), String> {
    let failed = |error: gantry_sys::Error| gantry_errdefs::chain(&error);
    process::setsid().map_err(failed)?;
    process::set_subreaper().map_err(failed)?;
    signal::set_ignored(13, true);
    // Whoever ends a group or a terminal does not mean us: a shim ends with its container.
    signal::block(server::SIGNALS).map_err(failed)?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| error.to_string())?;
    let log = bundle.join("shim.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .map_err(|error| error.to_string())?;
    pty::duplicate_onto(null.as_fd(), 0).map_err(failed)?;
    pty::duplicate_onto(null.as_fd(), 1).map_err(failed)?;
    pty::duplicate_onto(log.as_fd(), 2).map_err(failed)?;
    // Killed for want of memory only after its container.
    let _ = process::set_oom_score_adj(-999).or_else(|_| process::set_oom_score_adj(0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_names_of_their_own() {
        assert_ne!(name(&["a", "b", "c"]), name(&["a", "bc", ""]));
        assert_eq!(name(&["a"]).len(), 32);
    }
}
