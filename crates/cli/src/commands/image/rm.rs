//! `rmi`.

use crate::args::image::Rm;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Rm) -> Outcome {
    let (mut failed, mut fatal) = (false, false);
    for name in &args.images {
        match context.client.image_remove(name, args.force, args.no_prune).await {
            Ok(removed) => {
                for part in removed {
                    if part.deleted.is_empty() {
                        console::line(&format!("Untagged: {}", part.untagged));
                    } else {
                        console::line(&format!("Deleted: {}", part.deleted));
                    }
                }
            }
            Err(error) => {
                failed = true;
                // Forced, what is gone already is as good as removed; it is still said.
                fatal |= !(args.force && error.is_not_found());
                console::error_line(&error.to_string());
            }
        }
    }
    if failed && fatal {
        Err(Failure::code(1))
    } else {
        Ok(())
    }
}
