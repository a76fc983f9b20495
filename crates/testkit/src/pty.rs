//! A program on a pseudo-terminal, driven as a user would: typed at, read from, resized.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::cmd::{PATIENCE, code};

#[derive(Default)]
struct Screen {
    text: Vec<u8>,
    ended: bool,
}

/// The program and its terminal. Dropped, the program is killed.
pub struct Pty {
    /// None when it is another's terminal.
    child: Option<Child>,
    master: File,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// How much of what was said was already expected.
    seen: usize,
}

impl Pty {
    /// Starts `command` as the leader of a session on a new terminal of 24 rows and 80 columns. Of the command the program,
    /// its arguments, changed variables and directory are taken.
    pub fn spawn(command: &mut Command) -> Self {
        let master = gantry_sys::pty::open_master(Path::new("/dev/ptmx")).expect("a terminal");
        gantry_sys::pty::set_size(master.as_fd(), 24, 80).expect("set the terminal's size");
        let slave = gantry_sys::pty::open_slave(master.as_fd()).expect("the terminal's other side");
        // It makes itself the leader and the terminal its own, then becomes the program: the process id stays.
        let mut leader = Command::new("setsid");
        leader
            .arg("--ctty")
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            leader.current_dir(dir);
        }
        let stdio = || Stdio::from(slave.try_clone().expect("the terminal's other side"));
        let child = leader.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        drop(slave);
        let mut pty = Self::of(File::from(master));
        pty.child = Some(child);
        pty
    }

    /// Takes the terminal that a runtime sends over its console socket.
    #[track_caller]
    pub fn accept(listener: &UnixListener) -> Self {
        let (socket, _) = listener.accept().expect("a connection to the console socket");
        let (_, master) =
            gantry_sys::socket::receive(socket.as_fd(), 4096).expect("a message on the console socket");
        Self::of(File::from(master.expect("a descriptor on the console socket")))
    }

    fn of(master: File) -> Self {
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let (mut from, to) = (master.try_clone().expect("the terminal"), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // EIO: nobody has the other side open any more.
                let count = from.read(&mut buffer).unwrap_or(0);
                let mut screen = to.0.lock().unwrap_or_else(PoisonError::into_inner);
                screen.text.extend(&buffer[..count]);
                screen.ended = count == 0;
                to.1.notify_all();
                if count == 0 {
                    break;
                }
            }
        });
        Self {
            child: None,
            master,
            screen,
            seen: 0,
        }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("a program of ours on the terminal")
    }

    /// The program's process id.
    pub fn pid(&mut self) -> i32 {
        self.child().id() as i32
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("write to the terminal");
    }

    /// Waits until `text` appears after what was expected before, and returns what came up to its end.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().expect("the screen");
        loop {
            let new = &screen.text[self.seen..];
            let found = new.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                let end = at + text.len();
                let came = String::from_utf8_lossy(&new[..end]).into_owned();
                self.seen += end;
                return came;
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            assert!(
                !screen.ended && !rest.is_zero(),
                "{text:?} did not come, but {:?} of {:?}",
                String::from_utf8_lossy(new),
                String::from_utf8_lossy(&screen.text)
            );
            screen = changed.wait_timeout(screen, rest).expect("the screen").0;
        }
    }

    /// Everything said so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.0.lock().expect("the screen").text).into_owned()
    }

    /// Gives the terminal another size; the kernel tells the program.
    pub fn resize(&self, rows: u16, columns: u16) {
        gantry_sys::pty::set_size(self.master.as_fd(), rows, columns).expect("set the terminal's size");
    }

    /// Waits for the program's end: its exit code, 128 + signal when killed.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child().try_wait().expect("wait for the program") {
                Some(status) => return code(status),
                None => assert!(
                    Instant::now() < deadline,
                    "it did not end, and said {:?}",
                    self.text()
                ),
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_typed_at_and_resized() {
        let mut shell = Pty::spawn(Command::new("sh").env("PS1", "% ").env("TESTED", "yes"));
        shell.expect("% ");
        shell.send("tty >/dev/tty && echo $TESTED-$((1+1))\n");
        shell.expect("/dev/pts/");
        shell.expect("yes-2");
        shell.resize(33, 101);
        shell.send("stty size\n");
        shell.expect("33 101");
        shell.send("exit 7\n");
        assert_eq!(shell.wait_exit(), 7);
    }
}
