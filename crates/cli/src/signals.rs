//! Signals that the program gets: passed on to a container, or the end of the program. It must not know
//! which command runs.

use std::sync::Arc;

use gantry_client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::{console, terminal};

// What a user or a script sends to a foreground program. SIGCHLD, SIGPIPE, SIGURG and SIGWINCH are this
// program's own business; SIGTSTP, SIGTTIN, SIGTTOU and SIGCONT are those of the shell's job control.
const PASSED_ON: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (6, "ABRT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
];

/// Signals caught from the moment this is made, in the order in which they come.
pub(crate) struct Caught(mpsc::UnboundedReceiver<&'static str>);

impl Caught {
    /// Catches what is passed on to containers.
    pub(crate) fn new() -> std::io::Result<Caught> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (number, name) in PASSED_ON {
            let mut caught = signal(SignalKind::from_raw(*number))?;
            let sender = sender.clone();
            tokio::spawn(async move { while caught.recv().await.is_some() && sender.send(*name).is_ok() {} });
        }
        Ok(Caught(receiver))
    }

    /// Passes them on to a container, as long as the task lives.
    pub(crate) fn pass_on(mut self, client: Arc<Client>, container: String) {
        tokio::spawn(async move {
            while let Some(name) = self.0.recv().await {
                // A container that is gone gets none; its exit ends this program.
                let _ = client.container_kill(&container, name).await;
            }
        });
    }
}

/// Ends the program at a signal, its terminal restored: where nothing is passed on but the terminal is raw.
pub(crate) fn end_at_signal() -> std::io::Result<()> {
    for number in [1, 2, 3, 15] {
        let mut caught = signal(SignalKind::from_raw(number))?;
        tokio::spawn(async move {
            if caught.recv().await.is_some() {
                console::exit(128 + number);
            }
        });
    }
    Ok(())
}

/// What has a terminal whose size follows the user's.
#[derive(Clone, Debug)]
pub(crate) enum Sized {
    /// A container.
    Container(String),
    /// A further process in one.
    Exec(String),
}

impl Sized {
    async fn resize(&self, client: &Client) -> Result<(), gantry_client::Error> {
        let Some((rows, columns)) = terminal::size() else {
            return Ok(());
        };
        match self {
            Sized::Container(id) => client.container_resize(id, rows, columns).await,
            Sized::Exec(id) => client.exec_resize(id, rows, columns).await,
        }
    }

    /// Gives it the user's size, now and at every change.
    pub(crate) fn follow(self, client: Arc<Client>) -> std::io::Result<()> {
        let mut changed: Signal = signal(SignalKind::window_change())?;
        tokio::spawn(async move {
            // Its terminal may be a moment later than its start.
            for attempt in 1..=10 {
                if self.resize(&client).await.is_ok() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10 * attempt)).await;
            }
            while changed.recv().await.is_some() {
                let _ = self.resize(&client).await;
            }
        });
        Ok(())
    }
}
