//! Generates the messages of `proto/` into `OUT_DIR`.

use std::path::PathBuf;

const FILES: &[&str] = &[
    "containerd/cgroups/v1/metrics.proto",
    "containerd/cgroups/v2/metrics.proto",
    "containerd/events/task.proto",
    "containerd/runc/v1/options.proto",
    "containerd/runtime/bootstrap/v1/bootstrap.proto",
    "containerd/services/events/ttrpc/v1/events.proto",
    "containerd/task/v3/shim.proto",
    "containerd/types/introspection.proto",
    "ttrpc/ttrpc.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for file in FILES {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    println!(
        "cargo:rerun-if-changed={}",
        root.join("containerd/types").display()
    );
    let descriptors = protox::compile(FILES, [&root])?;
    prost_build::Config::new()
        .btree_map(["."])
        .include_file("proto.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
