//! `version`.

use gantry_api_types::API_VERSION;
use gantry_api_types::system::Version as Server;
use serde_json::json;

use crate::args::system::Version;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::format::template::{self, Missing};

/// Runs it: this program's part is shown even if no engine answers.
pub(crate) async fn run(context: &Context, args: Version) -> Outcome {
    let server = context.client.version().await;
    let spoken = match &server {
        Ok(_) => context.client.version_spoken().await?.to_string(),
        Err(_) => API_VERSION.to_owned(),
    };
    let shown = match args.format.as_str() {
        "" => page(&spoken, server.as_ref().ok()),
        format => {
            let data = json!({
                "Client": {
                    "Platform": {"Name": "Gantry"},
                    "Version": env!("CARGO_PKG_VERSION"),
                    "ApiVersion": spoken,
                    "APIVersion": spoken,
                    "DefaultAPIVersion": API_VERSION,
                    "GitCommit": "",
                    "GoVersion": "",
                    "Os": std::env::consts::OS,
                    "Arch": arch(),
                    "BuildTime": "",
                    "Context": "default",
                },
                "Server": server.as_ref().ok(),
            });
            if format == "json" {
                data.to_string() + "\n"
            } else {
                let wrong = |error: String| {
                    let error = error
                        .replace("template: :", "template: version:")
                        .replace("executing \"\"", "executing \"version\"");
                    Failure::new(match error.split_once(": map has no entry for key \"") {
                        Some((at, key)) => format!(
                            "{at}: can't evaluate field {} in type system.versionInfo",
                            key.trim_end_matches('"')
                        ),
                        None => error,
                    })
                };
                let compiled = template::compile(format, Missing::Error).map_err(|error| Failure {
                    message: format!("template parsing error: {error}"),
                    code: 64,
                })?;
                compiled.render(&template::from_json(&data)).map_err(wrong)? + "\n"
            }
        }
    };
    console::text(&shown);
    server.map(drop).map_err(Failure::from)
}

/// The machine, in Go's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn page(spoken: &str, server: Option<&Server>) -> String {
    let mut out = String::from("Client: Gantry\n");
    let mut line = |name: &str, value: &str| {
        let name = format!(" {name}:");
        out.push_str(&format!("{name:<20}{value}\n"));
    };
    line("Version", env!("CARGO_PKG_VERSION"));
    let downgraded = if spoken == API_VERSION {
        String::new()
    } else {
        format!(" (downgraded from {API_VERSION})")
    };
    line("API version", &format!("{spoken}{downgraded}"));
    line("OS/Arch", &format!("{}/{}", std::env::consts::OS, arch()));
    line("Context", "default");
    let Some(server) = server else {
        return out;
    };
    let platform = &server.platform.name;
    out.push_str(&format!(
        "\nServer:{}{platform}\n",
        if platform.is_empty() { "" } else { " " }
    ));
    let mut line = |name: &str, value: &str| {
        let name = format!("  {name}:");
        out.push_str(&format!("{name:<20}{value}\n"));
    };
    if server.components.is_empty() {
        line("Version", &server.version);
        return out;
    }
    for component in &server.components {
        let detail = |name: &str| component.details.get(name).map_or("", String::as_str);
        let mut lines = vec![("Version".to_owned(), component.version.clone())];
        if component.name == "Engine" {
            lines.push((
                "API version".to_owned(),
                format!(
                    "{} (minimum version {})",
                    detail("ApiVersion"),
                    detail("MinAPIVersion")
                ),
            ));
            for (title, name) in [
                ("Go version", "GoVersion"),
                ("Git commit", "GitCommit"),
                ("Built", "BuildTime"),
            ] {
                // An engine that is not of Go says nothing of it.
                if name != "GoVersion" || !detail(name).is_empty() {
                    lines.push((title.to_owned(), built(name, detail(name))));
                }
            }
            lines.push((
                "OS/Arch".to_owned(),
                format!("{}/{}", detail("Os"), detail("Arch")),
            ));
            lines.push(("Experimental".to_owned(), detail("Experimental").to_owned()));
        } else {
            lines.extend(component.details.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        out.push_str(&format!(" {}:\n", component.name));
        for (name, value) in lines {
            let name = format!("  {name}:");
            out.push_str(&format!("{name:<20}{value}\n"));
        }
    }
    out
}

/// The time of a build as `date` writes it.
fn built(name: &str, value: &str) -> String {
    match value.parse::<jiff::Timestamp>() {
        Ok(time) if name == "BuildTime" => time
            .to_zoned_datetime(jiff::tz::TimeZone::UTC)
            .strftime("%a %b %e %H:%M:%S %Y")
            .to_string(),
        _ => value.to_owned(),
    }
}
