//! The commands of the engine itself.

use clap::{Args, Subcommand, ValueEnum};

use super::values;

/// What can be asked of an engine, in the short and in the grouped form.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Get real time events from the server
    #[command(override_usage = "[OPTIONS]")]
    Events(Events),
    /// Display system-wide information
    #[command(override_usage = "[OPTIONS]")]
    Info(Info),
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = values::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) since: String,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) until: String,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) format: String,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) format: String,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) format: String,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only inspect objects of the given type
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) r#type: String,
    #[arg(value_name = "NAME|ID", required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A shell with completion.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}
