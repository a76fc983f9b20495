//! `exec`.

use gantry_api_types::exec::{CreateRequest, StartRequest};

use crate::args::container::Exec;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::resolve::Inputs;
use crate::signals::{Sized, end_at_signal};
use crate::streams::{Conversation, Ended};
use crate::terminal::{self, Raw};

/// Runs it; the result is the exit code.
pub(crate) async fn run(context: &Context, args: Exec) -> Outcome<i32> {
    let Some((container, command)) = args.container_and_command.split_first() else {
        return Err(Failure::new("no container"));
    };
    let client = &context.client;
    let inputs = Inputs {
        env: &|name| std::env::var(name).ok(),
        read: &|path| std::fs::read(path),
        absolute: &|path| path.to_owned(),
    };
    let keys = context.detach_keys(args.detach_keys.as_deref())?;
    let console_size = terminal::size().map(|(rows, columns)| [u32::from(rows), u32::from(columns)]);
    let attach = !args.detach;
    let request = CreateRequest {
        user: args.user,
        privileged: args.privileged,
        tty: args.tty,
        console_size: console_size.filter(|_| args.tty),
        attach_stdin: attach && args.interactive,
        attach_stderr: attach,
        attach_stdout: attach,
        detach_keys: args.detach_keys.unwrap_or_default(),
        env: inputs
            .variables(&args.env_file, &args.env)
            .map_err(Failure::new)?,
        working_dir: args.workdir,
        cmd: Some(command.to_vec().into()),
    };
    // A container that is not there is the clearer answer than a missing terminal.
    client.container_inspect(container).await?;
    if request.attach_stdin && request.tty && !terminal::is_input() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let id = client.exec_create(container, &request).await?;
    let start = StartRequest {
        detach: args.detach,
        tty: request.tty,
        console_size: request.console_size,
    };
    if args.detach {
        client.exec_start_detached(&id, &start).await?;
        return Ok(0);
    }
    let connection = client.exec_start(&id, &start).await?;
    let raw = if request.tty && request.attach_stdin {
        Raw::enter()?
    } else {
        None
    };
    if raw.is_some() {
        end_at_signal()?;
    }
    if request.tty && terminal::is_output() {
        Sized::Exec(id.clone()).follow(client.clone())?;
    }
    let conversation = Conversation {
        tty: request.tty,
        stdin: request.attach_stdin,
        detach_keys: keys,
    };
    let ended = conversation.run(connection).await;
    drop(raw);
    match ended? {
        Ended::Detached => Ok(0),
        Ended::Output => {
            let exec = client.exec_inspect(&id).await?;
            // A process without an exit code never ran.
            let code = exec.exit_code.and_then(|code| i32::try_from(code).ok());
            Ok(code.unwrap_or(126) & 0xff)
        }
    }
}
