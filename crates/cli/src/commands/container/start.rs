//! `start`, with or without attaching.

use gantry_client::{AttachOptions, WaitCondition};

use crate::args::container::Start;
use crate::commands::container::run::exit_code;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::signals::{Caught, Sized};
use crate::streams::{Conversation, Ended};
use crate::terminal::{self, Raw};

/// Runs it; the result is the exit code.
pub(crate) async fn run(context: &Context, args: Start) -> Outcome<i32> {
    if !args.attach && !args.interactive {
        return each(context, &args.containers).await;
    }
    let [name] = args.containers.as_slice() else {
        return Err(Failure::new(
            "you cannot start and attach multiple containers at once",
        ));
    };
    let client = &context.client;
    let container = client.container_inspect(name).await?;
    let config = &container.config;
    let stdin = args.interactive && config.open_stdin;
    if stdin && config.tty && !terminal::is_input() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let keys = context.detach_keys(args.detach_keys.as_deref())?;
    let signals = if config.tty { None } else { Some(Caught::new()?) };
    let connection = client
        .container_attach(
            &container.id,
            &AttachOptions {
                stdin,
                stdout: true,
                stderr: true,
                detach_keys: args.detach_keys.clone().unwrap_or_default(),
                logs: false,
            },
        )
        .await?;
    let auto_remove = container.host_config.auto_remove;
    let condition = if auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let waiting = client.container_wait(&container.id, condition).await?;
    client.container_start(&container.id).await?;
    if let Some(signals) = signals {
        signals.pass_on(client.clone(), container.id.clone());
    }
    let raw = if config.tty && stdin { Raw::enter()? } else { None };
    if config.tty && terminal::is_output() {
        Sized::Container(container.id.clone()).follow(client.clone())?;
    }
    let conversation = Conversation {
        tty: config.tty,
        stdin,
        detach_keys: keys,
    };
    let ended = conversation.run(connection).await;
    drop(raw);
    match ended? {
        Ended::Detached => Ok(0),
        Ended::Output => Ok(exit_code(client, &container.id, waiting, auto_remove).await),
    }
}

async fn each(context: &Context, names: &[String]) -> Outcome<i32> {
    let mut failed = Vec::new();
    for name in names {
        match context.client.container_start(name).await {
            Ok(()) => console::line(name),
            Err(error) => {
                console::error_line(&error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(Failure::new(format!(
        "Error: failed to start containers: {}",
        failed.join(", ")
    )))
}
