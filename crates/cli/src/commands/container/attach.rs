//! `attach`.

use gantry_client::{AttachOptions, WaitCondition};

use crate::args::container::Attach;
use crate::commands::container::run::exit_code;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::signals::{Caught, Sized, end_at_signal};
use crate::streams::{Conversation, Ended};
use crate::terminal::{self, Raw};

/// Runs it; the result is the exit code.
pub(crate) async fn run(context: &Context, args: Attach) -> Outcome<i32> {
    let client = &context.client;
    let container = client.container_inspect(&args.container).await?;
    let state = &container.state;
    if !state.running {
        return Err(Failure::new(
            "cannot attach to a stopped container, start it first",
        ));
    }
    if state.paused {
        return Err(Failure::new(
            "cannot attach to a paused container, unpause it first",
        ));
    }
    if state.restarting {
        return Err(Failure::new(
            "cannot attach to a restarting container, wait until it is running",
        ));
    }
    let config = &container.config;
    let stdin = !args.no_stdin && config.open_stdin;
    if stdin && config.tty && !terminal::is_input() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let keys = context.detach_keys(args.detach_keys.as_deref())?;
    let proxy = args.sig_proxy.unwrap_or(true) && !config.tty;
    let signals = proxy.then(Caught::new).transpose()?;
    let waiting = client
        .container_wait(&container.id, WaitCondition::NotRunning)
        .await?;
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
    let raw = if config.tty && stdin { Raw::enter()? } else { None };
    match signals {
        Some(signals) => signals.pass_on(client.clone(), container.id.clone()),
        None if raw.is_some() => end_at_signal()?,
        None => {}
    }
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
        Ended::Detached => Err(Failure::new("read escape sequence")),
        Ended::Output => Ok(exit_code(client, &container.id, waiting, false).await),
    }
}
