//! Each seam with the field's own piece on one side: a real containerd, our shim or containerd's below it, our runtime or
//! runc or crun below that. The same script is run on every pairing, also on the one that has nothing of ours, so that it
//! demands nothing that the field does not do.

mod script;

use std::path::PathBuf;

use gantry_testkit::cmd::binaries;
use gantry_tests::containerd::Containerd;

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

/// A module with the whole script for one pairing.
macro_rules! pairing {
    ($module:ident: $shim:expr, $runtime:expr) => {
        mod $module {
            use super::*;

            fn containerd() -> Containerd {
                Containerd::start(&$shim, &$runtime)
            }

            #[test]
            fn streams_and_codes() {
                script::streams_and_codes(&containerd());
            }

            #[test]
            fn a_terminal() {
                script::a_terminal(&containerd());
            }

            #[test]
            fn a_life() {
                script::a_life(&containerd());
            }

            #[test]
            fn what_cannot_be_run() {
                script::what_cannot_be_run(&containerd());
            }

            #[test]
            fn events_in_order() {
                script::events_in_order(&containerd());
            }

            #[test]
            fn the_daemon_dies() {
                script::the_daemon_dies(containerd());
            }

            #[test]
            fn memory_runs_out() {
                script::memory_runs_out(&containerd());
            }
        }
    };
}

pairing!(shim_on_runc: ours("gantry-shim"), peer("runc"));
pairing!(shim_on_crun: ours("gantry-shim"), crun());
pairing!(runtime_under_containerds_shim: peer("containerd-shim-runc-v2"), ours("gantry-runtime"));
pairing!(shim_and_runtime_under_containerd: ours("gantry-shim"), ours("gantry-runtime"));
pairing!(nothing_of_ours: peer("containerd-shim-runc-v2"), peer("runc"));
