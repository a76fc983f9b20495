//! `vm`: a virtual machine with Debian's kernel, systemd and cgroups of version 2 alone, or others, in which tests and commands run.
//!
//! `image` makes the machine once, `payload` what is run in it each time, `machine` boots the two together. None of them
//! knows what the tests look for.

mod image;
mod initramfs;
mod machine;
mod payload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::binaries::{self, Profile};
use crate::suite;
use payload::Suite;

/// What is run in the machine.
#[derive(Subcommand)]
pub(crate) enum Task {
    /// Run the runtime's suite and the cgroups' tests, or other ones, in it
    Test {
        /// Only these, each PACKAGE or PACKAGE/TARGET, for example `gantry-cgroups` or `gantry-tests/runtime`
        #[arg(short, long = "suite")]
        suites: Vec<String>,
        /// Arguments for each test program, for example `limits --nocapture`
        #[arg(last = true)]
        args: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Run a shell's script in it, with the binaries at hand in $GANTRY_BIN_DIR
    Run {
        /// The script
        script: String,
        #[command(flatten)]
        how: How,
    },
}

/// How it is done.
#[derive(clap::Args)]
pub(crate) struct How {
    /// How many seconds everything may take from the machine's start
    #[arg(long, default_value_t = 900)]
    deadline: u64,
    /// Which cgroups the machine has
    #[arg(long, value_enum, default_value_t = Cgroups::V2)]
    cgroups: Cgroups,
    /// A folder whose files the machine finds in /payload/with
    #[arg(long)]
    with: Option<PathBuf>,
    /// Do not install packages
    #[arg(long)]
    no_install: bool,
}

impl How {
    /// As usual, with a folder of files.
    pub(crate) fn with(folder: &Path) -> Self {
        Self {
            deadline: 900,
            cgroups: Cgroups::V2,
            with: Some(folder.to_owned()),
            no_install: false,
        }
    }
}

/// Which hierarchies systemd mounts.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cgroups {
    /// Version 2 alone.
    V2,
    /// Version 1 with an empty unified one.
    Hybrid,
    /// Version 1 alone.
    V1,
}

/// What the machine's making and running need here: name of a program and the package that has it.
const TOOLS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("busybox", "busybox-static"),
];

/// Makes what is missing, boots, runs, and ends as what was run has ended.
pub(crate) fn run(task: Task) -> Result<()> {
    let (script, suites, how) = match task {
        Task::Test { suites, args, how } => {
            let suites: Vec<Suite> = match suites.is_empty() {
                true => Suite::all(),
                false => suites.iter().map(|name| Suite::named(name)).collect(),
            };
            (payload::script(&args), suites, how)
        }
        Task::Run { script, how } => (script, Vec::new(), how),
    };
    if !how.no_install {
        install()?;
    }
    let binaries = binaries::build(Profile::Dev)?;
    let programs = payload::compile(&suites)?;
    let cache = binaries.parent().unwrap_or(Path::new("target")).join("vm");
    let image = image::ready(&cache)?;
    let payload = payload::pack(&cache, &binaries, &programs, &script, how.with.as_deref())?;
    let begun = Instant::now();
    let ended = machine::boot(&image, &payload, how.cgroups, Duration::from_secs(how.deadline));
    let _ = fs::remove_file(&payload);
    let code = ended?;
    println!("the machine ran for {:.1} s", begun.elapsed().as_secs_f64());
    if code != 0 {
        std::process::exit(code);
    }
    Ok(())
}

fn install() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    suite::install(&missing)
}

/// Where a program is, among the folders of the search path and those of root.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}

/// A command that is found also in root's folders, silent unless it fails.
fn tool(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

/// Runs a tool to its end; what it said is told only when it failed.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            command.get_program().to_string_lossy(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// A disk image with the files of `folder`.
fn disk(folder: &Path, image: &Path, megabytes: u64) -> Result<()> {
    let _ = fs::remove_file(image);
    quietly(
        tool("mke2fs")
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"])
            .arg(folder)
            .arg(image)
            .arg(format!("{megabytes}M")),
    )
}
