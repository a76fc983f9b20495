//! How a pull, a push or a load is shown: a line for each layer that is rewritten on a terminal, plain
//! lines elsewhere. It must not know where the messages come from.

use std::io::{self, Write};

use gantry_api_types::progress::{Detail, Message};
use gantry_opts::size;

/// Shows messages on an output.
pub(crate) struct Display<W> {
    out: W,
    /// The width of the terminal; none if it is no terminal.
    width: Option<usize>,
    // The layers' lines, from the top.
    lines: Vec<String>,
}

impl<W: Write> Display<W> {
    /// On a terminal of a width, or plain.
    pub(crate) fn new(out: W, width: Option<usize>) -> Self {
        Display {
            out,
            width,
            lines: Vec::new(),
        }
    }

    /// Shows a message.
    pub(crate) fn show(&mut self, message: &Message) -> io::Result<()> {
        let Some(width) = self.width else {
            return self.plain(message);
        };
        if !message.id.is_empty() && message.progress_detail.is_some() {
            let up = match self.lines.iter().position(|id| *id == message.id) {
                Some(at) => self.lines.len() - at,
                None => {
                    self.lines.push(message.id.clone());
                    writeln!(self.out)?;
                    1
                }
            };
            let mut line = format!("{}: {}", message.id, message.status);
            if let Some(bar) = message
                .progress_detail
                .as_ref()
                .and_then(|detail| bar(detail, width))
            {
                line.push(' ');
                line.push_str(&bar);
            }
            // A line that wraps would spoil the count of lines.
            let line: String = line.chars().take(width).collect();
            write!(self.out, "\x1b[{up}A\r\x1b[2K{line}\x1b[{up}B\r")?;
            return self.out.flush();
        }
        // Another kind of line: what is above stays as it is.
        self.lines.clear();
        self.line(message)
    }

    fn plain(&mut self, message: &Message) -> io::Result<()> {
        let moving = message
            .progress_detail
            .as_ref()
            .is_some_and(|detail| detail.current > 0 || detail.total > 0);
        if moving {
            return Ok(());
        }
        self.line(message)
    }

    fn line(&mut self, message: &Message) -> io::Result<()> {
        if !message.stream.is_empty() {
            self.out.write_all(message.stream.as_bytes())?;
        } else if message.id.is_empty() {
            if !message.status.is_empty() || message.aux.is_none() {
                writeln!(self.out, "{}", message.status)?;
            }
        } else {
            writeln!(self.out, "{}: {}", message.id, message.status)?;
        }
        self.out.flush()
    }
}

/// `[=====>    ]  1.2MB/3.4MB`; nothing if nothing is known.
fn bar(detail: &Detail, width: usize) -> Option<String> {
    if detail.current <= 0 && detail.total <= 0 {
        return None;
    }
    let amount = |n: i64| match detail.units.as_str() {
        "" | "bytes" => size::human(n as f64),
        units => format!("{n} {units}"),
    };
    let current = amount(detail.current);
    if detail.total <= 0 {
        return Some(format!("{current:>8}"));
    }
    let total = amount(detail.total);
    let shown = detail.current.min(detail.total);
    let half = usize::try_from(shown * 50 / detail.total).unwrap_or(0);
    let mut out = String::new();
    if width > 110 {
        let rest = 50usize.saturating_sub(half);
        out = format!("[{}>{}] ", "=".repeat(half), " ".repeat(rest));
    }
    if detail.hidecounts {
        return Some(out);
    }
    if detail.current > detail.total {
        // The total was a guess.
        return Some(format!("{out}{current:>8}"));
    }
    Some(format!("{out}{current:>8}/{total}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: Option<usize>, messages: &[Message]) -> String {
        let mut out = Vec::new();
        let mut display = Display::new(&mut out, width);
        for message in messages {
            display.show(message).expect("show");
        }
        String::from_utf8(out).expect("text")
    }

    fn pull() -> Vec<Message> {
        vec![
            Message {
                id: "latest".into(),
                ..Message::status("Pulling from library/busybox")
            },
            Message::part("aaa", "Pulling fs layer"),
            Message::part("bbb", "Pulling fs layer"),
            Message::progress("aaa", "Downloading", 50, 100),
            Message::part("aaa", "Pull complete"),
            Message::status("Status: Downloaded newer image for busybox:latest"),
        ]
    }

    #[test]
    fn plain_lines_leave_out_what_moves() {
        assert_eq!(
            shown(None, &pull()),
            "latest: Pulling from library/busybox\naaa: Pulling fs layer\nbbb: Pulling fs layer\n\
             aaa: Pull complete\nStatus: Downloaded newer image for busybox:latest\n"
        );
    }

    #[test]
    fn on_a_terminal_a_layer_keeps_its_line() {
        let text = shown(Some(200), &pull());
        let bar = format!("[{}>{}] ", "=".repeat(25), " ".repeat(25));
        assert_eq!(
            text,
            format!(
                "latest: Pulling from library/busybox\n\
                 \n\x1b[1A\r\x1b[2Kaaa: Pulling fs layer\x1b[1B\r\
                 \n\x1b[1A\r\x1b[2Kbbb: Pulling fs layer\x1b[1B\r\
                 \x1b[2A\r\x1b[2Kaaa: Downloading {bar}     50B/100B\x1b[2B\r\
                 \x1b[2A\r\x1b[2Kaaa: Pull complete\x1b[2B\r\
                 Status: Downloaded newer image for busybox:latest\n"
            )
        );
        let narrow = shown(Some(20), &pull()[3..4]);
        assert!(narrow.contains("aaa: Downloading    \x1b[1B"), "{narrow:?}");
    }
}
