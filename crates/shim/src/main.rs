//! `gantry-shim`: one per container. Holds its stdio, reaps its processes, writes its log, records and tells of its exit.

mod args;
mod attach;
mod bundle;
mod delete;
mod events;
mod info;
mod log;
mod metrics;
mod mounts;
mod process;
mod runtime;
mod server;
mod start;
mod stdio;
mod task;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing that whoever started us forgot to close is held open for as long as a container lives.
    gantry_sys::process::close_from(3);
    let done = args::parse(std::env::args().skip(1)).and_then(|args| match args.action {
        args::Action::Start => start::run(&args),
        args::Action::Delete => delete::run(&args),
        args::Action::Info => info::run(),
        args::Action::Version => {
            println!("gantry-shim {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "gantry-shim: {message}");
            ExitCode::FAILURE
        }
    }
}
