//! `info`.

use gantry_api_types::system::Info;
use gantry_opts::size;

use crate::args::system::Info as Args;
use crate::console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::format::json;
use crate::format::template::{self, Missing};

/// Runs it.
pub(crate) async fn run(context: &Context, args: Args) -> Outcome {
    if !args.format.is_empty() {
        let raw = context.client.info_raw().await?;
        let raw = String::from_utf8_lossy(&raw);
        if args.format == "json" {
            console::line(&json::compact(&raw));
            return Ok(());
        }
        let wrong = |error: String| {
            Failure::new(match error.split_once(": map has no entry for key \"") {
                Some((at, key)) => format!(
                    "{at}: can't evaluate field {} in type system.gantryInfo",
                    key.trim_end_matches('"')
                ),
                None => error,
            })
        };
        let compiled = template::compile(&args.format, Missing::Error).map_err(|error| Failure {
            message: format!("template parsing error: {error}"),
            code: 64,
        })?;
        let data = serde_json::from_str(&raw).map_err(|error| Failure::new(error.to_string()))?;
        console::line(&compiled.render(&template::from_json(&data)).map_err(wrong)?);
        return Ok(());
    }
    console::text(&format!(
        "Client: Gantry\n Version:    {}\n Context:    default\n Debug Mode: false\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    ));
    let info = match context.client.info().await {
        Ok(info) => info,
        Err(error) => {
            console::error_line(&format!("{error}"));
            return Err(Failure::new("errors pretty printing info"));
        }
    };
    console::text(&page(&info));
    for warning in &info.warnings {
        console::error_line(warning);
    }
    Ok(())
}

fn page(info: &Info) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| out.push_str(&format!(" {name}: {value}\n"));
    line("Containers", &info.containers);
    line(" Running", &info.containers_running);
    line(" Paused", &info.containers_paused);
    line(" Stopped", &info.containers_stopped);
    line("Images", &info.images);
    said(&mut line, "Server Version", &info.server_version);
    said(&mut line, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(&format!(" {name}"), value);
    }
    said(&mut line, "Logging Driver", &info.logging_driver);
    said(&mut line, "Cgroup Driver", &info.cgroup_driver);
    said(&mut line, "Cgroup Version", &info.cgroup_version);
    line("Plugins", &"");
    line(" Volume", &info.plugins.volume.join(" "));
    line(" Network", &info.plugins.network.join(" "));
    if !info.plugins.authorization.is_empty() {
        line(" Authorization", &info.plugins.authorization.join(" "));
    }
    line(" Log", &info.plugins.log.join(" "));
    line("Swarm", &info.swarm.local_node_state);
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        line("Runtimes", &names.join(" "));
        line("Default Runtime", &info.default_runtime);
    }
    said(&mut line, "Init Binary", &info.init_binary);
    for (name, commit) in [
        ("containerd version", &info.containerd_commit.id),
        ("runc version", &info.runc_commit.id),
        ("init version", &info.init_commit.id),
    ] {
        line(name, commit);
    }
    if !info.security_options.is_empty() {
        line("Security Options", &"");
        for option in &info.security_options {
            for (at, part) in option.split(',').enumerate() {
                match part.split_once('=') {
                    Some(("name", name)) if at == 0 => line(" ", &name),
                    Some(("profile", profile)) => line("  Profile", &profile),
                    Some((key, value)) => line(&format!("  {key}"), &value),
                    None => line(" ", &part),
                }
            }
        }
    }
    said(&mut line, "Kernel Version", &info.kernel_version);
    said(&mut line, "Operating System", &info.operating_system);
    said(&mut line, "OSType", &info.os_type);
    said(&mut line, "Architecture", &info.architecture);
    line("CPUs", &info.ncpu);
    line("Total Memory", &size::binary(info.mem_total as f64));
    said(&mut line, "Name", &info.name);
    line("ID", &info.id);
    said(&mut line, "Docker Root Dir", &info.docker_root_dir);
    line("Debug Mode", &info.debug);
    said(&mut line, "HTTP Proxy", &info.http_proxy);
    said(&mut line, "HTTPS Proxy", &info.https_proxy);
    said(&mut line, "No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        line("Labels", &"");
        for label in &info.labels {
            line(&format!(" {label}"), &"");
        }
    }
    line("Experimental", &info.experimental_build);
    if !info.registry_config.insecure_registry_cidrs.is_empty() {
        line("Insecure Registries", &"");
    }
    for cidr in &info.registry_config.insecure_registry_cidrs {
        line(" ", cidr);
    }
    line("Live Restore Enabled", &info.live_restore_enabled);
    // Lines of lists have no colon.
    let text = out.replace("  : ", "  ");
    text.lines()
        .map(|l| l.trim_end().to_owned() + "\n")
        .collect::<String>()
        + "\n"
}

fn said(line: &mut impl FnMut(&str, &dyn std::fmt::Display), name: &str, value: &str) {
    if !value.is_empty() {
        line(name, &value);
    }
}
