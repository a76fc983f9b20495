//! `load`.

use std::fs::File;
use std::io;

use gantry_api_types::progress::Message;
use gantry_client::JsonStream;

use crate::args::image::Load;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::progress::Display;
use crate::resolve::os_reason;
use crate::{streams, terminal};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Load) -> Outcome {
    let archive = if args.input.is_empty() {
        if terminal::is_input() {
            return Err(Failure::new("requested load from stdin, but stdin is empty"));
        }
        streams::input()
    } else {
        let file = File::open(&args.input)
            .map_err(|error| Failure::new(format!("open {}: {}", args.input, os_reason(&error))))?;
        streams::read_from(file)
    };
    let quiet = args.quiet || !terminal::is_output();
    let mut body = context.client.image_load(archive, quiet).await?;
    if !body.content_type().starts_with("application/json") {
        while let Some(bytes) = body.chunk().await? {
            console::bytes(&bytes);
        }
        return Ok(());
    }
    let width = terminal::size().map(|(_, columns)| usize::from(columns));
    let mut display = Display::new(io::stdout(), width);
    let mut json = JsonStream::<Message>::default();
    while let Some(bytes) = body.chunk().await? {
        json.push(&bytes);
        let wrong = |error: serde_json::Error| Failure::new(format!("unexpected answer to load: {error}"));
        while let Some(message) = json.next_value().map_err(wrong)? {
            if !message.error.is_empty() {
                return Err(Failure::new(message.error));
            }
            display.show(&message)?;
        }
    }
    Ok(())
}
