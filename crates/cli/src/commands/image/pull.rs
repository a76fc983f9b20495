//! `pull`.

use std::io;

use gantry_api_types::progress::Message;
use gantry_client::{Client, Messages, PullOptions};
use gantry_opts::image;

use crate::args::image::Pull;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::progress::Display;
use crate::terminal;

/// Runs it.
pub(crate) async fn run(context: &Context, args: Pull) -> Outcome {
    let mut name = image::parse(&args.name).map_err(|error| Failure::new(error.to_string()))?;
    if args.all_tags && !name.defaulted {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if args.all_tags {
        name.version.clear();
        name.full = name.full.trim_end_matches(":latest").to_owned();
    } else if name.defaulted && !args.quiet {
        console::line(&format!("Using default tag: {}", name.version));
    }
    fetch(&context.client, &name, &args.platform, args.quiet, false).await?;
    console::line(&name.full);
    Ok(())
}

/// Pulls an image and shows how it goes.
pub(crate) async fn fetch(
    client: &Client,
    image: &image::Name,
    platform: &str,
    quiet: bool,
    to_stderr: bool,
) -> Outcome {
    let mut messages = client
        .image_pull(&PullOptions {
            image: image.repository.clone(),
            tag: image.version.clone(),
            platform: platform.to_owned(),
        })
        .await?;
    if quiet {
        while messages.next_progress().await?.is_some() {}
        return Ok(());
    }
    show(&mut messages, to_stderr).await
}

/// Shows the messages of an engine to their end.
pub(crate) async fn show(messages: &mut Messages<Message>, to_stderr: bool) -> Outcome {
    use std::os::fd::AsFd;
    let width = if to_stderr {
        terminal::size_of(io::stderr().as_fd())
    } else {
        terminal::size()
    };
    let width = width.map(|(_, columns)| usize::from(columns));
    let out: Box<dyn io::Write> = if to_stderr {
        Box::new(io::stderr())
    } else {
        Box::new(io::stdout())
    };
    let mut display = Display::new(out, width);
    while let Some(message) = messages.next_progress().await? {
        if let Err(error) = display.show(&message) {
            if error.kind() == io::ErrorKind::BrokenPipe {
                console::exit(128 + 13);
            }
            return Err(error.into());
        }
    }
    Ok(())
}
