//! `images`.

use gantry_api_types::image::Summary;
use gantry_opts::size;

use crate::args::image::Ls;
use crate::commands::filters;
use crate::console;
use crate::context::Context;
use crate::failure::Outcome;
use crate::format::list::{Kind, Row, WRONG, render};
use crate::text::{ago, local_time, short_id};

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const NONE: &str = "<none>";

/// Runs it.
pub(crate) async fn run(context: &Context, args: Ls) -> Outcome {
    let mut wanted = filters(&args.filter);
    if let Some(repository) = &args.repository {
        wanted.add("reference", repository.as_str());
    }
    let mut format = args.format.clone();
    if format.is_empty() && !args.quiet {
        format = context.config().images_format;
    }
    let images = context.client.image_list(args.all, &wanted).await?;
    console::text(&show(&images, &args, &format)?);
    Ok(())
}

fn show(images: &[Summary], args: &Ls, format: &str) -> Outcome<String> {
    let id = |image: &Summary| {
        if args.no_trunc {
            image.id.clone()
        } else {
            short_id(&image.id)
        }
    };
    if args.quiet && (format.is_empty() || format == "table") {
        let lines = images
            .iter()
            .flat_map(|image| std::iter::repeat_n(id(image) + "\n", names(image, args.digests).len()));
        return Ok(lines.collect());
    }
    let table = if args.digests {
        "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    } else {
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    };
    let with_digests = args.digests || format.contains(".Digest");
    let mut rows = Vec::new();
    for image in images {
        for (repository, tag, digest) in names(image, with_digests) {
            let shown = size::human_with_precision(image.size as f64, 3);
            rows.push(
                Row::default()
                    .with("ID", id(image))
                    .with("Repository", repository)
                    .with("Tag", tag)
                    .with("Digest", digest)
                    .with("CreatedSince", since(image.created))
                    .with("CreatedAt", local_time(image.created))
                    .with("Size", shown)
                    .with("VirtualSize", size::human(image.size as f64))
                    .with("Containers", known(image.containers, i64::to_string))
                    .with(
                        "SharedSize",
                        known(image.shared_size, |n| size::human_with_precision(*n as f64, 3)),
                    )
                    .with(
                        "UniqueSize",
                        known(image.shared_size, |n| {
                            size::human_with_precision((image.size - n) as f64, 3)
                        }),
                    ),
            );
        }
    }
    let kind = Kind {
        table: table.to_owned(),
        headers: HEADERS,
        context: "imageContext",
        wrong: WRONG,
    };
    render(&kind, format, &rows)
}

fn since(created: i64) -> String {
    if created <= 0 {
        "N/A".to_owned()
    } else {
        ago(created)
    }
}

fn known(value: i64, shown: impl Fn(&i64) -> String) -> String {
    if value == -1 {
        "N/A".to_owned()
    } else {
        shown(&value)
    }
}

/// Repository, tag and digest of each line that an image has in the list.
fn names(image: &Summary, with_digests: bool) -> Vec<(String, String, String)> {
    let none = || NONE.to_owned();
    let tags: Vec<(&str, &str)> = image
        .repo_tags
        .iter()
        .filter(|tag| *tag != "<none>:<none>")
        .filter_map(|tag| tag.rsplit_once(':'))
        .collect();
    let digests: Vec<(&str, &str)> = image
        .repo_digests
        .iter()
        .filter(|digest| *digest != "<none>@<none>")
        .filter_map(|digest| digest.split_once('@'))
        .collect();
    let mut out = Vec::new();
    for (repository, tag) in &tags {
        let own: Vec<&str> = digests
            .iter()
            .filter(|(r, _)| r == repository)
            .map(|(_, d)| *d)
            .collect();
        if !with_digests || own.is_empty() {
            out.push(((*repository).to_owned(), (*tag).to_owned(), none()));
            continue;
        }
        for digest in own {
            out.push(((*repository).to_owned(), (*tag).to_owned(), digest.to_owned()));
        }
    }
    for (repository, digest) in &digests {
        if !tags.iter().any(|(r, _)| r == repository) {
            let digest = if with_digests {
                (*digest).to_owned()
            } else {
                none()
            };
            out.push(((*repository).to_owned(), none(), digest));
        }
    }
    if out.is_empty() {
        out.push((none(), none(), none()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_name() {
        let mut image = Summary {
            id: "sha256:0123456789abcdef".into(),
            repo_tags: vec!["busybox:latest".into(), "localhost:5000/b:1".into()],
            repo_digests: vec!["busybox@sha256:aa".into()],
            ..Summary::default()
        };
        let line = |r: &str, t: &str, d: &str| (r.to_owned(), t.to_owned(), d.to_owned());
        assert_eq!(
            names(&image, false),
            [
                line("busybox", "latest", NONE),
                line("localhost:5000/b", "1", NONE)
            ]
        );
        assert_eq!(names(&image, true)[0], line("busybox", "latest", "sha256:aa"));
        image.repo_tags.clear();
        assert_eq!(names(&image, false), [line("busybox", NONE, NONE)]);
        image.repo_digests.clear();
        assert_eq!(names(&image, false), [line(NONE, NONE, NONE)]);
    }
}
