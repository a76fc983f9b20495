//! The engine itself.

mod events;
mod info;
pub(crate) mod inspect;
pub(crate) mod version;

use crate::args::system::Verb;
use crate::context::Context;
use crate::failure::Outcome;

/// Runs a verb.
pub(crate) async fn dispatch(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Events(args) => events::run(context, args).await,
        Verb::Info(args) => info::run(context, args).await,
    }
}
