//! Generates the messages, servers and clients of `proto/` into `OUT_DIR`.

use std::path::PathBuf;

const FILES: &[&str] = &[
    "containerd/services/containers/v1/containers.proto",
    "containerd/services/content/v1/content.proto",
    "containerd/services/diff/v1/diff.proto",
    "containerd/services/events/v1/events.proto",
    "containerd/services/images/v1/images.proto",
    "containerd/services/introspection/v1/introspection.proto",
    "containerd/services/leases/v1/leases.proto",
    "containerd/services/namespaces/v1/namespaces.proto",
    "containerd/services/snapshots/v1/snapshots.proto",
    "containerd/services/tasks/v1/tasks.proto",
    "containerd/types/introspection.proto",
    "containerd/services/version/v1/version.proto",
    "gantry/services/attach/v1/attach.proto",
    "grpc/health/v1/health.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for folder in ["containerd", "gantry", "google", "grpc"] {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
    }
    let descriptors = protox::compile(FILES, [&root])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".containerd.services.content.v1.ReadContentResponse.data")
        .bytes(".containerd.services.content.v1.WriteContentRequest.data")
        .include_file("proto.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
