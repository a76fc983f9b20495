//! `events`.

use gantry_api_types::event::Message;

use crate::args::system::Events;
use crate::commands::filters;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::format::template::{self, Missing};
use crate::text::{point_in_time, rfc3339};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Events) -> Outcome {
    let compiled = match args.format.as_str() {
        "" | "json" => None,
        text => {
            let text = text.replace("\\t", "\t").replace("\\n", "\n");
            let compiled = template::compile(&text, Missing::NoValue);
            Some(compiled.map_err(|error| Failure::new(format!("Error parsing format: {error}")))?)
        }
    };
    let (since, until) = (point_in_time(&args.since), point_in_time(&args.until));
    let mut events = context
        .client
        .events(&since, &until, &filters(&args.filter))
        .await?;
    while let Some(event) = events.next().await? {
        let json = || serde_json::to_value(&event).unwrap_or_default();
        console::line(&match &compiled {
            None if args.format == "json" => json().to_string(),
            None => shown(&event),
            Some(compiled) => compiled
                .render(&template::from_json(&json()))
                .map_err(Failure::new)?,
        });
    }
    Ok(())
}

fn shown(event: &Message) -> String {
    let at = match event.time_nano {
        0 => i128::from(event.time) * 1_000_000_000,
        nanoseconds => i128::from(nanoseconds),
    };
    let mut line = format!(
        "{} {} {} {}",
        rfc3339(at, true),
        event.r#type,
        event.action,
        event.actor.id
    );
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<String> = event
            .actor
            .attributes
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    line
}
