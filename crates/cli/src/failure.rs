//! How a command ends badly: what the user is told, and the exit code. It must not know who asks.

use std::fmt;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the user is told; nothing if all was said.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) code: i32,
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// With a message and code 1.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            code: 1,
        }
    }

    /// With nothing more to say.
    pub(crate) fn code(code: i32) -> Failure {
        Failure {
            message: String::new(),
            code,
        }
    }

    /// The shape of `run` and `create`: the program's name in front, a way to help behind.
    pub(crate) fn of_run(error: impl fmt::Display, verb: &str, code: i32) -> Failure {
        let error = error.to_string();
        Failure {
            message: format!(
                "gantry: {}\n\nRun 'gantry {verb} --help' for more information",
                error.trim_end()
            ),
            code,
        }
    }
}

impl From<gantry_client::Error> for Failure {
    fn from(error: gantry_client::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

/// Runs something for each name, says what failed at once and goes on; fails if anything did.
pub(crate) async fn for_each<F>(names: &[String], mut each: F) -> Outcome
where
    F: AsyncFnMut(&str) -> Outcome,
{
    let mut failed = false;
    for name in names {
        match each(name).await {
            Ok(()) => crate::console::line(name),
            Err(failure) => {
                failed = true;
                crate::console::error_line(&failure.message);
            }
        }
    }
    if failed { Err(Failure::code(1)) } else { Ok(()) }
}
