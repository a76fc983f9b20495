//! `container prune`.

use gantry_opts::size;

use crate::args::container::Prune;
use crate::commands::{confirm, filters};
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;

/// Runs it.
pub(crate) async fn run(context: &Context, args: Prune) -> Outcome {
    if !args.force {
        confirm("WARNING! This will remove all stopped containers.")?;
    }
    let report = context.client.container_prune(&filters(&args.filter)).await?;
    if !report.containers_deleted.is_empty() {
        console::line("Deleted Containers:");
        for id in &report.containers_deleted {
            console::line(id);
        }
        console::line("");
    }
    console::line(&format!(
        "Total reclaimed space: {}",
        size::human(report.space_reclaimed as f64)
    ));
    Ok(())
}
