//! `image prune`.

use gantry_opts::size;

use crate::args::image::Prune;
use crate::commands::{confirm, filters};
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;

/// Runs it.
pub(crate) async fn run(context: &Context, args: Prune) -> Outcome {
    if !args.force {
        confirm(if args.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        })?;
    }
    let mut wanted = filters(&args.filter);
    wanted.add("dangling", (!args.all).to_string());
    let report = context.client.image_prune(&wanted).await?;
    if !report.images_deleted.is_empty() {
        console::line("Deleted Images:");
        for part in &report.images_deleted {
            if part.untagged.is_empty() {
                console::line(&format!("deleted: {}", part.deleted));
            } else {
                console::line(&format!("untagged: {}", part.untagged));
            }
        }
        console::line("");
    }
    console::line(&format!(
        "Total reclaimed space: {}",
        size::human(report.space_reclaimed as f64)
    ));
    Ok(())
}
