//! What each command does, given its flags and an engine: one room for each noun, one file for each
//! verb that has more to it than one request.

mod completion;
pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod system;

use std::io::Write;

use gantry_api_types::filters::Filters;

use crate::args::{Cli, Command, container::GroupVerb as ContainerGroup, image::GroupVerb as ImageGroup};
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs a command; the result is the exit code.
pub(crate) async fn dispatch(cli: Cli) -> Outcome<i32> {
    if let Command::Completion(args) = &cli.command {
        completion::run(args);
        return Ok(0);
    }
    let context = Context::new(&cli.global)?;
    let context = &context;
    let done = match cli.command {
        Command::Container(verb) => return container::dispatch(context, verb).await,
        Command::ContainerGroup { verb } => match verb {
            ContainerGroup::Verb(verb) => return container::dispatch(context, verb).await,
            ContainerGroup::Ls(args) => container::ps::run(context, args).await,
            ContainerGroup::Inspect(args) => system::inspect::containers(context, args).await,
            ContainerGroup::Prune(args) => container::prune::run(context, args).await,
        },
        Command::Image(verb) => image::dispatch(context, verb).await,
        Command::ImageGroup { verb } => match verb {
            ImageGroup::Verb(verb) => image::dispatch(context, verb).await,
            ImageGroup::Ls(args) => image::ls::run(context, args).await,
            ImageGroup::Rm(args) => image::rm::run(context, args).await,
            ImageGroup::Inspect(args) => system::inspect::images(context, args).await,
            ImageGroup::Prune(args) => image::prune::run(context, args).await,
        },
        Command::System(verb) | Command::SystemGroup { verb } => system::dispatch(context, verb).await,
        Command::Ps(args) => container::ps::run(context, args).await,
        Command::Images(args) => image::ls::run(context, args).await,
        Command::Rmi(args) => image::rm::run(context, args).await,
        Command::Inspect(args) => system::inspect::any(context, args).await,
        Command::Version(args) => system::version::run(context, args).await,
        Command::Completion(_) => Ok(()),
    };
    done.map(|()| 0)
}

/// Filters of flags.
pub(crate) fn filters(list: &[(String, String)]) -> Filters {
    let mut filters = Filters::default();
    for (name, value) in list.iter().filter(|(name, _)| !name.is_empty()) {
        filters.add(name.as_str(), value.as_str());
    }
    filters
}

/// Asks before something is removed.
pub(crate) fn confirm(warning: &str) -> Outcome {
    console::text(&format!("{warning}\nAre you sure you want to continue? [y/N] "));
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::code(0)),
    }
}
