//! Images.

mod history;
mod load;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod rm;

use gantry_opts::image;

use crate::args::image::Verb;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs a verb.
pub(crate) async fn dispatch(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Pull(args) => pull::run(context, args).await,
        Verb::History(args) => history::run(context, args).await,
        Verb::Load(args) => load::run(context, args).await,
        Verb::Tag(args) => {
            let wrong = |error: &dyn std::fmt::Display| {
                Failure::new(format!(
                    "Error parsing reference: {:?} is not a valid repository/tag: {error}",
                    args.target
                ))
            };
            let target = image::parse(&args.target).map_err(|error| wrong(&error))?;
            if target.by_digest {
                return Err(Failure::new("refusing to create a tag with a digest reference"));
            }
            let client = &context.client;
            Ok(client
                .image_tag(&args.source, &target.repository, &target.version)
                .await?)
        }
    }
}
