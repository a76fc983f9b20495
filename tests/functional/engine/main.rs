//! What a user of an engine does, through `gantry` and through the real `docker` CLI.

mod containers;
mod debian;
mod images;
mod refusals;
mod terminals;
mod tree;

use std::process::Command;

use gantry_testkit::cmd::{Said, run};
use gantry_tests::engine::Engine;

/// Either command line.
#[derive(Clone, Copy, Debug)]
enum Cli {
    Gantry,
    Docker,
}

const BOTH: [Cli; 2] = [Cli::Gantry, Cli::Docker];

impl Cli {
    fn command(self, engine: &Engine, args: &[&str]) -> Command {
        match self {
            Self::Gantry => engine.command(args),
            Self::Docker => engine.docker_command(args),
        }
    }

    #[track_caller]
    fn run(self, engine: &Engine, args: &[&str]) -> Said {
        run(&mut self.command(engine, args))
    }
}

/// An engine with busybox.
fn engine() -> Engine {
    let engine = Engine::start();
    engine.load_busybox();
    engine
}
