//! `ps`.

use gantry_api_types::container::Summary;
use gantry_client::ListOptions;
use gantry_opts::size;

use crate::args::container::Ps;
use crate::commands::container::ports;
use crate::commands::filters;
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;
use crate::format::list::{Kind, Row, render};
use crate::text::{ago, ellipsis, local_time, quote, short_id};

const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const WRONG: [&str; 2] = ["failed to parse template", "failed to execute template"];

/// Runs it.
pub(crate) async fn run(context: &Context, args: Ps) -> Outcome {
    let mut format = args.format.clone();
    if format.is_empty() && !args.quiet {
        format = context.config().ps_format;
    }
    let last = if args.latest { 1 } else { args.last };
    let options = ListOptions {
        all: args.all || last > 0,
        limit: Some(last),
        size: args.size || format.contains(".Size"),
        filters: filters(&args.filter),
    };
    let containers = context.client.container_list(&options).await?;
    console::text(&show(&containers, &args, &format)?);
    Ok(())
}

fn show(containers: &[Summary], args: &Ps, format: &str) -> Outcome<String> {
    if args.quiet && (format.is_empty() || format == "table") {
        let id = |c: &Summary| {
            if args.no_trunc {
                c.id.clone()
            } else {
                short_id(&c.id)
            }
        };
        return Ok(containers.iter().map(|c| id(c) + "\n").collect());
    }
    let mut table =
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}".to_owned();
    if args.size {
        table.push_str("\t{{.Size}}");
    }
    let rows: Vec<Row> = containers.iter().map(|c| row(c, args.no_trunc)).collect();
    let kind = Kind {
        table,
        headers: HEADERS,
        context: "ContainerContext",
        wrong: WRONG,
    };
    render(&kind, format, &rows)
}

fn row(container: &Summary, whole: bool) -> Row {
    let labels: Vec<String> = container.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let networks: Vec<&str> = container
        .network_settings
        .networks
        .keys()
        .map(String::as_str)
        .collect();
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| {
            let name = if mount.name.is_empty() {
                &mount.source
            } else {
                &mount.name
            };
            if whole { name.clone() } else { ellipsis(name, 15) }
        })
        .collect();
    let volumes = container
        .mounts
        .iter()
        .filter(|mount| mount.driver == "local")
        .count();
    let used = size::human_with_precision(container.size_rw as f64, 3);
    let shown_size = if container.size_root_fs > 0 {
        let all = size::human_with_precision(container.size_root_fs as f64, 3);
        format!("{used} (virtual {all})")
    } else {
        used
    };
    let command = if whole {
        container.command.clone()
    } else {
        ellipsis(&container.command, 20)
    };
    Row::default()
        .with(
            "ID",
            if whole {
                container.id.clone()
            } else {
                short_id(&container.id)
            },
        )
        .with("Names", names(&container.names, whole))
        .with("Image", image(container, whole))
        .with("Command", quote(&command))
        .with("CreatedAt", local_time(container.created))
        .with("RunningFor", ago(container.created))
        .with("Ports", ports::shown(&container.ports))
        .with("State", container.state.as_str())
        .with("Status", container.status.as_str())
        .with("Size", shown_size)
        .with("Labels", labels.join(","))
        .with("Mounts", mounts.join(","))
        .with("LocalVolumes", volumes.to_string())
        .with("Networks", networks.join(","))
        .without("Platform")
        .with_labels(&container.labels)
}

/// Without links, unless all is to be seen.
fn names(names: &[String], whole: bool) -> String {
    let bare = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
    let own: Vec<&str> = bare.filter(|name| whole || !name.contains('/')).collect();
    own.join(",")
}

fn image(container: &Summary, whole: bool) -> String {
    let image = container.image.as_str();
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return image.to_owned();
    }
    let short = short_id(&container.image_id);
    if !short.is_empty() && short == short_id(image) {
        return short;
    }
    // A digest is too long for a table.
    match image.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_docker() {
        let container = Summary {
            id: "0123456789abcdef".into(),
            names: vec!["/web".into(), "/other/db".into()],
            image: "busybox".into(),
            image_id: "sha256:aaaaaaaaaaaabbbb".into(),
            command: "sh -c 'while true; do sleep 1; done'".into(),
            status: "Up 2 minutes".into(),
            ..Summary::default()
        };
        let row = row(&container, false);
        let kind = Kind {
            table: String::new(),
            headers: HEADERS,
            context: "ContainerContext",
            wrong: WRONG,
        };
        let text = render(
            &kind,
            "{{.ID}}|{{.Image}}|{{.Command}}|{{.Status}}|{{.Names}}|{{.Ports}}",
            &[row],
        );
        assert_eq!(
            text.expect("text"),
            "0123456789ab|busybox|\"sh -c 'while true; …\"|Up 2 minutes|web|\n"
        );
        assert_eq!(names(&container.names, true), "web,other/db");
    }
}
