//! gantry-runtime: runc's command line

fn main() {}
