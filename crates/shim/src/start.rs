//! `start`: binds the task socket, makes the serving process, tells where it listens. And the serving process's first steps.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gantry_shim_api::messages::BootstrapParams;
use gantry_sys::process::{self, Forked};
use gantry_sys::{pty, signal, socket};
use prost::Message;

use crate::args::Args;
use crate::server::{self, Server};

/// Where sockets are when the supervisor names no folder, as containerd's.
const SOCKETS: &str = "/run/containerd/s";

/// Makes the serving shim. Its address is printed once it listens.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    // Whoever writes must not be cut off. Options come again with every `Create`.
    let mut given = Vec::new();
    let _ = std::io::stdin().take(1 << 20).read_to_end(&mut given);
    let params = params(&given, &args.id);
    let folder = match std::env::var_os("GANTRY_SHIM_SOCKET_DIR").filter(|dir| !dir.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => match params.as_ref().map_or("", |params| &params.socket_dir) {
            "" => PathBuf::from(SOCKETS),
            folder => PathBuf::from(folder),
        },
    };
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
    let address = format!("unix://{}", path.display());
    fs::write(args.bundle.join("address"), &address)
        .map_err(|error| format!("failed to write the address: {error}"))?;

    match process::fork(0).map_err(|error| gantry_errdefs::chain(&error))? {
        Forked::Parent(pid, _) => {
            gantry_sys::trace::line("shim", &format!("started pid={pid} id={}", args.id), None);
            print!("{}", answer(&address, newest(params.is_some())));
            Ok(())
        }
        Forked::Child => {
            let served = prepare(&args.bundle)
                .and_then(|()| Server::new(args, listener, path.clone()))
                .and_then(|mut server| {
                    let served = server::serve(&mut server);
                    // While the connections are open: who waits for our end may start another one of this name, and
                    // it is not for us to remove its socket.
                    let _ = fs::remove_file(&path);
                    served
                });
            if let Err(error) = &served {
                // Standard error is the shim's log by now.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes());
            }
            process::exit(i32::from(served.is_err()))
        }
    }
}

/// What newer containerds give. Before, they gave options, whose first field is not the id.
fn params(given: &[u8], id: &str) -> Option<BootstrapParams> {
    BootstrapParams::decode(given)
        .ok()
        .filter(|params| params.instance_id == id)
}

/// The newest version of the contract that the caller understands: one that gives parameters knows 3, whatever it says of
/// the versions that it asks for.
fn newest(params: bool) -> u32 {
    let asked = std::env::var("MAX_SHIM_VERSION")
        .ok()
        .and_then(|version| version.parse().ok());
    match params {
        true => 3,
        false => asked.unwrap_or(2),
    }
}

/// What the caller reads: the bare address from before version 3 of the contract, JSON since.
fn answer(address: &str, newest: u32) -> String {
    match newest {
        0..=2 => address.to_owned(),
        _ => format!("{{\"version\":3,\"address\":\"{address}\",\"protocol\":\"ttrpc\"}}"),
    }
}

/// A name of fixed length for a socket, of what makes a shim one of its kind.
fn name(parts: &[&str]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(parts.join("/"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
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
    let log = log(bundle).map_err(|error| format!("failed to open the shim's log: {error}"))?;
    pty::duplicate_onto(null.as_fd(), 0).map_err(failed)?;
    pty::duplicate_onto(null.as_fd(), 1).map_err(failed)?;
    pty::duplicate_onto(log.as_fd(), 2).map_err(failed)?;
    // Killed for want of memory only after its container.
    let _ = process::set_oom_score_adj(-999).or_else(|_| process::set_oom_score_adj(0));
    Ok(())
}

/// Where the shim's own words go: to containerd's FIFO, if somebody reads it, and otherwise to a file. Never waits.
fn log(bundle: &Path) -> std::io::Result<fs::File> {
    const O_NONBLOCK: i32 = 0o4000;
    let fifo = bundle.join("log");
    let is_fifo = fs::symlink_metadata(&fifo).is_ok_and(|file| file.file_type().is_fifo());
    if is_fifo {
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(&fifo);
        if opened.is_ok() {
            return opened;
        }
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(bundle.join("shim.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_names_of_their_own() {
        assert_ne!(name(&["a", "b", "c"]), name(&["a", "b", "d"]));
        assert_eq!(
            name(&["abc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_given_is_told_apart() {
        let given = BootstrapParams {
            instance_id: "c1".into(),
            socket_dir: "/s".into(),
            ..Default::default()
        };
        assert_eq!(params(&given.encode_to_vec(), "c1").unwrap().socket_dir, "/s");
        let options = gantry_shim_api::messages::Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: vec![1, 2],
        };
        assert!(params(&options.encode_to_vec(), "c1").is_none());
        assert!(params(b"", "c1").is_none());
        assert_eq!(answer("unix:///x", 2), "unix:///x");
        assert_eq!(
            answer("unix:///x", 3),
            r#"{"version":3,"address":"unix:///x","protocol":"ttrpc"}"#
        );
    }
}
