//! `gantry-supervisor`: reads arguments and signals, serves the library over containerd's gRPC API, and exits. Containers live on.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use gantry_supervisor::Config;
use gantry_supervisor_api::{server, trace};
use tokio::signal::unix::{SignalKind, signal};

/// containerd's services on Gantry.
#[derive(Parser)]
#[command(
    name = "gantry-supervisor",
    version,
    about = "Container lifecycle over containerd's gRPC API"
)]
struct Args {
    /// Where blobs, snapshots and metadata are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/gantry")]
    root: PathBuf,
    /// Where bundles and sockets are kept
    #[arg(long, value_name = "DIR", default_value = "/run/gantry")]
    state: PathBuf,
    /// Socket to serve [default: STATE/supervisor.sock]
    #[arg(short, long, value_name = "SOCKET")]
    address: Option<PathBuf>,
    /// Set the logging level
    #[arg(short, long, value_name = "LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error"])]
    log_level: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Whoever started us may have none, and what we write is for root alone to change.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    trace::set_up(&args.log_level, &["gantry_supervisor", "gantry_supervisor_api"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(args));
            // Calls that wait for a container's end are not waited for.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr)] // the last word of a process whose log may go elsewhere
            {
                eprintln!("gantry-supervisor: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let root = std::path::absolute(&args.root)?;
    let state = std::path::absolute(&args.state)?;
    let address = args
        .address
        .map_or_else(|| Ok(state.join("supervisor.sock")), std::path::absolute)?;
    let program = std::env::current_exe().context("find our own program")?;
    let config = Config::new(&root, &state).address(&address).publisher(program);
    // Fails when another one has the same root: before its socket is taken from it.
    let supervisor = config.open().await?;
    let listener = server::bind(&address).with_context(|| format!("listen on {}", address.display()))?;
    let pid_file = state.join("supervisor.pid");
    let temporary = state.join("supervisor.pid.new");
    std::fs::write(&temporary, std::process::id().to_string())?;
    std::fs::rename(&temporary, &pid_file).with_context(|| format!("write {}", pid_file.display()))?;
    tracing::info!("serving on {}", address.display());
    let shutdown = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    server::serve(listener, supervisor, shutdown).await?;
    for path in [&address, &pid_file] {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}
