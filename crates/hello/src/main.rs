#![doc = include_str!("../README.md")]

mod shell;

use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let called_as = program.rsplit('/').next().unwrap_or_default();
    match (called_as, rest.first().map(String::as_str)) {
        ("sh", _) => shell::main(&rest),
        (_, Some("sh")) => shell::main(&rest[1..]),
        (_, None) => hello(),
        (_, Some(_)) => shell::run_once(&rest),
    }
}

fn hello() -> ExitCode {
    println!("Hello from Gantry!\n");
    println!("This is a container of its own. What it sees from inside:");
    for (what, seen) in sights() {
        println!("  {what:<10} {seen}");
    }
    ExitCode::SUCCESS
}

/// What tells a container from its host, each line one look at `/proc`.
fn sights() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
            .unwrap_or_else(|| "?".to_owned())
    };
    let first = |text: String| text.split_whitespace().next().unwrap_or("?").to_owned();
    let links = fs::read_dir("/sys/class/net").map(|dir| {
        let mut names: Vec<String> = dir
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.join(" ")
    });
    vec![
        ("hostname", read("/proc/sys/kernel/hostname").trim().to_owned()),
        ("pid", std::process::id().to_string()),
        (
            "user",
            format!("uid {} gid {}", first(field("Uid:")), first(field("Gid:"))),
        ),
        ("processes", shell::processes().len().to_string()),
        ("mounts", read("/proc/self/mountinfo").lines().count().to_string()),
        ("network", links.unwrap_or_else(|_| "?".to_owned())),
        ("seccomp", field("Seccomp:")),
        ("caps", field("CapEff:")),
    ]
}
