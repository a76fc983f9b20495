//! `inspect`: objects as the engine wrote them, or by a template.

use serde_json::Value;

use crate::args::container::Inspect as ContainerArgs;
use crate::args::image::Inspect as ImageArgs;
use crate::args::system::Inspect;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::format::json;
use crate::format::template::{self, Missing};

/// `container inspect`.
pub(crate) async fn containers(context: &Context, args: ContainerArgs) -> Outcome {
    run(&args.containers, &args.format, async |name| {
        Ok(text(
            &context.client.container_inspect_raw(name, args.size).await?,
        ))
    })
    .await
}

/// `image inspect`.
pub(crate) async fn images(context: &Context, args: ImageArgs) -> Outcome {
    run(&args.images, &args.format, async |name| {
        Ok(text(&context.client.image_inspect_raw(name).await?))
    })
    .await
}

/// `inspect`: whatever has the name, containers first.
pub(crate) async fn any(context: &Context, args: Inspect) -> Outcome {
    let only = args.r#type.as_str();
    let wanted = |kind: &str| only.is_empty() || only == kind;
    if !["container", "image", "network", "volume"]
        .iter()
        .any(|kind| wanted(kind))
    {
        return Err(Failure::new(format!(
            "unknown type: {only:?}: must be one of \"container\", \"image\", \"network\", \"volume\""
        )));
    }
    let client = &context.client;
    run(&args.names, &args.format, async |name| {
        if wanted("container") {
            match client.container_inspect_raw(name, args.size).await {
                Err(error) if error.is_not_found() && only.is_empty() => {}
                other => return Ok(text(&other?)),
            }
        }
        if wanted("image") {
            match client.image_inspect_raw(name).await {
                Err(error) if error.is_not_found() && only.is_empty() => {}
                other => return Ok(text(&other?)),
            }
        }
        for kind in ["network", "volume"] {
            if wanted(kind) {
                match client.object_inspect_raw(kind, name).await {
                    // An engine may have none of this kind at all.
                    Err(_) if only.is_empty() => {}
                    other => return Ok(text(&other?)),
                }
            }
        }
        Err(Failure::new(format!("Error: No such object: {name}")))
    })
    .await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Shows what is found, then says what is not.
async fn run<F>(names: &[String], format: &str, mut find: F) -> Outcome
where
    F: AsyncFnMut(&str) -> Outcome<String>,
{
    let compiled = match format {
        "" | "json" => None,
        text => {
            let text = text.replace("\\t", "\t").replace("\\n", "\n");
            let compiled = template::compile(&text, Missing::Error);
            Some(compiled.map_err(|error| Failure {
                message: format!("template parsing error: {error}"),
                code: 64,
            })?)
        }
    };
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match find(name).await {
            Ok(object) => found.push(object),
            Err(failure) => failures.push(failure.message),
        }
    }
    match &compiled {
        Some(compiled) => {
            for object in &found {
                let object: Value = serde_json::from_str(object)
                    .map_err(|error| Failure::new(format!("unable to read inspect data: {error}")))?;
                let line = compiled
                    .render(&template::from_json(&object))
                    .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
                console::line(&line);
            }
        }
        None => {
            let all = format!("[{}]", found.join(","));
            console::line(&if format == "json" {
                json::compact(&all)
            } else {
                json::indent(&all)
            });
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(failures.join("\n")))
}
