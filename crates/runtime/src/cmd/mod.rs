//! The commands, each with its flags.

mod create;
mod exec;
mod features;
mod lifecycle;
mod show;
mod spec;
mod update;

use std::time::Instant;

use crate::args::{Args, Global, Show};

/// What a command returns: its exit code, or one sentence.
pub(crate) type Outcome = Result<u8, String>;

/// Commands and what they do.
const COMMANDS: &[(&str, &str)] = &[
    ("create", "create a container"),
    ("delete", "delete any resources held by the container"),
    ("exec", "execute new process inside the container"),
    ("features", "show the enabled features"),
    ("kill", "send a signal to the container's init process"),
    ("list", "list containers"),
    ("pause", "suspend all processes inside the container"),
    ("ps", "display the processes running inside a container"),
    ("resume", "resume all processes that have been paused"),
    ("run", "create and run a container"),
    ("spec", "create a new specification file"),
    ("start", "execute the user defined process in a created container"),
    ("state", "output the state of a container"),
    ("update", "update container resource constraints"),
];

/// Runs the command that the words name.
pub(crate) fn run(global: &Global, mut args: Args) -> Outcome {
    match global.show {
        Some(Show::Version) => {
            println!("gantry-runtime version {}", env!("CARGO_PKG_VERSION"));
            println!("spec: {}", gantry_runtime_core::SPEC_VERSION);
            return Ok(0);
        }
        Some(Show::Help) => return help(),
        None => {}
    }
    let Some(command) = args.word() else { return help() };
    let begun = Instant::now();
    // Environment and arguments of programs are nobody else's business.
    let shown = match command.as_str() {
        "exec" | "update" | "spec" => command.clone(),
        _ => format!("{command} {}", args.joined()),
    };
    let done = match command.as_str() {
        "create" => create::create(global, args),
        "run" => create::run(global, args),
        "start" => lifecycle::start(global, args),
        "kill" => lifecycle::kill(global, args),
        "delete" => lifecycle::delete(global, args),
        "pause" => lifecycle::pause(global, args),
        "resume" => lifecycle::resume(global, args),
        "exec" => exec::exec(global, args),
        "state" => show::state(global, args),
        "list" => show::list(global, args),
        "ps" => show::ps(global, args),
        "spec" => spec::spec(args),
        "features" => features::features(args),
        "update" => update::update(global, args),
        "help" | "h" => return help(),
        other => {
            return Err(format!(
                "No help topic for '{other}': gantry-runtime --help lists the commands"
            ));
        }
    };
    match &done {
        Err(error) => gantry_runtime_core::trace(&format!("{shown} failed: {error}"), begun.elapsed()),
        // It has told of its container itself.
        Ok(_) if command == "create" => {}
        Ok(_) => gantry_runtime_core::trace(shown.trim_end(), begun.elapsed()),
    }
    done
}

fn help() -> Outcome {
    println!("gantry-runtime - Open Container Initiative runtime\n");
    println!(
        "gantry-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND [flags] [ID]\n\nCOMMANDS:"
    );
    for (name, what) in COMMANDS {
        println!("   {name:<10} {what}");
    }
    println!("\nThe flags of each command are those of runc. --version shows the version.");
    Ok(0)
}

/// An error of the library as the sentence that callers read.
pub(crate) fn sentence(error: gantry_runtime_core::Error) -> String {
    error.chain()
}
