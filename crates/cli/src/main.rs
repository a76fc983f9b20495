//! gantry: the command line

fn main() {}
