//! gantry-supervisor: the supervisor as a process

fn main() {}
