//! Verbs that are one request for each container.

use gantry_client::WaitCondition;

use crate::args::container::{Kill, Name, Names, Rename, Rm, Stop};
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome, for_each};

/// `kill`.
pub(crate) async fn kill(context: &Context, args: Kill) -> Outcome {
    for_each(&args.containers, async |name| {
        Ok(context.client.container_kill(name, &args.signal).await?)
    })
    .await
}

/// `stop`.
pub(crate) async fn stop(context: &Context, args: Stop) -> Outcome {
    for_each(&args.containers, async |name| {
        Ok(context
            .client
            .container_stop(name, &args.signal, args.timeout)
            .await?)
    })
    .await
}

/// `restart`.
pub(crate) async fn restart(context: &Context, args: Stop) -> Outcome {
    for_each(&args.containers, async |name| {
        Ok(context
            .client
            .container_restart(name, &args.signal, args.timeout)
            .await?)
    })
    .await
}

/// `pause`.
pub(crate) async fn pause(context: &Context, args: Names) -> Outcome {
    for_each(&args.containers, async |name| {
        Ok(context.client.container_pause(name).await?)
    })
    .await
}

/// `unpause`.
pub(crate) async fn unpause(context: &Context, args: Names) -> Outcome {
    for_each(&args.containers, async |name| {
        Ok(context.client.container_unpause(name).await?)
    })
    .await
}

/// `rm`.
pub(crate) async fn rm(context: &Context, args: Rm) -> Outcome {
    for_each(&args.containers, async |name| {
        let name = name.trim_matches('/');
        if name.is_empty() {
            return Err(Failure::new("Container name cannot be empty"));
        }
        match context
            .client
            .container_remove(name, args.volumes, args.link, args.force)
            .await
        {
            // Forced, what is gone already is as good as removed.
            Err(error) if args.force && error.is_not_found() => Err(Failure::new(error.to_string())),
            other => Ok(other?),
        }
    })
    .await
}

/// `rename`.
pub(crate) async fn rename(context: &Context, args: Rename) -> Outcome {
    let (old, new) = (args.container.trim(), args.new_name.trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    if let Err(error) = context.client.container_rename(old, new).await {
        console::error_line(&error.to_string());
        return Err(Failure::new(format!(
            "Error: failed to rename container named {old}"
        )));
    }
    Ok(())
}

/// `wait`.
pub(crate) async fn wait(context: &Context, args: Names) -> Outcome {
    let mut failed = false;
    for name in &args.containers {
        let exit = async {
            let waiting = context
                .client
                .container_wait(name, WaitCondition::NotRunning)
                .await?;
            waiting.finish().await
        };
        match exit.await {
            Ok(exit) => match exit.error.filter(|error| !error.message.is_empty()) {
                None => console::line(&exit.status_code.to_string()),
                Some(error) => {
                    failed = true;
                    console::error_line(&error.message);
                }
            },
            Err(error) => {
                failed = true;
                console::error_line(&error.to_string());
            }
        }
    }
    if failed { Err(Failure::code(1)) } else { Ok(()) }
}

/// `diff`.
pub(crate) async fn diff(context: &Context, args: Name) -> Outcome {
    for change in context
        .client
        .container_diff(&args.container)
        .await?
        .unwrap_or_default()
    {
        let kind = match change.kind {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        console::line(&format!("{kind} {}", change.path));
    }
    Ok(())
}
