//! Help, and what is said of a command line that makes no sense: in Docker's shape. It must not know
//! what commands do.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// The groups of the first page of help, in their order.
const COMMON: &[&str] = &["run", "exec", "ps", "pull", "images", "version", "info"];
const MANAGEMENT: &[&str] = &["container", "image", "system"];

/// What a wrong command line ends with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// For standard output; a help page.
    pub(crate) out: String,
    /// For standard error.
    pub(crate) err: String,
    /// The exit code.
    pub(crate) code: i32,
}

/// The command that was meant, with the words that lead to it.
fn find<'a>(root: &'a Command, argv: &[String]) -> (&'a Command, String) {
    let (mut command, mut path) = (root, "gantry".to_owned());
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            // Global flags with a value of their own word.
            let name = word.split('=').next().unwrap_or(word);
            let flag = command.get_arguments().find(|arg| named(arg, name));
            if flag.is_none() && command.get_name() == root.get_name() && word.starts_with("--") {
                break;
            }
            if command.get_name() == root.get_name()
                && flag.is_some_and(|arg| {
                    arg.get_num_args()
                        .is_none_or(|n| n.takes_values() && n.min_values() > 0)
                })
                && !word.contains('=')
            {
                words.next();
            }
            continue;
        }
        match command.find_subcommand(word) {
            Some(sub) => {
                command = sub;
                path.push(' ');
                path.push_str(sub.get_name());
            }
            None => break,
        }
    }
    (command, path)
}

fn named(arg: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => word.len() == 2 && word.chars().nth(1) == arg.get_short(),
    }
}

fn usage_line(command: &Command, path: &str) -> String {
    let usage = command.clone().render_usage().to_string();
    let tail = usage.trim_start_matches("Usage:").trim();
    format!("Usage:  {path} {tail}").trim_end().to_owned()
}

/// The words for a command line that clap did not take.
pub(crate) fn explain(root: &Command, argv: &[String], error: &clap::Error) -> Said {
    let (command, path) = find(root, argv);
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => list.first().cloned(),
        _ => None,
    };
    let flag_error = |message: String| Said {
        out: String::new(),
        err: format!(
            "{message}\n\n{}\n\nRun '{path} --help' for more information\n",
            usage_line(command, &path)
        ),
        code: 125,
    };
    let count_error = |see: &str| Said {
        out: String::new(),
        err: format!(
            "gantry: '{path}' {}\n\n{}\n\n{see} '{path} --help' for more information\n",
            counts(command),
            usage_line(command, &path)
        ),
        code: 1,
    };
    match error.kind() {
        ErrorKind::DisplayHelp => Said {
            out: help(root, command, &path),
            err: String::new(),
            code: 0,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => Said {
            out: String::new(),
            err: help(root, command, &path),
            code: 0,
        },
        ErrorKind::InvalidSubcommand => {
            let wrong = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            unknown_command(command, &path, &wrong)
        }
        ErrorKind::UnknownArgument => {
            let wrong = text(ContextKind::InvalidArg).unwrap_or_default();
            if !wrong.starts_with('-') {
                return if command.has_subcommands() {
                    unknown_command(command, &path, &wrong)
                } else {
                    count_error("Run")
                };
            }
            let typed = typed(argv, &wrong);
            let mut message = match typed.strip_prefix("--") {
                Some(long) => format!("unknown flag: --{}", long.split('=').next().unwrap_or(long)),
                None => {
                    let letter = wrong.trim_start_matches('-').chars().next().unwrap_or('-');
                    let from = typed.find(letter).unwrap_or(1);
                    format!("unknown shorthand flag: '{letter}' in -{}", &typed[from..])
                }
            };
            if let Some(suggestion) = text(ContextKind::SuggestedArg) {
                message.push_str(&format!("\nDid you mean {suggestion}?"));
            }
            flag_error(message)
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues
            if !names_flag(error) =>
        {
            // Docker's words where there is no upper limit, and where there is one.
            count_error(if counts(command).starts_with("requires at least") {
                "See"
            } else {
                "Run"
            })
        }
        ErrorKind::TooManyValues if !names_flag(error) => count_error("Run"),
        ErrorKind::InvalidValue
            if text(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) && names_flag(error) =>
        {
            let flag = text(ContextKind::InvalidArg).unwrap_or_default();
            flag_error(missing_value(command, &flag))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let flag = text(ContextKind::InvalidArg).unwrap_or_default();
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| "invalid value".to_owned());
            flag_error(format!(
                "invalid argument {value:?} for {:?} flag: {why}",
                flag_names(command, &flag)
            ))
        }
        _ => flag_error(error.to_string().trim_start_matches("error: ").trim().to_owned()),
    }
}

