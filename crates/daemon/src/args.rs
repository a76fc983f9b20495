//! dockerd's command line, as far as it has a meaning here. Reads nothing but the arguments.

use std::path::PathBuf;

use clap::Parser;

/// The Docker Engine API on Gantry.
#[derive(Debug, Parser)]
#[command(
    name = "gantryd",
    version,
    disable_version_flag = true,
    args_override_self = true,
    about = "The Docker Engine API on Gantry"
)]
pub struct Args {
    /// Print version information and quit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Root directory of persistent state
    #[arg(long, value_name = "DIR", default_value = "/var/lib/gantry")]
    pub data_root: PathBuf,
    /// Root directory for execution state files
    #[arg(long, value_name = "DIR", default_value = "/run/gantry")]
    pub exec_root: PathBuf,
    /// Path to use for the daemon's PID file [default: EXEC_ROOT/gantryd.pid]
    #[arg(short, long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Daemon socket to connect to: unix:///PATH, tcp://HOST:PORT or fd:// [default: unix://EXEC_ROOT/gantryd.sock]
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Group of the unix socket: a name or a number
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Set the logging level
    #[arg(short, long, value_name = "LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error", "fatal"])]
    pub log_level: String,
    /// Parent cgroup of the containers
    #[arg(long, value_name = "PATH", default_value = "/gantry")]
    pub cgroup_parent: String,
    /// Address of a running supervisor (or containerd) to use instead of an own one
    #[arg(long, value_name = "SOCKET")]
    pub containerd: Option<PathBuf>,
    /// Register an OCI runtime: NAME=PATH
    #[arg(long, value_name = "NAME=PATH", value_parser = name_and_path)]
    pub add_runtime: Vec<(String, PathBuf)>,
    /// OCI runtime of containers that name none
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,
    /// Registry that may be spoken to over plain HTTP or with any certificate
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// Name server of the containers
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Label of the daemon: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    #[command(flatten)]
    accepted: Accepted,
}

/// Flags of dockerd that change nothing here, so that scripts start this daemon as they start that one.
#[derive(Debug, clap::Args)]
struct Accepted {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    iptables: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ip6tables: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ip_forward: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ip_masq: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    userland_proxy: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    live_restore: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    experimental: Option<String>,
    #[arg(short, long, hide = true)]
    bridge: Option<String>,
    #[arg(short, long, hide = true)]
    storage_driver: Option<String>,
    #[arg(long, hide = true)]
    exec_opt: Vec<String>,
    #[arg(long, hide = true)]
    shutdown_timeout: Option<i64>,
}

impl Args {
    /// The flags that were given and change nothing.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let a = &self.accepted;
        let given = [
            ("--iptables", a.iptables.is_some()),
            ("--ip6tables", a.ip6tables.is_some()),
            ("--ip-forward", a.ip_forward.is_some()),
            ("--ip-masq", a.ip_masq.is_some()),
            ("--userland-proxy", a.userland_proxy.is_some()),
            // Containers always live on when the daemon ends: this one says what is true.
            (
                "--live-restore",
                a.live_restore.as_deref().is_some_and(|value| value != "true"),
            ),
            ("--experimental", a.experimental.is_some()),
            ("--bridge", a.bridge.as_deref().is_some_and(|name| name != "none")),
            (
                "--storage-driver",
                a.storage_driver
                    .as_deref()
                    .is_some_and(|d| !matches!(d, "overlay2" | "overlayfs")),
            ),
            (
                "--exec-opt",
                a.exec_opt.iter().any(|o| o != "native.cgroupdriver=cgroupfs"),
            ),
            ("--shutdown-timeout", a.shutdown_timeout.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag)
            .collect()
    }
}

fn name_and_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        _ => Err("must be NAME=PATH".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_dockerd_are_understood() {
        let args = Args::try_parse_from([
            "gantryd",
            "--data-root",
            "/d",
            "--exec-root",
            "/e",
            "-p",
            "/p",
            "-H",
            "unix:///s",
            "-H",
            "tcp://127.0.0.1:1",
            "--iptables=false",
            "--bridge=none",
            "--storage-driver",
            "overlay2",
            "-D",
            "--add-runtime",
            "crun=/usr/bin/crun",
        ])
        .unwrap();
        assert_eq!(args.hosts.len(), 2);
        assert_eq!(
            args.add_runtime,
            [("crun".to_owned(), PathBuf::from("/usr/bin/crun"))]
        );
        assert_eq!(args.without_effect(), ["--iptables"]);
        assert!(Args::try_parse_from(["gantryd", "--add-runtime", "crun"]).is_err());
    }
}
