//! Containers.

mod attach;
mod create;
mod exec;
mod lifecycle;
mod logs;
mod ports;
pub(crate) mod prune;
pub(crate) mod ps;
mod run;
mod start;
mod stats;
mod top;
mod update;

use crate::args::container::Verb;
use crate::context::Context;
use crate::failure::Outcome;

/// Runs a verb; the result is the exit code.
pub(crate) async fn dispatch(context: &Context, verb: Verb) -> Outcome<i32> {
    let done = match verb {
        Verb::Run(args) => return run::run(context, *args).await,
        Verb::Exec(args) => return exec::run(context, args).await,
        Verb::Attach(args) => return attach::run(context, args).await,
        Verb::Start(args) => return start::run(context, args).await,
        Verb::Create(args) => create::run(context, *args).await,
        Verb::Kill(args) => lifecycle::kill(context, args).await,
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Pause(args) => lifecycle::pause(context, args).await,
        Verb::Unpause(args) => lifecycle::unpause(context, args).await,
        Verb::Rename(args) => lifecycle::rename(context, args).await,
        Verb::Restart(args) => lifecycle::restart(context, args).await,
        Verb::Rm(args) => lifecycle::rm(context, args).await,
        Verb::Stats(args) => stats::run(context, args).await,
        Verb::Stop(args) => lifecycle::stop(context, args).await,
        Verb::Top(args) => top::run(context, args).await,
        Verb::Update(args) => update::run(context, args).await,
        Verb::Wait(args) => lifecycle::wait(context, args).await,
        Verb::Diff(args) => lifecycle::diff(context, args).await,
        Verb::Port(args) => ports::run(context, args).await,
    };
    done.map(|()| 0)
}
