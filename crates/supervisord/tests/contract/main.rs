//! The contract of the supervisor's traits as one suite, for everything that has them: the library itself, the library behind
//! gRPC in the same process, and a real containerd behind our client. What containerd does not pass is not demanded.

mod hosts;
mod stores;
mod tasks;
mod wire;

use gantry_supervisor_core::Supervisor;
use hosts::Host;

async fn all(host: &Host) {
    let supervisor: &dyn Supervisor = &*host.supervisor;
    assert!(!supervisor.version().await.unwrap().version.is_empty());
    if let Some(socket) = &host.socket {
        wire::all(host, socket).await;
    }
    stores::namespaces(supervisor).await;
    stores::content(supervisor).await;
    stores::images(supervisor).await;
    stores::containers(supervisor).await;
    stores::leases(supervisor).await;
    stores::snapshots(supervisor).await;
    for (at, runtime) in host.runtimes.iter().enumerate() {
        tasks::life(host, runtime, &format!("life{at}")).await;
        tasks::refusals(host, runtime, &format!("no{at}")).await;
        tasks::creation_that_fails(host, runtime, &format!("bad{at}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library() {
    all(&Host::library().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_behind_grpc() {
    let host = Host::grpc().await;
    all(&host).await;
    tasks::metrics_beside_a_shim_that_hangs(&host, &host.runtimes[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_containerd() {
    all(&Host::containerd().await).await;
}
