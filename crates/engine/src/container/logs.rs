//! Reading a container's json-file log: past entries, and those that come.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_errdefs::Error;
use gantry_supervisor_core::Time;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Container;
use crate::{Engine, LogOptions, Result, clock};

/// How often a follower looks for new lines.
const LOOK: Duration = Duration::from_millis(20);

/// How much is gathered before it is handed on.
const CHUNK: usize = 32 << 10;

/// The output of `logs`.
pub struct Logs {
    /// Raw bytes rather than Docker's frames.
    pub terminal: bool,
    /// The output.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// One line of the file.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
}

/// What of the entries is wanted.
#[derive(Clone)]
struct Wanted {
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    since: Option<Time>,
    until: Option<Time>,
    terminal: bool,
}

impl Wanted {
    /// Adds an entry in the form of the answer. False when nothing later can be wanted.
    fn add(&self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            return true;
        };
        let stderr = entry.stream == "stderr";
        if (stderr && !self.stderr) || (!stderr && !self.stdout) {
            return true;
        }
        if self.since.is_some() || self.until.is_some() {
            let time = clock::parse_rfc3339(&entry.time).unwrap_or_default();
            if self.since.is_some_and(|since| time < since) {
                return true;
            }
            if self.until.is_some_and(|until| time > until) {
                return false;
            }
        }
        let stamp = match self.timestamps {
            true => format!(
                "{} ",
                clock::parse_rfc3339(&entry.time).map_or(entry.time.clone(), clock::rfc3339_fixed)
            ),
            false => String::new(),
        };
        if !self.terminal {
            out.extend_from_slice(&[if stderr { 2 } else { 1 }, 0, 0, 0]);
            out.extend_from_slice(&((stamp.len() + entry.log.len()) as u32).to_be_bytes());
        }
        out.extend_from_slice(stamp.as_bytes());
        out.extend_from_slice(entry.log.as_bytes());
        true
    }
}

impl Engine {
    /// The log of a container.
    pub async fn container_logs(&self, reference: &str, options: LogOptions) -> Result<Logs> {
        let container = self.find(reference)?;
        let record = container.record();
        if record.host.log_config.r#type == "none" {
            return Err(Error::not_implemented(
                "configured logging driver does not support reading",
            ));
        }
        let stamp = |text: &str| match text {
            "" | "0" => Ok(None),
            text => clock::parse_stamp(text)
                .map(Some)
                .ok_or_else(|| Error::invalid(format!("invalid value for time: {text:?}"))),
        };
        let wanted = Wanted {
            stdout: options.stdout,
            stderr: options.stderr,
            timestamps: options.timestamps,
            since: stamp(&options.since)?,
            until: stamp(&options.until)?,
            terminal: record.config.tty,
        };
        let tail = match options.tail.as_str() {
            "" | "all" => None,
            // As Docker: what is no number means everything.
            text => text.parse::<usize>().ok(),
        };
        let path = self.log_path(&record.id);
        let (sender, receiver) = mpsc::channel(4);
        let terminal = record.config.tty;
        let follow = options.follow.then(|| container.clone());
        tokio::task::spawn_blocking(move || read(&path, &wanted, tail, follow.as_ref(), &sender));
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver).boxed();
        Ok(Logs { terminal, stream })
    }
}

type Sender = mpsc::Sender<Result<Bytes>>;

/// Reads the file to its end, and on while the container runs if it is to be followed.
fn read(path: &PathBuf, wanted: &Wanted, tail: Option<usize>, follow: Option<&Arc<Container>>, to: &Sender) {
    let mut file = loop {
        match File::open(path) {
            Ok(file) => break file,
            // Nothing was ever written.
            Err(_) if follow.is_some_and(|container| !is_over(container)) && !to.is_closed() => {
                std::thread::sleep(LOOK)
            }
            Err(_) => return,
        }
    };
    let start = tail.map_or(Ok(0), |lines| start_of_last(&mut file, lines));
    let Ok(start) = start else { return };
    if file.seek(SeekFrom::Start(start)).is_err() {
        return;
    }
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut line, mut out) = (Vec::new(), Vec::new());
    loop {
        // Whether it ended is asked before the rest is read: then nothing can come after the rest.
        let over = follow.is_none_or(is_over);
        loop {
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) if !line.ends_with(b"\n") => break,
                Ok(_) => {}
            }
            let more = wanted.add(&line, &mut out);
            line.clear();
            if !more {
                let _ = to.blocking_send(Ok(Bytes::from(out)));
                return;
            }
            if out.len() >= CHUNK
                && to
                    .blocking_send(Ok(Bytes::from(std::mem::take(&mut out))))
                    .is_err()
            {
                return;
            }
        }
        if !out.is_empty()
            && to
                .blocking_send(Ok(Bytes::from(std::mem::take(&mut out))))
                .is_err()
        {
            return;
        }
        if over || to.is_closed() {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn is_over(container: &Arc<Container>) -> bool {
    *container.changes.borrow() || !container.read(|record| record.state.status.is_running())
}

/// Where the last `lines` lines begin.
fn start_of_last(file: &mut File, lines: usize) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut seen = 0;
    let mut buffer = Vec::new();
    let last = end;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        buffer.resize((end - begin) as usize, 0);
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut buffer)?;
        for (at, byte) in buffer.iter().enumerate().rev() {
            // The end of the last line does not count.
            if *byte == b'\n' && begin + at as u64 + 1 != last {
                seen += 1;
                if seen == lines {
                    return Ok(begin + at as u64 + 1);
                }
            }
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, wanted: &Wanted, tail: Option<usize>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, text).unwrap();
        let (sender, mut receiver) = mpsc::channel(64);
        read(&path, wanted, tail, None, &sender);
        drop(sender);
        let mut out = Vec::new();
        while let Ok(chunk) = receiver.try_recv() {
            out.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_are_chosen() {
        let line = |text: &str, stream: &str, second: u32| {
            format!(
                "{{\"log\":\"{text}\\n\",\"stream\":\"{stream}\",\"time\":\"2024-01-01T00:00:{second:02}.5Z\"}}\n"
            )
        };
        let text =
            line("a", "stdout", 1) + &line("b", "stderr", 2) + &line("c", "stdout", 3) + "{\"log\":\"cut";
        let wanted = Wanted {
            stdout: true,
            stderr: true,
            timestamps: false,
            since: None,
            until: None,
            terminal: true,
        };
        assert_eq!(all(&text, &wanted, None), "a\nb\nc\n");
        assert_eq!(
            all(
                &text,
                &Wanted {
                    stderr: false,
                    ..wanted.clone()
                },
                None
            ),
            "a\nc\n"
        );
        let since = Wanted {
            since: clock::parse_stamp("2024-01-01T00:00:02Z"),
            ..wanted.clone()
        };
        assert_eq!(all(&text, &since, None), "b\nc\n");
        let until = Wanted {
            until: clock::parse_stamp("2024-01-01T00:00:02Z"),
            ..wanted.clone()
        };
        assert_eq!(all(&text, &until, None), "a\n");
        let whole = line("a", "stdout", 1) + &line("b", "stdout", 2);
        assert_eq!(all(&whole, &wanted, Some(1)), "b\n");
        assert_eq!(all(&whole, &wanted, Some(9)), "a\nb\n");
        assert_eq!(all(&whole, &wanted, Some(0)), "");
        let framed = Wanted {
            terminal: false,
            ..wanted
        };
        assert_eq!(
            all(&line("b", "stderr", 1), &framed, None),
            "\u{2}\0\0\0\0\0\0\u{2}b\n"
        );
    }
}
