//! `gantry-runtime`: runc's command line on `gantry-runtime-core`. One command a process, one thread.

mod args;
mod cmd;
mod help;
mod log;

use std::process::ExitCode;

use args::{Args, Global};

fn main() -> ExitCode {
    let mut args = Args::new(std::env::args().skip(1));
    let global = match Global::take(&mut args) {
        Ok(global) => global,
        Err(error) => return log::fail(&Global::default(), &error, 1),
    };
    // Of `exec` every other code is that of the program.
    let code = if args.next_is("exec") { 255 } else { 1 };
    match cmd::run(&global, args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => log::fail(&global, &error, code),
    }
}
