//! The commands, each with its flags.

mod checkpoint;
mod create;
mod events;
mod exec;
mod features;
mod lifecycle;
mod show;
mod spec;
mod update;

use std::time::Instant;

use crate::args::{Args, Global, Show};
use crate::help;

/// What a command returns: its exit code, or one sentence.
pub(crate) type Outcome = Result<u8, String>;

/// Runs the command that the words name.
pub(crate) fn run(global: &Global, mut args: Args) -> Outcome {
    match global.show {
        Some(Show::Version) => {
            println!("{} version {}", help::called(), env!("CARGO_PKG_VERSION"));
            println!("commit: {}", option_env!("GANTRY_COMMIT").unwrap_or("unknown"));
            println!("spec: {}", gantry_runtime_core::SPEC_VERSION);
            return Ok(0);
        }
        Some(Show::Help) if args.is_empty() => return overview(),
        Some(Show::Help) | None => {}
    }
    let Some(command) = args.word() else {
        return overview();
    };
    if (global.show.is_some() || args.wants_help()) && help::of(&command) {
        return Ok(0);
    }
    if !matches!(command.as_str(), "help" | "h") && !help::COMMANDS.iter().any(|(name, ..)| *name == command)
    {
        return Err(format!("No help topic for '{command}'"));
    }
    if !matches!(command.as_str(), "exec" | "ps") {
        args.anywhere();
    }
    // Named and not to be had, it is no place for what callers want to read.
    drop(global.open_log()?);
    let begun = Instant::now();
    // Environment and arguments of programs are nobody else's business.
    let shown = match command.as_str() {
        "exec" | "update" | "spec" => command.clone(),
        _ => format!("{command} {}", args.joined()),
    };
    let done = match command.as_str() {
        "checkpoint" => checkpoint::checkpoint(global, args),
        "restore" => checkpoint::restore(global, args),
        "create" => create::create(global, args),
        "run" => create::run(global, args),
        "start" => lifecycle::start(global, args),
        "kill" => lifecycle::kill(global, args),
        "delete" => lifecycle::delete(global, args),
        "pause" => lifecycle::pause(global, args),
        "resume" => lifecycle::resume(global, args),
        "events" => events::events(global, args),
        "exec" => exec::exec(global, args),
        "state" => show::state(global, args),
        "list" => show::list(global, args),
        "ps" => show::ps(global, args),
        "spec" => spec::spec(args),
        "features" => features::features(args),
        "update" => update::update(global, args),
        _ => match args.word() {
            Some(topic) if help::of(&topic) => return Ok(0),
            Some(topic) => return Err(format!("No help topic for '{topic}'")),
            None => return overview(),
        },
    };
    match &done {
        Err(error) => gantry_runtime_core::host::trace(&format!("{shown} failed: {error}"), begun.elapsed()),
        // It has told of its container itself.
        Ok(_) if command == "create" => {}
        Ok(_) => gantry_runtime_core::host::trace(shown.trim_end(), begun.elapsed()),
    }
    done
}

fn overview() -> Outcome {
    help::overview();
    Ok(0)
}

/// An error of the library as the sentence that callers read.
pub(crate) fn sentence(error: gantry_runtime_core::Error) -> String {
    error.chain()
}
