//! gantry: the command line of Gantry, and of any engine that speaks Docker's API. The program only
//! parses, dispatches and exits; what is done stands in `commands`.

mod args;
mod commands;
mod console;
mod context;
mod failure;
mod format;
mod progress;
mod resolve;
mod signals;
mod streams;
mod terminal;
mod text;
mod usage;

use clap::FromArgMatches;

fn main() {
    let argv: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    console::exit(run(&argv));
}

fn run(argv: &[String]) -> i32 {
    if let [_, flag] = argv
        && matches!(flag.as_str(), "-v" | "--version")
    {
        console::line(&format!("Gantry version {}", env!("CARGO_PKG_VERSION")));
        return 0;
    }
    let mut command = args::command();
    let parsed = command
        .try_get_matches_from_mut(argv)
        .and_then(|matches| args::Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let said = usage::explain(&command, argv, &error);
            console::text(&said.out);
            console::error_text(&said.err);
            return said.code;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console::error_line(&error.to_string());
            return 1;
        }
    };
    match runtime.block_on(commands::dispatch(cli)) {
        Ok(code) => code,
        Err(failure) => {
            terminal::restore();
            if !failure.message.is_empty() {
                console::error_line(&failure.message);
            }
            failure.code
        }
    }
}
