//! `demo` and `up`: a private engine tried by hand, and what each of its layers did.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::binaries::{self, Profile};
use crate::engine::Engine;
use crate::{image, leaks};

/// Runs the greeting container, or `command`, on a private engine; fails when anything is left behind.
pub(crate) fn run(command: &[String]) -> Result<()> {
    let binaries = binaries::build(Profile::Release)?;
    let before = leaks::Snapshot::take();
    let engine = Engine::start(&binaries)?;
    load(&engine, &binaries)?;
    let start = fs::metadata(engine.trace()).map_or(0, |trace| trace.len());

    let mut gantry = engine.gantry();
    if command.is_empty() {
        println!("$ gantry run --rm gantry/hello");
        gantry.args(["run", "--rm", "gantry/hello"]);
    } else {
        gantry.args(command);
    }
    let status = gantry.status().context("run gantry")?;

    if command.is_empty() {
        show(&fs::read(engine.trace())?[start as usize..]);
    }
    engine.stop()?;
    let left = leaks::settle(&before);
    if !left.is_empty() {
        bail!("left behind:\n  {}", left.join("\n  "));
    }
    if command.is_empty() {
        println!("\nStopped. Left behind: no process, mount, cgroup or network namespace.");
    }
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => std::process::exit(code),
        None => bail!("gantry: {status}"),
    }
}

/// Keeps an engine in the foreground until it is interrupted.
pub(crate) fn up() -> Result<()> {
    let binaries = binaries::build(Profile::Release)?;
    let engine = Engine::start(&binaries)?;
    load(&engine, &binaries)?;
    println!(
        "The engine is up with the image {}. In another terminal:\n",
        image::REFERENCE
    );
    println!("  export DOCKER_HOST={}", engine.host());
    println!("  export PATH={}:$PATH", binaries.display());
    println!("  gantry run -it --rm gantry/hello sh\n");
    println!("Ctrl-C ends it and everything that runs on it.");
    wait_for_interrupt();
    println!();
    engine.stop()
}

fn load(engine: &Engine, binaries: &std::path::Path) -> Result<()> {
    let archive = binaries.join(image::ARCHIVE);
    let output = engine
        .gantry()
        .args(["load", "-q", "-i"])
        .arg(&archive)
        .output()
        .context("run gantry load")?;
    if !output.status.success() {
        bail!("gantry load: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// One line for each thing that a layer did, in the order in which it was begun.
fn show(trace: &[u8]) {
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in String::from_utf8_lossy(trace).lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let took = event["took_us"]
            .as_u64()
            .map(|us| format!("  ({:.1} ms)", us as f64 / 1000.0));
        let row = format!(
            "  {:<11} {}{}",
            text("layer"),
            text("message"),
            took.unwrap_or_default()
        );
        rows.push((text("timestamp"), row));
    }
    rows.sort();
    println!("\nWhat happened, layer by layer:");
    for (_, row) in rows {
        println!("{row}");
    }
}

/// Blocks SIGINT and SIGTERM and waits for one of them.
#[allow(unsafe_code)]
fn wait_for_interrupt() {
    // SAFETY: the set is initialised by sigemptyset before it is read, and lives until sigwait returns.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        let mut signal = 0;
        libc::sigwait(&set, &mut signal);
    }
}
