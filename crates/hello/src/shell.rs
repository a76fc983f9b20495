//! A shell of builtins: one word list a line, no pipes, no variables. Knows nothing of terminals beyond a prompt.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

const HELP: &str = "\
builtins: cat cd echo env exit help hostname id ls ps pwd sleep true false
anything else is started as a program; `;` separates commands";

/// Runs `-c TEXT`, or the lines of standard input until its end or `exit`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let mut status = 0;
    if let [flag, text, ..] = args
        && flag == "-c"
    {
        return ExitCode::from(line(text, &mut status).unwrap_or(status));
    }
    let prompt = io::stdin().is_terminal();
    let mut input = io::stdin().lock();
    loop {
        if prompt {
            print!("{} # ", std::env::current_dir().unwrap_or_default().display());
            let _ = io::stdout().flush();
        }
        let mut text = String::new();
        match input.read_line(&mut text) {
            Ok(0) | Err(_) => return ExitCode::from(status),
            Ok(_) => {}
        }
        if let Some(code) = line(&text, &mut status) {
            return ExitCode::from(code);
        }
    }
}

/// Runs one command given as arguments.
pub(crate) fn run_once(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match command(&words) {
        Outcome::Status(code) | Outcome::Exit(code) => ExitCode::from(code),
    }
}

/// The processes visible here: pid and command.
pub(crate) fn processes() -> Vec<(u32, String)> {
    let mut all: Vec<(u32, String)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            Some((pid, line.replace('\0', " ").trim().to_owned()))
        })
        .collect();
    all.sort();
    all
}

enum Outcome {
    Status(u8),
    Exit(u8),
}

/// Runs the commands of one line; the code when one of them was `exit`.
fn line(text: &str, status: &mut u8) -> Option<u8> {
    for part in text.split([';', '\n']) {
        let words: Vec<&str> = part.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        match command(&words) {
            Outcome::Status(code) => *status = code,
            Outcome::Exit(code) => return Some(if words.len() > 1 { code } else { *status }),
        }
    }
    None
}

fn command(words: &[&str]) -> Outcome {
    let (name, args) = (words[0], &words[1..]);
    let result = match name {
        "exit" => return Outcome::Exit(args.first().and_then(|code| code.parse().ok()).unwrap_or(0)),
        "true" => Ok(()),
        "false" => return Outcome::Status(1),
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        "echo" => {
            println!("{}", args.join(" "));
            Ok(())
        }
        "pwd" => std::env::current_dir().map(|dir| println!("{}", dir.display())),
        "cd" => std::env::set_current_dir(args.first().unwrap_or(&"/")),
        "cat" => cat(args),
        "ls" => ls(args.first().unwrap_or(&".")),
        "env" => {
            std::env::vars().for_each(|(key, value)| println!("{key}={value}"));
            Ok(())
        }
        "hostname" => fs::read_to_string("/proc/sys/kernel/hostname").map(|name| print!("{name}")),
        "id" => fs::read_to_string("/proc/self/status").map(|status| {
            status
                .lines()
                .filter(|l| l.starts_with("Uid:") || l.starts_with("Gid:"))
                .for_each(|l| println!("{l}"));
        }),
        "ps" => {
            processes()
                .iter()
                .for_each(|(pid, line)| println!("{pid:>5} {line}"));
            Ok(())
        }
        "sleep" => {
            let seconds = args.first().and_then(|s| s.parse().ok()).unwrap_or(1.0_f64);
            std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            Ok(())
        }
        _ => return Outcome::Status(program(name, args)),
    };
    match result {
        Ok(()) => Outcome::Status(0),
        Err(error) => {
            complain(&format!("{name}: {error}"));
            Outcome::Status(1)
        }
    }
}

fn program(name: &str, args: &[&str]) -> u8 {
    match Command::new(name).args(args).status() {
        Ok(status) => {
            use std::os::unix::process::ExitStatusExt;
            let signalled = || 128 + status.signal().unwrap_or(0);
            status.code().unwrap_or_else(signalled).try_into().unwrap_or(255)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            complain(&format!("{name}: permission denied"));
            126
        }
        Err(_) => {
            complain(&format!("{name}: not found"));
            127
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "sh: {text}");
}

fn cat(paths: &[&str]) -> io::Result<()> {
    let mut out = io::stdout();
    if paths.is_empty() {
        io::copy(&mut io::stdin(), &mut out)?;
    }
    for path in paths {
        io::copy(&mut fs::File::open(path)?, &mut out)?;
    }
    Ok(())
}

fn ls(path: &str) -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    names.iter().for_each(|name| println!("{name}"));
    Ok(())
}
