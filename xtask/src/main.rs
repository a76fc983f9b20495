//! `cargo xtask`: the one entrance to building, trying, testing and measuring Gantry.
//!
//! It knows the workspace's shape and the machine's tools, and nothing of the inside of any crate.

mod arrows;
mod bench;
mod binaries;
mod demo;
mod engine;
mod image;
mod leaks;
mod suite;
mod tidy;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, try, test and measure Gantry")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the five binaries and the embedded image into target/release
    Build {
        /// Build into target/debug, as the tests use them
        #[arg(long)]
        dev: bool,
    },
    /// Run a container on a private engine, show what each layer did, leave nothing
    Demo {
        /// Another `gantry` command line to run on that engine, for example `run -it IMAGE sh`
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Keep a private engine running in the foreground
    Up,
    /// Install what the tests need, build, and run all of them
    Test {
        /// Arguments for `cargo test`, for example `-p gantry-layer` or `-- exec`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
        /// Do not install packages
        #[arg(long)]
        no_install: bool,
    },
    /// Measure side by side with Debian's runc, crun and docker.io; prints a table, writes JSON
    Bench(bench::Options),
    /// Run tests or commands in a virtual machine with Debian's kernel, systemd and cgroups of version 2 alone
    Vm {
        #[command(subcommand)]
        task: vm::Task,
    },
    /// Check the house rules: headers, sizes, names, READMEs, unsafe
    Tidy,
    /// Check who imports whom
    Deps,
}

fn main() -> Result<()> {
    match Args::parse().task {
        Task::Build { dev } => {
            let profile = if dev {
                binaries::Profile::Dev
            } else {
                binaries::Profile::Release
            };
            let built = binaries::build(profile)?;
            println!("built in {}", built.display());
            Ok(())
        }
        Task::Demo { command } => demo::run(&command),
        Task::Up => demo::up(),
        Task::Test { args, no_install } => suite::run(&args, !no_install),
        Task::Bench(options) => bench::run(&options),
        Task::Vm { task } => vm::run(task),
        Task::Tidy => tidy::check(),
        Task::Deps => arrows::check(),
    }
}

/// The root of the workspace.
fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
