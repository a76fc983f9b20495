//! `completion`: a script for a shell.

use clap_complete::{Shell as Target, generate};

use crate::args::system::{Completion, Shell};
use crate::{args, console};

/// Prints the script.
pub(crate) fn run(completion: &Completion) {
    let mut out = Vec::new();
    let target = match completion.shell {
        Shell::Bash => Target::Bash,
        Shell::Zsh => Target::Zsh,
        Shell::Fish => Target::Fish,
    };
    generate(target, &mut args::command(), "gantry", &mut out);
    console::bytes(&out);
}
