//! Terminals, as a person uses them.

use gantry_testkit::pty::Pty;

use crate::{BOTH, engine};

#[test]
fn a_shell_on_a_terminal() {
    let engine = engine();
    for cli in BOTH {
        let mut pty = Pty::spawn(&mut cli.command(
            &engine,
            &["run", "-it", "--rm", "--network", "none", "busybox", "sh"],
        ));
        pty.resize(33, 101);
        pty.expect("# ");
        pty.send("echo $((6*7))\n");
        pty.expect("42");
        // The size follows the window.
        pty.resize(40, 120);
        std::thread::sleep(std::time::Duration::from_millis(300));
        pty.send("stty size\n");
        pty.expect("40 120");
        pty.send("tty\n");
        pty.expect("/dev/pts/0");
        pty.send("exit 5\n");
        assert_eq!(pty.wait_exit(), 5, "{cli:?}");
    }
}

#[test]
fn keys_detach_and_attach_comes_back() {
    let engine = engine();
    for cli in BOTH {
        let mut pty = Pty::spawn(&mut cli.command(
            &engine,
            &[
                "run",
                "-it",
                "--name",
                "term",
                "--network",
                "none",
                "busybox",
                "sh",
            ],
        ));
        pty.expect("# ");
        pty.send("A=kept\n");
        pty.expect("# ");
        pty.send("\u{10}\u{11}");
        pty.wait_exit();
        assert_eq!(
            engine
                .gantry(["inspect", "-f", "{{.State.Status}}", "term"])
                .success()
                .line(),
            "running"
        );
        let mut pty = Pty::spawn(&mut cli.command(&engine, &["attach", "--detach-keys", "ctrl-a,x", "term"]));
        pty.send("echo is $A\n");
        pty.expect("is kept");
        pty.send("\u{1}x");
        pty.wait_exit();
        let mut pty = Pty::spawn(&mut cli.command(&engine, &["exec", "-it", "term", "sh"]));
        pty.expect("# ");
        pty.send("echo second $((1+1)); exit 4\n");
        pty.expect("second 2");
        assert_eq!(pty.wait_exit(), 4);
        engine.gantry(["rm", "-f", "term"]).success();
    }
}