fn unknown_command(command: &Command, path: &str, wrong: &str) -> Said {
    let mut err = format!("gantry: unknown command: {path} {wrong}\n");
    if let Some(near) = nearest(command, wrong) {
        err.push_str(&format!("Did you mean '{path} {near}'?\n"));
    }
    if path != "gantry" {
        err.push_str(&format!("\nUsage:  {path}\n"));
    }
    err.push_str(&format!("\nRun '{path} --help' for more information\n"));
    Said {
        out: String::new(),
        err,
        code: 1,
    }
}

/// The command with the least difference from a word, if it is small.
fn nearest<'a>(command: &'a Command, wrong: &str) -> Option<&'a str> {
    command
        .get_subcommands()
        .map(|sub| (distance(sub.get_name(), wrong), sub.get_name()))
        .filter(|(far, name)| *far <= 2 && *far * 2 < name.len())
        .min()
        .map(|(_, name)| name)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn names_flag(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.starts_with('-'),
        Some(ContextValue::Strings(list)) => list.first().is_some_and(|text| text.starts_with('-')),
        _ => false,
    }
}

/// The word of the command line in which a wrong flag is.
fn typed<'a>(argv: &'a [String], flag: &'a str) -> &'a str {
    let letter = flag.trim_start_matches('-');
    argv.iter()
        .map(String::as_str)
        .find(|word| {
            word.split('=').next() == Some(flag)
                || (!flag.starts_with("--")
                    && word.starts_with('-')
                    && !word.starts_with("--")
                    && word.contains(letter))
        })
        .unwrap_or(flag)
}

/// `-m, --memory` of what clap calls `--memory <bytes>`.
fn flag_names(command: &Command, shown: &str) -> String {
    match argument(command, shown) {
        Some(arg) => match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            _ => shown.to_owned(),
        },
        None => shown.to_owned(),
    }
}

fn missing_value(command: &Command, shown: &str) -> String {
    match argument(command, shown).and_then(Arg::get_long) {
        Some(long) => format!("flag needs an argument: --{long}"),
        None => format!("flag needs an argument: {shown}"),
    }
}

fn argument<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let name = shown.split([' ', '[', '=']).next().unwrap_or(shown);
    command
        .get_arguments()
        .find(|arg| arg.get_long().is_some_and(|long| name == format!("--{long}")) || named(arg, name))
}

/// How many words a command takes.
fn counts(command: &Command) -> String {
    let (mut least, mut most) = (0, Some(0));
    for arg in command.get_positionals() {
        let range = arg.get_num_args().unwrap_or_else(|| 1.into());
        let many = range.max_values() > 1 || matches!(arg.get_action(), clap::ArgAction::Append);
        if arg.is_required_set() {
            least += range.min_values().max(1);
        }
        most = if many { None } else { most.map(|n| n + 1) };
    }
    let words = |n: usize| {
        if n == 1 {
            "1 argument".to_owned()
        } else {
            format!("{n} arguments")
        }
    };
    match (least, most) {
        (_, Some(0)) => "accepts no arguments".to_owned(),
        (least, None) => format!("requires at least {}", words(least)),
        (least, Some(most)) if least == most => format!("requires {}", words(least)),
        (0, Some(most)) => format!("requires at most {}", words(most)),
        (least, Some(most)) => format!("requires at least {least} and at most {}", words(most)),
    }
}

/// A page of help.
pub(crate) fn help(root: &Command, command: &Command, path: &str) -> String {
    let mut out = usage_line(command, path);
    out.push_str("\n\n");
    out.push_str(&command.get_about().map(ToString::to_string).unwrap_or_default());
    out.push('\n');
    let aliases = aliases(root, command, path);
    if aliases.len() > 1 {
        out.push_str(&format!("\nAliases:\n  {}\n", aliases.join(", ")));
    }
    let is_root = command.get_name() == root.get_name();
    if command.has_subcommands() {
        let all: Vec<&Command> = command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set())
            .collect();
        if is_root {
            section(&mut out, "Common Commands", &pick(&all, COMMON));
            section(&mut out, "Management Commands", &pick(&all, MANAGEMENT));
            let mut rest: Vec<&Command> = all
                .into_iter()
                .filter(|sub| !COMMON.contains(&sub.get_name()) && !MANAGEMENT.contains(&sub.get_name()))
                .collect();
            rest.sort_by_key(|sub| sub.get_name());
            section(&mut out, "Commands", &rest);
        } else {
            let mut all = all;
            all.sort_by_key(|sub| sub.get_name());
            section(&mut out, "Commands", &all);
        }
    }
    let mut flags: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| {
            !arg.is_positional()
                && !arg.is_hide_set()
                && (arg.get_id() != "help" || !command.has_subcommands())
        })
        .collect();
    flags.sort_by_key(|arg| arg.get_long().unwrap_or_default().to_owned());
    flags.retain(|arg| {
        arg.get_id() != "help" || command.get_name() == "run" || command.get_name() == "create"
    });
    if !flags.is_empty() {
        out.push_str(if is_root {
            "\nGlobal Options:\n"
        } else {
            "\nOptions:\n"
        });
        flag_lines(&mut out, &flags);
    }
    if command.has_subcommands() {
        out.push_str(&format!(
            "\nRun '{path} COMMAND --help' for more information on a command.\n"
        ));
    }
    out
}

