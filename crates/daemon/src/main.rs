//! `gantryd`: reads arguments and signals, and exits.

use std::process::ExitCode;

use clap::Parser;
use gantry_daemon::{args::Args, run};
use gantry_supervisor_api::trace;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    // Whoever started us may have none, and what we write is for root alone to change.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let log_level = if args.debug {
        "debug"
    } else {
        level(&args.log_level)
    };
    trace::set_up(log_level, &["gantry_daemon", "gantry_engine"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                let (mut term, mut int) =
                    (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
                let shutdown = async move {
                    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                };
                run::run(args, shutdown).await.map_err(anyhow::Error::from)
            });
            // Whoever is attached or waits is not waited for.
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
                eprintln!("failed to start daemon: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn level(name: &str) -> &str {
    if name == "fatal" { "error" } else { name }
}
