//! The flags of `run` and `create`.

use clap::Args;
use gantry_opts::{mount::Mount, ulimit::Ulimit};

use super::values;

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub(crate) detach_keys: Option<String>,
    /// Proxy received signals to the process (default true)
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub(crate) sig_proxy: Option<bool>,
    #[command(flatten)]
    pub(crate) create: Create,
}

/// `create`, and what `run` has in common with it.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Assign a name to the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// Set platform if server is multi-platform capable
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true,
        env = "DOCKER_DEFAULT_PLATFORM"
    )]
    pub(crate) platform: String,
    /// Pull image before running ("always", "missing", "never") (default "missing")
    #[arg(
        long,
        value_name = "string",
        default_value = "missing",
        hide_default_value = true
    )]
    pub(crate) pull: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Skip image verification (default true)
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    #[command(flatten)]
    pub(crate) container: Container,
    /// The image and the command; flags end at the first of them.
    #[arg(value_name = "IMAGE", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) image_and_command: Vec<String>,
}

/// What a container is like.
#[derive(Debug, Args)]
pub(crate) struct Container {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list", value_parser = values::add_host)]
    pub(crate) add_host: Vec<String>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map")]
    pub(crate) annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list", value_parser = values::attach)]
    pub(crate) attach: Vec<String>,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", default_value = "0", hide_default_value = true, value_parser = values::uint16)]
    pub(crate) blkio_weight: u16,
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "list", value_parser = values::device_weight)]
    pub(crate) blkio_weight_device: Vec<(String, u16)>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    pub(crate) cap_drop: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cgroup_parent: String,
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cgroupns: String,
    /// Write the container ID to the file
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) cidfile: String,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_period: i64,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_quota: i64,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_rt_period: i64,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) cpu_rt_runtime: i64,
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
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    pub(crate) device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = values::device_rule)]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "list", value_parser = values::device_bps)]
    pub(crate) device_read_bps: Vec<(String, u64)>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "list", value_parser = values::device_iops)]
    pub(crate) device_read_iops: Vec<(String, u64)>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "list", value_parser = values::device_bps)]
    pub(crate) device_write_bps: Vec<(String, u64)>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "list", value_parser = values::device_iops)]
    pub(crate) device_write_iops: Vec<(String, u64)>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = values::dns)]
    pub(crate) dns: Vec<String>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt", value_name = "list")]
    pub(crate) dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list")]
    pub(crate) dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) domainname: String,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    pub(crate) entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = values::env)]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub(crate) env_file: Vec<String>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    pub(crate) expose: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request")]
    pub(crate) gpus: Vec<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    pub(crate) group_add: Vec<String>,
    /// Command to run to check health
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) health_cmd: String,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0s", hide_default_value = true, value_parser = values::duration)]
    pub(crate) health_interval: i64,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) health_retries: i64,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0s", hide_default_value = true, value_parser = values::duration)]
    pub(crate) health_start_interval: i64,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0s", hide_default_value = true, value_parser = values::duration)]
    pub(crate) health_start_period: i64,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0s", hide_default_value = true, value_parser = values::duration)]
    pub(crate) health_timeout: i64,
    /// Container host name
    #[arg(
        short = 'h',
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) hostname: String,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub(crate) init: Option<bool>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ip: String,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ip6: String,
    /// IPC mode to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) ipc: String,
    /// Container isolation technology
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) isolation: String,
    /// Kernel memory limit
    #[arg(long, value_name = "bytes", default_value = "0", hide = true, value_parser = values::bytes)]
    pub(crate) kernel_memory: i64,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list", value_parser = values::label)]
    pub(crate) label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    pub(crate) label_file: Vec<String>,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = values::link)]
    pub(crate) link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_name = "list")]
    pub(crate) link_local_ip: Vec<String>,
    /// Logging driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) log_driver: String,
    /// Log driver options
    #[arg(long, value_name = "list")]
    pub(crate) log_opt: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) mac_address: String,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::bytes)]
    pub(crate) memory: i64,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::bytes)]
    pub(crate) memory_reservation: i64,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::memory_swap)]
    pub(crate) memory_swap: i64,
    /// Tune container memory swappiness (0 to 100) (default -1)
    #[arg(long, value_name = "int", default_value = "-1", hide_default_value = true, value_parser = values::int)]
    pub(crate) memory_swappiness: i64,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = values::mount)]
    pub(crate) mount: Vec<Mount>,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network")]
    pub(crate) network: Vec<String>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "list")]
    pub(crate) network_alias: Vec<String>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// Disable OOM Killer
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) oom_score_adj: i64,
    /// PID namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) pid: String,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    pub(crate) pids_limit: i64,
    /// Give extended privileges to this container
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Restart policy to apply when a container exits (default "no")
    #[arg(long, value_name = "string", default_value = "no", hide_default_value = true)]
    pub(crate) restart: String,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) runtime: String,
    /// Security Options
    #[arg(long, value_name = "list")]
    pub(crate) security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", default_value = "0", hide_default_value = true, value_parser = values::bytes)]
    pub(crate) shm_size: i64,
    /// Signal to stop the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) stop_signal: String,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", value_parser = values::int)]
    pub(crate) stop_timeout: Option<i64>,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    pub(crate) storage_opt: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "map", value_parser = values::sysctl)]
    pub(crate) sysctl: Vec<(String, String)>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    pub(crate) tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = values::ulimit)]
    pub(crate) ulimit: Vec<Ulimit>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) user: String,
    /// User namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) userns: String,
    /// UTS namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) uts: String,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    pub(crate) volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pub(crate) volume_driver: String,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    pub(crate) volumes_from: Vec<String>,
    /// Working directory inside the container
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) workdir: String,
}
