//! gantry-shim: one per container

fn main() {}