fn pick<'a>(all: &[&'a Command], names: &[&str]) -> Vec<&'a Command> {
    let found = |name: &&str| all.iter().find(|sub| sub.get_name() == *name).copied();
    names.iter().filter_map(found).collect()
}

fn section(out: &mut String, title: &str, commands: &[&Command]) {
    out.push_str(&format!("\n{title}:\n"));
    let width = commands
        .iter()
        .map(|sub| sub.get_name().len())
        .max()
        .unwrap_or(0)
        .max(9);
    for sub in commands {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        out.push_str(&format!("  {:width$}   {about}\n", sub.get_name()));
    }
}

fn flag_lines(out: &mut String, flags: &[&Arg]) {
    let shown: Vec<(String, String)> = flags
        .iter()
        .map(|arg| {
            let short = arg.get_short().map_or("    ".to_owned(), |c| format!("-{c}, "));
            let value = arg.get_value_names().and_then(|names| names.first());
            let value = value.filter(|name| name.as_str() != "bool" && arg.get_id() != "help");
            let value = value.map_or(String::new(), |name| format!(" {name}"));
            let name = format!("  {short}--{}{value}", arg.get_long().unwrap_or_default());
            (name, arg.get_help().map(ToString::to_string).unwrap_or_default())
        })
        .collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 3;
    let screen = crate::terminal::size().map_or(80, |(_, columns)| usize::from(columns).max(40));
    for (name, help) in shown {
        let mut column = 0;
        out.push_str(&format!("{name:width$}"));
        for word in help.split(' ') {
            if column > 0 && width + column + 1 + word.len() > screen.saturating_sub(5) {
                out.push_str(&format!("\n{:width$}", ""));
                column = 0;
            }
            if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += word.len();
        }
        out.push('\n');
    }
}

/// All ways to say a command: `gantry container ls`, `gantry ps` ….
fn aliases(root: &Command, command: &Command, path: &str) -> Vec<String> {
    if command.has_subcommands() {
        return Vec::new();
    }
    let name = command.get_name();
    match (path.split(' ').nth(1), name) {
        (Some("container" | "ps"), "ls" | "ps") => ["container ls", "container list", "container ps", "ps"]
            .map(|words| format!("gantry {words}"))
            .to_vec(),
        (Some("image" | "images"), "ls" | "images") => ["image ls", "image list", "images"]
            .map(|words| format!("gantry {words}"))
            .to_vec(),
        (Some("rmi"), _) | (Some("image"), "rm") => ["image rm", "image remove", "rmi"]
            .map(|words| format!("gantry {words}"))
            .to_vec(),
        (Some("inspect" | "version"), _) => Vec::new(),
        _ => {
            let mut out = Vec::new();
            let group = path.split(' ').nth(1).filter(|_| path.split(' ').count() > 2);
            let of_containers = |sub: &Command| sub.get_name() == "container";
            let groups = root
                .get_subcommands()
                .filter(|sub| sub.has_subcommands())
                .filter(|sub| group.is_none_or(|group| sub.get_name() == group))
                .filter(|sub| name != "rm" || of_containers(sub));
            for group in groups {
                if group.get_subcommands().any(|sub| sub.get_name() == name) {
                    out.push(format!("gantry {} {name}", group.get_name()));
                    for alias in command.get_all_aliases() {
                        out.push(format!("gantry {} {alias}", group.get_name()));
                    }
                }
            }
            if root
                .get_subcommands()
                .any(|sub| sub.get_name() == name && !sub.has_subcommands())
            {
                out.push(format!("gantry {name}"));
            }
            out
        }
    }
}
