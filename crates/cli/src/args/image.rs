//! The commands of images.

use clap::{Args, Subcommand};

use super::values;

/// What can be done with images, in the short and in the grouped form.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Download an image from a registry
    #[command(override_usage = "[OPTIONS] NAME[:TAG|@DIGEST]")]
    Pull(Pull),
    /// Show the history of an image
    #[command(override_usage = "[OPTIONS] IMAGE")]
    History(History),
    /// Load an image from a tar archive or STDIN
    #[command(override_usage = "[OPTIONS]")]
    Load(Load),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    #[command(override_usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
    Tag(Tag),
}

/// The grouped form.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupVerb {
    #[command(flatten)]
    Verb(Verb),
    /// List images
    #[command(override_usage = "[OPTIONS] [REPOSITORY[:TAG]]", alias = "list")]
    Ls(Ls),
    /// Remove one or more images
    #[command(override_usage = "[OPTIONS] IMAGE [IMAGE...]", alias = "remove")]
    Rm(Rm),
    /// Display detailed information on one or more images
    #[command(override_usage = "[OPTIONS] IMAGE [IMAGE...]")]
    Inspect(Inspect),
    /// Remove unused images
    #[command(override_usage = "[OPTIONS]")]
    Prune(Prune),
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Skip image verification (default true)
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true,
        env = "DOCKER_DEFAULT_PLATFORM"
    )]
    pub(crate) platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Print sizes and dates in human readable format (default true)
    #[arg(short = 'H', long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub(crate) human: Option<bool>,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) input: String,
    /// Suppress the load output
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    #[arg(value_name = "SOURCE_IMAGE")]
    pub(crate) source: String,
    #[arg(value_name = "TARGET_IMAGE")]
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = values::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Force removal of the image
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    pub(crate) no_prune: bool,
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
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
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = values::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
