//! `cargo xtask`: the one entrance to building, testing and measuring Gantry.

fn main() {}
