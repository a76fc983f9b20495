//! Each seam with the field's own piece on one side: a real containerd or our supervisor, our shim or containerd's below it, our
//! runtime or runc or crun below that; Debian's dockerd and podman on our runtime, dockerd on our supervisor, and our daemon
//! on a real containerd. The same script is run on every pairing, also on the one that has nothing of ours, so that it demands
//! nothing that the field does not do.

mod ctr;
mod daemon;
mod docker;
mod images;
mod podman;
mod running;

use std::path::PathBuf;

use gantry_testkit::cmd::binaries;
use gantry_tests::containerd::Containerd;
use gantry_tests::podman::Podman;

fn ours(name: &str) -> PathBuf {
    binaries().join(name)
}

fn peer(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

fn crun() -> PathBuf {
    peer("crun");
    gantry_testkit::cmd::crun()
}

fn supervisor(shim: PathBuf, runtime: PathBuf) -> Containerd {
    Containerd::ours(&shim, &runtime)
}

/// A module with a script for one pairing: what it runs on, and the names of its parts.
macro_rules! pairing {
    ($module:ident: $script:ident on $peer:ty = $start:expr; $($part:ident)*; $($owning:ident)*) => {
        mod $module {
            use super::*;

            fn peer_with_it() -> $peer {
                $start
            }

            $(
                #[test]
                fn $part() {
                    $script::$part(&peer_with_it());
                }
            )*

            $(
                #[test]
                fn $owning() {
                    $script::$owning(peer_with_it());
                }
            )*
        }
    };
}

macro_rules! containerd {
    ($module:ident: $shim:expr, $runtime:expr) => {
        containerd!($module = Containerd::start(&$shim, &$runtime));
    };
    ($module:ident = $start:expr) => {
        pairing! {
            $module: ctr on Containerd = $start;
            streams_and_codes a_terminal a_life what_cannot_be_run events_in_order memory_runs_out;
            the_daemon_dies
        }
    };
}

/// What keeps images, blobs and snapshots, and how running containers are spoken to.
macro_rules! stores {
    ($keeping:ident, $running:ident = $start:expr) => {
        pairing! {
            $keeping: images on Containerd = $start;
            import_tag_export_remove pull_and_push blobs snapshots leases_and_namespaces containers_without_a_task what_it_is;
        }
        pairing! {
            $running: running on Containerd = $start;
            attach attach_to_a_terminal the_list_of_processes_names_execs;
        }
    };
}

macro_rules! docker {
    ($module:ident: $shim:expr, $runtime:expr) => {
        pairing! {
            $module: docker on docker::Docker = docker::Docker::start(&$shim, &$runtime);
            commands a_life settings refusals many_at_once;
            the_daemon_dies
        }
    };
}

macro_rules! docker_on_supervisor {
    ($module:ident: $shim:expr, $runtime:expr) => {
        pairing! {
            $module: docker on docker::Docker = docker::Docker::on_supervisor(&$shim, &$runtime);
            commands a_life settings refusals many_at_once;
            the_daemon_dies the_supervisor_dies
        }
    };
}

macro_rules! podman {
    ($module:ident: $runtime:expr) => {
        pairing! {
            $module: podman on Podman = Podman::start(&$runtime);
            commands a_life settings pods refusals;
        }
    };
}

containerd!(shim_on_runc: ours("gantry-shim"), peer("runc"));
containerd!(shim_on_crun: ours("gantry-shim"), crun());
containerd!(runtime_under_containerds_shim: peer("containerd-shim-runc-v2"), ours("gantry-runtime"));
containerd!(shim_and_runtime_under_containerd: ours("gantry-shim"), ours("gantry-runtime"));
containerd!(nothing_of_ours: peer("containerd-shim-runc-v2"), peer("runc"));

containerd!(ctr_on_supervisor = supervisor(ours("gantry-shim"), ours("gantry-runtime")));
containerd!(ctr_on_supervisor_and_runc = supervisor(ours("gantry-shim"), peer("runc")));
containerd!(
    ctr_on_supervisor_and_containerds_shim =
        supervisor(peer("containerd-shim-runc-v2"), ours("gantry-runtime"))
);
containerd!(ctr_on_supervisor_above_runc = supervisor(peer("containerd-shim-runc-v2"), peer("runc")));

stores!(
    stores_of_supervisor,
    running_on_supervisor = supervisor(ours("gantry-shim"), ours("gantry-runtime"))
);
stores!(
    stores_of_containerd,
    running_on_containerd = Containerd::start(&peer("containerd-shim-runc-v2"), &peer("runc"))
);

docker_on_supervisor!(docker_on_supervisor: ours("gantry-shim"), ours("gantry-runtime"));
docker_on_supervisor!(docker_on_supervisor_above_runc: peer("containerd-shim-runc-v2"), peer("runc"));

pairing! {
    gantryd_on_containerd: daemon on daemon::Gantryd =
        daemon::Gantryd::on(Containerd::start(&peer("containerd-shim-runc-v2"), &peer("runc")));
    streams a_life nothing_is_collected;
    each_of_both_dies
}
pairing! {
    gantryd_on_a_supervisor_it_did_not_start: daemon on daemon::Gantryd =
        daemon::Gantryd::on(supervisor(ours("gantry-shim"), ours("gantry-runtime")));
    streams a_life;
    each_of_both_dies
}

docker!(docker_on_runtime: peer("containerd-shim-runc-v2"), ours("gantry-runtime"));
docker!(docker_on_shim_and_runtime: ours("gantry-shim"), ours("gantry-runtime"));
docker!(docker_on_nothing_of_ours: peer("containerd-shim-runc-v2"), peer("runc"));

podman!(podman_on_runtime: ours("gantry-runtime"));
podman!(podman_on_runc: peer("runc"));
podman!(podman_on_crun: crun());
pairing! {
    podman_on_runtime_for_runc: podman on Podman = Podman::with_runc_replaced(&ours("gantry-runtime"));
    refusals;
}

#[test]
fn a_supervisor_is_roots_alone_under_a_umask_of_0() {
    running::it_is_roots_alone_under_a_umask_of_0(|| supervisor(ours("gantry-shim"), ours("gantry-runtime")));
}
