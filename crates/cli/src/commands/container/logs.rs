//! `logs`.

use gantry_client::LogsOptions;

use crate::args::container::Logs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::streams;
use crate::text::point_in_time;

/// Runs it.
pub(crate) async fn run(context: &Context, args: Logs) -> Outcome {
    let container = context.client.container_inspect(&args.container).await?;
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        since: point_in_time(&args.since),
        until: point_in_time(&args.until),
        timestamps: args.timestamps,
        details: args.details,
        follow: args.follow,
        tail: args.tail,
    };
    let body = context.client.container_logs(&container.id, &options).await?;
    streams::print_body(body, !container.config.tty).await
}
