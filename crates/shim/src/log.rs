//! Docker's json-file log: one line of JSON for each line of output, pieces of 16 KiB for longer ones.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

/// Longer lines are cut.
const PIECE: usize = 16 << 10;

/// The log of one process.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    /// What has no end of line yet: of standard output and of standard error.
    rest: [Vec<u8>; 2],
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

impl Log {
    /// Opens the log at `path`, or makes it. What is there stays.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        Ok(Self {
            file,
            rest: [Vec::new(), Vec::new()],
        })
    }

    /// Adds output. One write for all lines that it ends.
    pub(crate) fn add(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        let now = time(SystemTime::now());
        let mut lines = Vec::with_capacity(data.len() + 128);
        let rest = &mut self.rest[stream as usize];
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let mut part = part;
            // A line that is too long leaves in pieces without an end of line.
            while rest.len() + part.len() > PIECE
                && !(rest.len() + part.len() == PIECE + 1 && part.ends_with(b"\n"))
            {
                let (head, tail) = part.split_at(PIECE - rest.len());
                rest.extend_from_slice(head);
                entry(&mut lines, rest, stream, &now);
                rest.clear();
                part = tail;
            }
            rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                entry(&mut lines, rest, stream, &now);
                rest.clear();
            }
        }
        if rest.is_empty() {
            // An idle container keeps no memory for its last line.
            *rest = Vec::new();
        }
        match lines.is_empty() {
            true => Ok(()),
            false => self.file.write_all(&lines),
        }
    }

    /// The stream has ended: a last line without an end of line is written as it is.
    pub(crate) fn finish(&mut self, stream: Stream) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest[stream as usize]);
        if rest.is_empty() {
            return Ok(());
        }
        let mut line = Vec::new();
        entry(&mut line, &rest, stream, &time(SystemTime::now()));
        self.file.write_all(&line)
    }
}

/// RFC 3339 without the zeros at the end of the fraction, as Go writes it.
fn time(now: SystemTime) -> String {
    let text = gantry_sys::clock::rfc3339(now);
    let text = text
        .trim_end_matches('Z')
        .trim_end_matches('0')
        .trim_end_matches('.');
    format!("{text}Z")
}

fn entry(out: &mut Vec<u8>, text: &[u8], stream: Stream, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, text);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// As Docker's log does: also what HTML would take for its own, and the line ends of JavaScript.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut plain = 0;
        let valid = chunk.valid();
        for (at, c) in valid.char_indices() {
            let special =
                matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || (c as u32) < 0x20;
            if !special {
                continue;
            }
            out.extend_from_slice(&valid.as_bytes()[plain..at]);
            plain = at + c.len_utf8();
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                other => out.extend_from_slice(format!("\\u{:04x}", other as u32).as_bytes()),
            }
        }
        out.extend_from_slice(&valid.as_bytes()[plain..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(parts: &[&[u8]]) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path).unwrap();
        for part in parts {
            log.add(Stream::Stdout, part).unwrap();
        }
        log.finish(Stream::Stdout).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(value["time"].as_str().unwrap().ends_with('Z'));
                (
                    value["log"].as_str().unwrap().to_owned(),
                    value["stream"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn lines_are_entries_however_they_arrive() {
        let lines = logged(&[b"one\ntw", b"o\n", b"\n", b"rest"]);
        let text: Vec<&str> = lines.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(text, ["one\n", "two\n", "\n", "rest"]);
    }

    #[test]
    fn long_lines_are_cut_and_only_the_last_piece_ends_the_line() {
        let mut long = vec![b'x'; PIECE * 2 + 5];
        long.push(b'\n');
        let lines = logged(&[&long[..100], &long[100..]]);
        let lengths: Vec<usize> = lines.iter().map(|(text, _)| text.len()).collect();
        assert_eq!(lengths, [PIECE, PIECE, 6]);
        let mut exact = vec![b'x'; PIECE];
        exact.push(b'\n');
        assert_eq!(logged(&[&exact]).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_is_read_back(
            data in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
            cut in 1_usize..50,
        ) {
            let mut line = Vec::new();
            entry(&mut line, &data, Stream::Stderr, "2006-01-02T15:04:05Z");
            proptest::prop_assert!(line.ends_with(b"\n") && line.iter().filter(|byte| **byte == b'\n').count() == 1);
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            // Go replaces each byte that is no text by a character of its own.
            let expected: String = data
                .utf8_chunks()
                .map(|chunk| format!("{}{}", chunk.valid(), "\u{fffd}".repeat(chunk.invalid().len())))
                .collect();
            proptest::prop_assert_eq!(value["log"].as_str(), Some(expected.as_str()));

            // However it arrives, the lines are the same.
            let text = expected.as_bytes();
            let whole: String = logged(&text.chunks(cut).collect::<Vec<_>>())
                .into_iter()
                .map(|(text, _)| text)
                .collect();
            proptest::prop_assert_eq!(whole, expected);
        }
    }

    #[test]
    fn text_is_escaped_as_docker_does() {
        let mut out = Vec::new();
        escape(&mut out, b"a\"\\<>&\t\r\n\x01\xff\xc3\xa9\xe2\x80\xa8");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a\\\"\\\\\\u003c\\u003e\\u0026\\t\\r\\n\\u0001\\ufffd\u{e9}\\u2028"
        );
    }
}
