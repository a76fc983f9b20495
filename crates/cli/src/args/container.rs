//! The commands of containers.

use clap::{Args, Subcommand};

use super::{create, values};

/// What can be done with containers, in the short and in the grouped form.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create and run a new container from an image
    #[command(override_usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]")]
    Run(Box<create::Run>),
    /// Create a new container
    #[command(override_usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]")]
    Create(Box<create::Create>),
    /// Execute a command in a running container
    #[command(override_usage = "[OPTIONS] CONTAINER COMMAND [ARG...]")]
    Exec(Exec),
    /// Attach local standard input, output, and error streams to a running container
    #[command(override_usage = "[OPTIONS] CONTAINER")]
    Attach(Attach),
    /// Kill one or more running containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Kill(Kill),
    /// Fetch the logs of a container
    #[command(override_usage = "[OPTIONS] CONTAINER")]
    Logs(Logs),
    /// Pause all processes within one or more containers
    #[command(override_usage = "CONTAINER [CONTAINER...]")]
    Pause(Names),
    /// Unpause all processes within one or more containers
    #[command(override_usage = "CONTAINER [CONTAINER...]")]
    Unpause(Names),
    /// Rename a container
    #[command(override_usage = "CONTAINER NEW_NAME")]
    Rename(Rename),
    /// Restart one or more containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Restart(Stop),
    /// Remove one or more containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]", alias = "remove")]
    Rm(Rm),
    /// Start one or more stopped containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Start(Start),
    /// Display a live stream of container(s) resource usage statistics
    #[command(override_usage = "[OPTIONS] [CONTAINER...]")]
    Stats(Stats),
    /// Stop one or more running containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Stop(Stop),
    /// Display the running processes of a container
    #[command(override_usage = "CONTAINER [ps OPTIONS]")]
    Top(Top),
    /// Update configuration of one or more containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Update(Update),
    /// Block until one or more containers stop, then print their exit codes
    #[command(override_usage = "CONTAINER [CONTAINER...]")]
    Wait(Names),
    /// Inspect changes to files or directories on a container's filesystem
    #[command(override_usage = "CONTAINER")]
    Diff(Name),
    /// List port mappings or a specific mapping for the container
    #[command(override_usage = "CONTAINER [PRIVATE_PORT[/PROTO]]")]
    Port(Port),
}

/// The grouped form.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupVerb {
    #[command(flatten)]
    Verb(Verb),
    /// List containers
    #[command(override_usage = "[OPTIONS]", aliases = ["list", "ps"])]
    Ls(Ps),
    /// Display detailed information on one or more containers
    #[command(override_usage = "[OPTIONS] CONTAINER [CONTAINER...]")]
    Inspect(Inspect),
    /// Remove all stopped containers
    #[command(override_usage = "[OPTIONS]")]
    Prune(Prune),
}

/// Several containers.
#[derive(Debug, Args)]
pub(crate) struct Names {
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// One container.
#[derive(Debug, Args)]
pub(crate) struct Name {
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct Port {
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    #[arg(value_name = "PRIVATE_PORT")]
    pub(crate) port: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub(crate) detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = values::env)]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub(crate) env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) user: String,
    /// Working directory inside the container
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) workdir: String,
    /// The container and the command; flags end at the first of them.
    #[arg(value_name = "CONTAINER", required = true, trailing_var_arg = true, num_args = 2..)]
    pub(crate) container_and_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub(crate) detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub(crate) sig_proxy: Option<bool>,
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Signal to send to the container
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) signal: String,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    pub(crate) details: bool,
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) since: String,
    /// Number of lines to show from the end of the logs (default "all")
    #[arg(
        short = 'n',
        long,
        value_name = "string",
        default_value = "all",
        hide_default_value = true
    )]
    pub(crate) tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) until: String,
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rename {
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    #[arg(value_name = "NEW_NAME")]
    pub(crate) new_name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Signal to send to the container
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) signal: String,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, alias = "time", value_name = "int", value_parser = values::int)]
    pub(crate) timeout: Option<i64>,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    pub(crate) link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    pub(crate) volumes: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub(crate) detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The container and the options of ps; flags end at the first of them.
    #[arg(value_name = "CONTAINER", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) container_and_options: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", default_value = "0", hide_default_value = true, value_parser = values::uint16)]
    pub(crate) blkio_weight: u16,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_period: i64,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_quota: i64,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_shares: i64,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", default_value = "0", hide_default_value = true, value_parser = values::cpus)]
    pub(crate) cpus: i64,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cpuset_cpus: String,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cpuset_mems: String,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::bytes)]
    pub(crate) memory: i64,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::bytes)]
    pub(crate) memory_reservation: i64,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::memory_swap)]
    pub(crate) memory_swap: i64,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = values::int)]
    pub(crate) pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) restart: String,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = values::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1", hide_default_value = true, value_parser = values::int)]
    pub(crate) last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
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
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = values::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
