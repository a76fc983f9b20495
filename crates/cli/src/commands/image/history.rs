//! `history`.

use gantry_opts::size;

use crate::args::image::History;
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;
use crate::format::list::{Kind, Row, WRONG, render};
use crate::text::{ago, ellipsis, rfc3339, short_id};

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Runs it.
pub(crate) async fn run(context: &Context, args: History) -> Outcome {
    let steps = context.client.image_history(&args.image).await?;
    let human = args.human.unwrap_or(true);
    let id = |id: &str| {
        if args.no_trunc || !id.contains(':') {
            id.to_owned()
        } else {
            short_id(id)
        }
    };
    if args.quiet && args.format.is_empty() {
        for step in &steps {
            console::line(&id(&step.id));
        }
        return Ok(());
    }
    let rows: Vec<Row> = steps
        .iter()
        .map(|step| {
            let at = rfc3339(i128::from(step.created) * 1_000_000_000, false);
            let since = match step.created {
                ..=0 => "N/A".to_owned(),
                created => ago(created),
            };
            let by = step.created_by.replace('\t', " ");
            let shown = if human {
                size::human_with_precision(step.size as f64, 3)
            } else {
                step.size.to_string()
            };
            Row::default()
                .with("ID", id(&step.id))
                .with("CreatedSince", if human { since } else { at.clone() })
                .with("CreatedAt", at)
                .with("CreatedBy", if args.no_trunc { by } else { ellipsis(&by, 45) })
                .with("Size", shown)
                .with("Comment", step.comment.as_str())
        })
        .collect();
    let table = if human {
        "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    } else {
        "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    };
    let kind = Kind {
        table: table.to_owned(),
        headers: HEADERS,
        context: "historyContext",
        wrong: WRONG,
    };
    console::text(&render(&kind, &args.format, &rows)?);
    Ok(())
}
