//! `top`.

use crate::args::container::Top;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Top) -> Outcome {
    let Some((container, options)) = args.container_and_options.split_first() else {
        return Err(Failure::new("no container"));
    };
    let top = context
        .client
        .container_top(container, &options.join(" "))
        .await?;
    let rows = std::iter::once(&top.titles).chain(&top.processes);
    // Docker's columns are twenty wide here.
    let rows: Vec<&Vec<String>> = rows.collect();
    let columns = top.titles.len();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells
            .map(|cell| cell.chars().count() + 3)
            .max()
            .unwrap_or(0)
            .max(20)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if at + 1 < row.len() {
                out.push_str(&format!(
                    "{cell:width$}",
                    width = widths.get(at).copied().unwrap_or(0)
                ));
            } else {
                out.push_str(cell);
            }
        }
        out.push('\n');
    }
    console::text(&out);
    Ok(())
}
