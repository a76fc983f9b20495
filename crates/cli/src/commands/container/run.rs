//! `run`: create, attach, start, pass everything on, and exit as the container does.

use gantry_client::{AttachOptions, Client, WaitCondition, Waiting};

use crate::args::create::Run;
use crate::commands::container::create;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::signals::{Caught, Sized, end_at_signal};
use crate::streams::{Conversation, Ended};
use crate::terminal::{self, Raw};

/// Runs it; the result is the exit code.
pub(crate) async fn run(context: &Context, args: Run) -> Outcome<i32> {
    let mut resolved = create::resolved(&args.create, "run")?;
    let config = &mut resolved.request.config;
    if args.detach {
        if !args.create.container.attach.is_empty() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else if config.attach_stdin && config.tty && !terminal::is_input() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let keys = context.detach_keys(args.detach_keys.as_deref())?;
    if let Some((rows, columns)) = terminal::size() {
        resolved.request.host_config.console_size = [rows.into(), columns.into()];
    }
    let client = &context.client;
    let id = create::create(client, &args.create, &resolved, "run").await?;

    let config = &resolved.request.config;
    let auto_remove = resolved.request.host_config.auto_remove;
    let attached = config.attach_stdin || config.attach_stdout || config.attach_stderr;
    if !attached {
        client
            .container_start(&id)
            .await
            .map_err(|error| start_failure(&error.to_string()))?;
        console::line(&id);
        return Ok(0);
    }

    // Caught before the start, so that none is lost between the start and the first of them.
    let signals = args.sig_proxy.unwrap_or(true).then(Caught::new).transpose()?;
    let connection = client
        .container_attach(
            &id,
            &AttachOptions {
                stdin: config.attach_stdin,
                stdout: config.attach_stdout,
                stderr: config.attach_stderr,
                detach_keys: args.detach_keys.clone().unwrap_or_default(),
                logs: false,
            },
        )
        .await
        .map_err(|error| Failure::of_run(error, "run", 125))?;
    let condition = if auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let waiting = client
        .container_wait(&id, condition)
        .await
        .map_err(|error| Failure::of_run(error, "run", 125))?;
    if let Err(error) = client.container_start(&id).await {
        if auto_remove {
            // The engine removes what did not start; the next command must not find it half gone.
            let _ = waiting.finish().await;
        }
        return Err(start_failure(&error.to_string()));
    }
    let raw = if config.tty && config.attach_stdin {
        Raw::enter()?
    } else {
        None
    };
    match signals {
        Some(signals) => signals.pass_on(client.clone(), id.clone()),
        None if raw.is_some() => end_at_signal()?,
        None => {}
    }
    if config.tty && terminal::is_output() {
        Sized::Container(id.clone()).follow(client.clone())?;
    }
    let conversation = Conversation {
        tty: config.tty,
        stdin: config.attach_stdin,
        detach_keys: keys,
    };
    let ended = conversation.run(connection).await;
    drop(raw);
    match ended? {
        Ended::Detached => Ok(0),
        Ended::Output => Ok(exit_code(client, &id, waiting, auto_remove).await),
    }
}

/// The exit code of a container whose output has ended.
pub(super) async fn exit_code(client: &Client, id: &str, waiting: Waiting, auto_remove: bool) -> i32 {
    match waiting.finish().await {
        Ok(exit) => match exit.error.filter(|error| !error.message.is_empty()) {
            Some(error) => {
                console::error_line(&format!("Error waiting for container: {}", error.message));
                125
            }
            None => code(exit.status_code),
        },
        // The engine went away in between. When it is back it knows the exit, if it keeps the container.
        Err(error) => match again(client, id).await {
            Some(exit) => exit,
            None if auto_remove => 125,
            None => {
                console::error_line(&format!("Error waiting for container: {error}"));
                125
            }
        },
    }
}

/// Asks an engine that was restarted, for as long as a restart may take.
async fn again(client: &Client, id: &str) -> Option<i32> {
    for _ in 0..100 {
        match client.container_wait(id, WaitCondition::NotRunning).await {
            Ok(waiting) => {
                if let Ok(exit) = waiting.finish().await {
                    return Some(code(exit.status_code));
                }
            }
            Err(error) if error.is_not_found() => return None,
            Err(_) => {}
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    None
}

fn code(status: i64) -> i32 {
    i32::try_from(status).unwrap_or(125)
}

/// A container that did not start: 127 for a command that is not there, 126 for one that cannot be run.
fn start_failure(message: &str) -> Failure {
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    let code = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    Failure::of_run(message, "run", code)
}
