//! The command line as it is written: clap's types and nothing else. What flags mean together is for
//! `resolve` to say; nothing here may read a file, the environment or an engine.

pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod image;
pub(crate) mod system;
pub(crate) mod values;

use clap::{Args, Parser, Subcommand};

/// `gantry`.
#[derive(Debug, Parser)]
#[command(
    name = "gantry",
    about = "A self-sufficient runtime for containers",
    override_usage = "[OPTIONS] COMMAND",
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags before the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    pub(crate) config: Option<String>,
    /// Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var)
    #[arg(short, long, value_name = "string")]
    pub(crate) context: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Daemon socket to connect to
    #[arg(short = 'H', long, value_name = "list")]
    pub(crate) host: Vec<String>,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal") (default "info")
    #[arg(short, long, value_name = "string")]
    pub(crate) log_level: Option<String>,
    /// Print version information and quit
    #[arg(short, long)]
    pub(crate) version: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Container(container::Verb),
    #[command(flatten)]
    Image(image::Verb),
    #[command(flatten)]
    System(system::Verb),
    /// List containers
    #[command(override_usage = "[OPTIONS]")]
    Ps(container::Ps),
    /// List images
    #[command(override_usage = "[OPTIONS] [REPOSITORY[:TAG]]")]
    Images(image::Ls),
    /// Remove one or more images
    #[command(override_usage = "[OPTIONS] IMAGE [IMAGE...]")]
    Rmi(image::Rm),
    /// Return low-level information on Docker objects
    #[command(override_usage = "[OPTIONS] NAME|ID [NAME|ID...]")]
    Inspect(system::Inspect),
    /// Show the version information
    #[command(override_usage = "[OPTIONS]")]
    Version(system::Version),
    /// Manage containers
    #[command(name = "container", override_usage = "COMMAND")]
    ContainerGroup {
        #[command(subcommand)]
        verb: container::GroupVerb,
    },
    /// Manage images
    #[command(name = "image", override_usage = "COMMAND")]
    ImageGroup {
        #[command(subcommand)]
        verb: image::GroupVerb,
    },
    /// Manage the engine
    #[command(name = "system", override_usage = "COMMAND")]
    SystemGroup {
        #[command(subcommand)]
        verb: system::Verb,
    },
    /// Generate the autocompletion script for the specified shell
    #[command(override_usage = "bash|zsh|fish")]
    Completion(system::Completion),
}

/// The whole command, with what Docker's flags have in common: a truth value may follow after `=`, a
/// value may begin with a dash, the last of several wins, and `--help` has no short form.
pub(crate) fn command() -> clap::Command {
    go_like(<Cli as clap::CommandFactory>::command())
}

fn go_like(command: clap::Command) -> clap::Command {
    let root = command.get_name() == "gantry";
    let mut command = command
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .mut_args(|arg| {
            if matches!(arg.get_action(), clap::ArgAction::SetTrue) {
                return arg
                    .action(clap::ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_value("false")
                    .hide_default_value(true)
                    .value_parser(values::truth)
                    .value_name("bool");
            }
            if arg.is_positional() {
                arg
            } else {
                arg.allow_hyphen_values(true)
            }
        })
        .arg(
            clap::Arg::new("help")
                .long("help")
                .action(clap::ArgAction::Help)
                .help("Print usage"),
        );
    if !root {
        command = command.arg_required_else_help(false);
    }
    command.mut_subcommands(go_like)
}
